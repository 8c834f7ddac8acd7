"""Strategies as files: what is written is read back, and what does not fit is refused."""

from __future__ import annotations

import json

import pytest
from command_line import flexsim as command_line
from command_line import only_error
from small_gpt import small, write_small

from flexsim.errors import StrategyError
from flexsim.scenario.runner import prepare
from flexsim.scenario.schema import Scenario
from flexsim.strategy import ParallelConfig, Strategy
from flexsim.strategy.files import load_strategy, read_strategy, write_strategy
from flexsim.strategy.flexflow_files import read_flexflow, write_flexflow


def prepared(**tables):
    return prepare(Scenario.from_dict(small(**tables), "small.toml"))


@pytest.fixture
def written(tmp_path):
    """A strategy with stages, recomputation and two meshes, and its file."""
    one = prepared(training={"recompute": "selective"})
    path = tmp_path / "strategy.json"
    write_strategy(path, one.strategy, one.graph, one.devices)
    return one, path


def changed(path, change):
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def refusal(one, path):
    with pytest.raises(StrategyError) as told:
        read_strategy(path, one.graph, one.devices)
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)
    return str(told.value)


def test_what_is_written_is_read_back(written):
    one, path = written
    found = read_strategy(path, one.graph, one.devices)
    for name in ("name", "configs", "stage_of", "rank_of_stage", "schedule", "recompute"):
        assert getattr(found, name) == getattr(one.strategy, name)
    assert found.num_microbatches == one.strategy.num_microbatches
    assert found.gradient_norm == one.strategy.gradient_norm


def test_shares_of_replicas_are_written_and_read_back(tmp_path):
    one = prepared(strategy={"tensor": 2, "pipeline": 1, "zero": 2})
    path = tmp_path / "zero.json"
    write_strategy(path, one.strategy, one.graph, one.devices)
    assert one.strategy.sharding.gradients
    assert read_strategy(path, one.graph, one.devices).sharding == one.strategy.sharding


def test_a_scenario_runs_a_strategy_from_a_file(tmp_path):
    scenario = write_small(tmp_path / "small.toml")
    own = command_line("run", str(scenario), "--json", "--output", str(tmp_path / "a"))
    one = prepared()
    write_strategy(tmp_path / "s.json", one.strategy, one.graph, one.devices)
    options = ("--json", "--output", str(tmp_path / "b"))
    told = command_line("run", str(scenario), "--strategy", str(tmp_path / "s.json"), *options)
    assert told.out == own.out
    second = tmp_path / "second.toml"
    text = scenario.read_text(encoding="utf-8")
    second.write_text(text.partition("[strategy]")[0] + '[strategy]\nfile = "s.json"\n')
    assert command_line("run", str(second), *options).out == own.out


def test_the_operators_that_differ_are_named(written):
    _, path = written
    other = prepared(model={"hidden": 1024}, training={"recompute": "selective"})
    assert "'h' of size 512 there, 1024 here" in refusal(other, path)
    longer = prepared(model={"layers": 6}, strategy={"pipeline": 2})
    assert "operator 'layer4.attention_norm' is not in that one" in refusal(longer, path)


def test_the_devices_that_differ_are_named(written):
    _, path = written
    other = prepared(cluster={"hosts": 2}, training={"recompute": "selective"})
    assert "8 x a100-80gb there, 16 x a100-80gb here" in refusal(other, path)


def leave_out(content):
    del content["configs"]["layer0.qkv"]


def split_beyond(content):
    content["meshes"].append({"axes": ["x"], "shape": [4], "devices": [0, 1, 2, 3]})
    content["configs"]["layer0.qkv"] = [2, {"b": ["x"]}]


def split_whole(content):
    content["configs"]["layer0.attention_norm"] = [0, {"h": ["tensor"]}]


def unknown_dimension(content):
    content["configs"]["layer0.qkv"] = [0, {"hh": ["tensor"]}]


def no_such_device(content):
    content["meshes"][0]["devices"][0] = 12


def no_such_mesh(content):
    content["configs"]["layer0.qkv"] = [7, {}]


def another_version(content):
    content["version"] = 99


def unknown_key(content):
    content["strategy"]["speed"] = 1


def torn_mesh(content):
    content["meshes"][0]["shape"] = [3, 2]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (leave_out, "leaves out 'layer0.qkv'"),
        (split_beyond, "'b' is split 4 times; choose at most 2"),
        (split_whole, "'h' is split 2 times; choose at most 1"),
        (unknown_dimension, "no dimension 'hh'"),
        (no_such_device, "names device 12, but the cluster has 8"),
        (no_such_mesh, "there is no mesh 7"),
        (another_version, "version = 99"),
        (unknown_key, "strategy.speed"),
        (torn_mesh, "does not hold 4 devices"),
        (dict.clear, "no strategy file"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(written, change, said):
    one, path = written
    changed(path, change)
    assert said in refusal(one, path)


def test_mistakes_with_files_are_told_by_the_command(tmp_path):
    scenario = write_small(tmp_path / "small.toml")
    missing = command_line("run", str(scenario), "--strategy", str(tmp_path / "none.json"))
    assert "none.json" in only_error(missing)
    both = command_line("run", str(scenario), "--set", 'strategy.file="s.json"')
    assert "strategy: say which" in only_error(both)
    beside = ("--strategy", str(tmp_path / "s.json"), "--set", "strategy.tensor=2")
    told = only_error(command_line("run", str(scenario), *beside))
    assert "strategy.tensor does not go with strategy.file" in told


FLEXFLOW = """\
4
layer0.linear
0
2
2\t1
2
3\t1
layer0.gelu
0
2
1\t4
4
0\t1\t2\t3
layer1.linear
0
2
2\t2
4
0\t2\t1\t3
loss
0
1
1
1
5
"""


def perceptron():
    tables = {"model": {"name": "mlp", "layers": 2, "hidden": 64}, "strategy": {"name": "data"}}
    content = small(training={"global_batch": 8})
    content |= {**tables, "training": {"global_batch": 8}}
    return prepare(Scenario.from_dict(content, "mlp.toml"))


def test_flexflow_files_cut_the_output_innermost_first(tmp_path):
    one, path = perceptron(), tmp_path / "mlp.txt"
    path.write_text(FLEXFLOW, encoding="utf-8")
    found = load_strategy(path, one.graph, one.devices)
    linear, gelu, second, loss = (found.configs[op.name] for op in one.graph.operators)
    assert (linear.degree("f"), linear.degree("b"), linear.mesh.flat.tolist()) == (2, 1, [3, 1])
    assert (gelu.degree("f"), gelu.degree("b"), gelu.mesh.flat.tolist()) == (1, 4, [0, 1, 2, 3])
    # The part of sample 1 and column 0 is the third: device 1.
    assert second.mesh.devices.tolist() == [[0, 2], [1, 3]]
    assert (second.degree("b"), second.degree("h"), second.degree("f")) == (2, 2, 1)
    assert loss.mesh.flat.tolist() == [5]


def test_flexflow_files_are_written_as_they_are_read(tmp_path):
    one, path = perceptron(), tmp_path / "mlp.txt"
    path.write_text(FLEXFLOW, encoding="utf-8")
    found = read_flexflow(path, one.graph, one.devices.num_devices)
    write_flexflow(tmp_path / "again.txt", found, one.graph)
    assert (tmp_path / "again.txt").read_text(encoding="utf-8") == FLEXFLOW


def test_no_devices_in_a_flexflow_file_are_the_first_ones(tmp_path):
    one, path = perceptron(), tmp_path / "mlp.txt"
    path.write_text(FLEXFLOW.replace("2\n3\t1\n", "0\n"), encoding="utf-8")
    found = read_flexflow(path, one.graph, one.devices.num_devices)
    assert found.configs["layer0.linear"].mesh.flat.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("layer0.gelu", "layer9.gelu", "no operator 'layer9.gelu'"),
        ("4\nlayer0.linear", "3\nlayer0.linear", "leaves out 'loss'"),
        ("2\t1\n2\n3\t1", "2\t1\n3\n3\t1\t2", "2 parts on 3 devices"),
        ("3\t1", "3\t11", "device 11"),
        ("layer0.linear\n0", "layer0.linear\n1", "runs on CPUs"),
        ("1\t4", "1\tx", "should be a whole number, not 'x'"),
        ("5\n", "", "the file ends"),
        ("0\n2\n2\t1", "0\n3\n1\t2\t1", "writes 2 dimensions, but 3 are cut"),
        ("layer0.gelu", "layer0.linear", "'layer0.linear' has several entries"),
        ("3\t1", "1\t1", "device 1 stands 2 times in a mesh"),
    ],
)
def test_a_flexflow_file_that_does_not_fit_is_refused(tmp_path, old, new, said):
    one, path = perceptron(), tmp_path / "mlp.txt"
    path.write_text(FLEXFLOW.replace(old, new), encoding="utf-8")
    with pytest.raises(StrategyError, match=said):
        read_flexflow(path, one.graph, one.devices.num_devices)


def test_what_flexflow_has_no_word_for_is_not_written(tmp_path):
    one = perceptron()
    whole = ParallelConfig.from_degrees({"b": 1}, [0])
    configs = dict.fromkeys((op.name for op in one.graph.operators), whole)
    configs["layer0.linear"] = ParallelConfig.from_degrees({"h": 2}, [0, 1])
    with pytest.raises(StrategyError, match="no sums of parts"):
        write_flexflow(tmp_path / "out.txt", Strategy("sums", configs), one.graph)
