"""Every schedule on a small model: by name, from a file, made from the stages' times, refused."""

from __future__ import annotations

import numpy as np
import pytest
from schedule_shapes import fitting
from small_gpt import simulate_small, small

import flexsim
from flexsim.errors import FlexSimError
from flexsim.scenario.measured_order import order_problem
from flexsim.scenario.prepare import prepare
from flexsim.scenario.runner import planned, planned_in_full
from flexsim.scenario.schema import Scenario
from flexsim.task_graph.kinds import ACTION_CODE, TASK_CODE
from flexsim.task_graph.schedules import SCHEDULES, PipelineShape, build_schedule
from flexsim.task_graph.schedules.files import write_schedule
from flexsim.task_graph.schedules.order_problem import outcome


def simulated(name: str, chunks: int = 1, batch: int = 8, **strategy: object) -> flexsim.Result:
    table = {"schedule": name, "chunks": chunks, "tensor": 1, **strategy}
    entry = SCHEDULES.get(name)
    model = {"tied_embedding": entry is None or entry.flushes}
    return simulate_small(strategy=table, training={"global_batch": batch}, model=model)


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_runs_with_all_its_passes(name):
    shape = fitting(name, 2, 4, 2)
    result = simulated(name, shape.num_chunks)
    actions = result.task_graph.actions
    again = result.metrics.get("simulated_iterations", 1) * (2 if name == "terapipe" else 1)
    passes = shape.num_stages * shape.num_microbatches * again
    assert int((actions.kind == ACTION_CODE["F"]).sum()) == passes
    assert result.metrics["iteration_time_s"] > 0
    assert (result.task_graph.kind == TASK_CODE["optimizer"]).any() == (name != "forward")


def test_inference_holds_weights_and_executes_a_third():
    trained, inferred = simulated("gpipe"), simulated("forward")
    assert inferred.metrics["hardware_flops"] < 0.36 * trained.metrics["hardware_flops"]
    assert inferred.metrics["model_flops"] == inferred.metrics["hardware_flops"]
    assert inferred.metrics["peak_memory_bytes"] < trained.metrics["peak_memory_bytes"]
    stage = inferred.metrics["peak_memory_bytes_per_stage"][0]
    assert stage["gradients"] == stage["optimizer"] == stage["activations"] == 0 < stage["weights"]


def test_a_file_is_as_its_schedule(tmp_path):
    path = tmp_path / "mine.csv"
    write_schedule(build_schedule("zb-v", PipelineShape(2, 4, 2)), path)
    by_file, by_name = simulated(str(path), 2), simulated("zb-v", 2)
    assert np.array_equal(by_file.timeline.end_ns, by_name.timeline.end_ns)


def test_a_file_lies_beside_its_scenario(tmp_path):
    write_schedule(build_schedule("1f1b", PipelineShape(2, 4)), tmp_path / "mine.csv")
    content = small(strategy={"schedule": "mine.csv", "tensor": 1})
    result = flexsim.run(Scenario.from_dict(content, str(tmp_path / "x.toml")))
    assert result.metrics["iteration_time_s"] == simulated("1f1b").metrics["iteration_time_s"]


@pytest.mark.parametrize(
    ("shape", "chunks", "told"),
    [
        (PipelineShape(4, 4), 1, ["4 ranks", "strategy.pipeline", "2"]),
        (PipelineShape(2, 4), 2, ["2 stages", "strategy.chunks", "4"]),
        (PipelineShape(2, 6), 1, ["6 microbatches", "training.global_batch", "4"]),
    ],
)
def test_a_file_of_other_sizes_is_refused(tmp_path, shape, chunks, told):
    path = tmp_path / "mine.csv"
    write_schedule(build_schedule("gpipe", shape), path)
    with pytest.raises(FlexSimError) as caught:
        simulated(str(path), chunks)
    assert all(part in str(caught.value) for part in ["strategy.schedule", *told])


def test_stages_lie_in_turn_or_there_and_back(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("1F0,1F1,1F2,1F3,1B0,1B1,1B2,1B3\n0F0,0F1,0F2,0F3,0B0,0B1,0B2,0B3\n")
    with pytest.raises(FlexSimError, match=r"\[1, 0\]; they must go round"):
        simulated(str(path))


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"schedule": "zbv"}, ["did you mean 'zb-v'?", "auto"]),
        ({"schedule": "none.csv"}, ["strategy.schedule", "none.csv", "No such file"]),
        ({"warm_up": 2}, ["strategy.warm_up = 2", "'1f1b'", "1f1b-flexible"]),
        ({"schedule": "v-min"}, ["'v-min'", "chunks = 1", "choose chunks = 2"]),
    ],
)
def test_what_does_not_fit_is_told(table, told):
    with pytest.raises(FlexSimError) as caught:
        simulate_small(strategy=table)
    assert all(part in str(caught.value) for part in told), str(caught.value)


@pytest.mark.parametrize(("chunks", "tensor"), [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_an_automatic_order_is_not_behind_the_known_ones(chunks, tensor):
    known = {1: ["gpipe", "1f1b", "zb-h1", "zb-h2"], 2: ["zb-v", "v-half", "v-min"]}[chunks]
    names = ["auto", *known]
    times = [simulated(n, chunks, tensor=tensor).metrics["iteration_time_s"] for n in names]
    assert times[0] <= 1.01 * min(times)


def test_an_automatic_order_comes_from_the_stages_times():
    content = small(strategy={"schedule": "auto", "tensor": 1})
    problem = order_problem(prepare(Scenario.from_dict(content, "small.toml")))
    first, last = problem.stages
    assert last.forward_ns != first.forward_ns
    assert first.transfer_ns > 0 == last.transfer_ns
    assert 0 < first.after_input_bytes <= first.kept_bytes < problem.limit_bytes[0]
    schedule = build_schedule("zb-h1", PipelineShape(2, 4))
    replayed = outcome(problem, [schedule.actions(rank) for rank in range(2)])
    measured = simulated("zb-h1").metrics["iteration_time_s"] * 1e9
    assert replayed.makespan_ns == pytest.approx(measured, rel=0.25)


def test_interleaving_grows_where_ranks_do_not_divide_the_microbatches():
    tables = {"schedule": "interleaved-1f1b", "chunks": 2, "tensor": 2, "data": 2}
    content = small(strategy=tables, training={"global_batch": 10})
    scenario = Scenario.from_dict(content, "small.toml")
    grown, full = planned(scenario)[0], planned_in_full(scenario)[0]
    assert grown.num_tasks == full.num_tasks
    assert np.array_equal(grown.task_graph().duration_ns, full.task_graph().duration_ns)
