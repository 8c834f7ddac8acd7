"""Random changes of a valid scenario: a result or one sentence, never another exception."""

import copy
import math

from hypothesis import given, settings
from hypothesis import strategies as st

import flexsim
from flexsim.scenario.schema import Scenario
from flexsim.timeline.export import flattened

TINY = {
    "model": {
        "name": "gpt",
        "layers": 2,
        "hidden": 16,
        "heads": 4,
        "sequence": 8,
        "vocabulary": 32,
    },
    "cluster": {"device_graph": "dgx-a100", "hosts": 1},
    "training": {"global_batch": 4},
    "strategy": {"name": "megatron", "tensor": 2, "pipeline": 2},
}
KEYS = sorted(
    (table, key)
    for table, field in Scenario.model_fields.items()
    if table != "title"
    for key in Scenario.model_json_schema()["$defs"][f"{table.capitalize()}Table"]["properties"]
)
WORDS = [
    *("gpt", "bert", "llama", "palm", "gopher", "mlp", "megatron", "data", "single", "gpipe"),
    *("1f1b", "interleaved-1f1b", "none", "selective", "full", "fp32", "bf16", "sgd", "flash"),
    *("dgx-h100", "two-hosts-example", "pcie-8x2080ti", "dgx2h-v100", "megatron-deepspeed"),
    *("data,tensor,pipeline", "pipeline,data,tensor", "3 s", "-1 s", "3 GB", "", " ", "$", "\0"),
]
SMALL_NUMBERS = st.integers(-1, 9) | st.sampled_from([12, 16, 17, 24, 32, 64])
VALUES = (
    SMALL_NUMBERS
    | st.sampled_from(WORDS)
    | st.booleans()
    | st.sampled_from([math.nan, math.inf, -0.0, 0.5, 1e300, 2**31, 2**63, 10**30, None])
    | st.sampled_from([[], {}, [1, 2], {"a": 1}])
    | st.text(max_size=5)
)
CHANGES = st.lists(st.tuples(st.sampled_from(KEYS), VALUES), min_size=1, max_size=4)
SIZES = [
    *((("model", key), st.integers(1, 24)) for key in ("layers", "heads", "kv_heads", "ffn")),
    *((("strategy", key), st.sampled_from([1, 2, 4])) for key in ("tensor", "pipeline", "data")),
    (("strategy", "chunks"), st.integers(1, 3)),
    (("strategy", "sequence_parallel"), st.booleans()),
    (("strategy", "overlap_gradients"), st.booleans()),
    (("training", "global_batch"), st.integers(1, 16)),
    (("training", "recompute"), st.sampled_from(["none", "selective", "full"])),
    (("model", "name"), st.sampled_from(["gpt", "bert", "llama", "palm", "gopher"])),
]
SIZE_CHANGES = st.lists(
    st.sampled_from(SIZES).flatmap(lambda pair: st.tuples(st.just(pair[0]), pair[1])), max_size=6
)


def changed(changes):
    content = copy.deepcopy(TINY)
    for (table, key), value in changes:
        content.setdefault(table, {})[key] = value
    return content


def check_answer(content):
    """Simulate what a scenario says, or be told in one line why not."""
    try:
        result = flexsim.run(flexsim.Scenario.from_dict(content, "fuzz.toml"))
    except flexsim.FlexSimError as problem:
        message = str(problem)
        assert message.startswith("fuzz.toml: ")
        assert message.isprintable(), message
        return False
    found = [value for _, value in flattened(result.metrics)]
    numbers = [value for value in found if not isinstance(value, str)]
    assert all(math.isfinite(value) and value >= 0 for value in numbers)
    assert result.metrics["iteration_time_s"] > 0
    assert result.metrics["mfu"] <= 1
    return True


@settings(max_examples=150, deadline=None, derandomize=True)
@given(CHANGES)
def test_random_values_give_a_result_or_a_sentence(changes):
    check_answer(changed(changes))


@settings(max_examples=120, deadline=None, derandomize=True)
@given(SIZE_CHANGES)
def test_random_sizes_give_a_result_or_a_sentence(changes):
    check_answer(changed(changes))


def test_the_scenario_that_is_changed_is_simulated():
    assert check_answer(TINY)
    assert not check_answer(changed([(("strategy", "tensor"), 3)]))
