"""Layers that divide over the stages only where embedding and head count as a layer each."""

from collections import Counter

import pytest
from small_gpt import simulate_small, small

import flexsim
from flexsim.models import build_model, model_config
from flexsim.strategy import Degrees, megatron
from flexsim.strategy.baselines import lighter_ends


def layers_of_stages(num_layers, **degrees):
    sizes = {"hidden": 64, "heads": 4, "sequence": 16, "vocabulary": 64, "layers": num_layers}
    graph = build_model(model_config("gpt", None, **sizes), 1, "fp16")
    strategy = megatron(graph, Degrees(**degrees))
    blocks = {op.block: strategy.stage_of[op.name] for op in graph.operators if op.block}
    count = Counter(blocks.values())
    ends = (strategy.stage_of[op.name] for op in (graph.operators[0], graph.operators[-1]))
    return [count[stage] for stage in range(strategy.num_stages)], tuple(ends)


@pytest.mark.parametrize(
    ("num_layers", "degrees", "expected"),
    [
        (10, {"pipeline": 4}, [2, 3, 3, 2]),
        (6, {"pipeline": 2, "chunks": 2}, [1, 2, 2, 1]),
        (6, {"pipeline": 4, "chunks": 2}, [0, 1, 1, 1, 1, 1, 1, 0]),
        (8, {"pipeline": 4}, [2, 2, 2, 2]),
        (3, {}, [3]),
    ],
)
def test_the_first_and_the_last_stage_take_a_layer_less(num_layers, degrees, expected):
    counts, ends = layers_of_stages(num_layers, **degrees)
    assert counts == expected
    assert ends == (0, len(expected) - 1)


@pytest.mark.parametrize(("num_layers", "num_stages"), [(126, 16), (126, 128), (94, 12)])
def test_llama_s_126_layers_are_such_a_number(num_layers, num_stages):
    assert lighter_ends(num_layers, num_stages) == 1


def test_other_numbers_are_refused():
    with pytest.raises(flexsim.FlexSimError, match="does not divide the 9 layers"):
        layers_of_stages(9, pipeline=4)


def test_without_embedding_and_head_no_stage_may_be_empty():
    content = small(
        model={"layers": 6, "embedding_and_head": False},
        cluster={"hosts": 1},
        strategy={"pipeline": 4, "chunks": 2, "data": 1, "tensor": 2},
    )
    with pytest.raises(flexsim.FlexSimError, match="no operator on stage 0"):
        flexsim.run(flexsim.Scenario.from_dict(content, "small.toml"))


def test_a_scenario_with_lighter_ends_needs_less_memory_at_its_ends():
    result = simulate_small(
        model={"layers": 10, "vocabulary": 64}, strategy={"pipeline": 4, "data": 1}
    )
    weights = [stage["weights"] for stage in result.metrics["peak_memory_bytes_per_stage"]]
    assert weights[1] == weights[2] > max(weights[0], weights[3])
