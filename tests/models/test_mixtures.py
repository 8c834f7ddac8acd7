"""Mixtures of experts: counts and work in closed form, layers, loads."""

from __future__ import annotations

from collections import Counter

import pytest
from preset_graphs import preset_graph, small_graph

from flexsim.errors import ModelError
from flexsim.models import PRESETS, ModelConfig, build_model, model_config
from flexsim.operator_graph import Operator, OperatorGraph


def loads(operator: Operator) -> list[tuple[str, tuple[float, ...]]]:
    found = [(dim.name, dim.load) for dim in operator.dims if dim.load is not None]
    return [(name, load.factors) for name, load in found]  # type: ignore[union-attr]


def expert_weights(graph: OperatorGraph) -> int:
    return sum(w.num_parameters for w in graph.weights.values() if ".expert_" in w.name)


def test_mixtral_by_hand() -> None:
    """Attention 4h(h + h/4 ...) per layer, 3hf an expert, a router, two norms; two tables."""
    c, h, f = PRESETS["mixtral-8x7b"], 4096, 14336
    attention = 2 * h * h + 2 * h * (h // 4)
    layer = attention + 8 * 3 * h * f + 8 * h + 2 * h
    assert preset_graph("mixtral-8x7b").num_parameters == 32 * layer + 2 * 32000 * h + h
    assert c.published_parameters == pytest.approx(32 * layer, rel=0.01)


def test_deepseek_by_hand() -> None:
    """Latent attention with ranks 1536 and 512, three dense layers, 256 + 1 experts of 2048."""
    h, heads = 7168, 128
    queries = h * 1536 + 1536 + 1536 * heads * (128 + 64)
    keys = h * (512 + 64) + 512 + 512 * heads * (128 + 128)
    attention = queries + keys + heads * 128 * h + 2 * h
    mixture = (256 + 1) * 3 * h * 2048 + 256 * h
    whole = 61 * attention + 3 * 3 * h * 18432 + 58 * mixture + 2 * 129280 * h + h
    assert preset_graph("deepseek-v3").num_parameters == whole


@pytest.mark.parametrize(("name", "billions"), [("gpt-moe-13b", 0.35), ("gpt-moe-52b", 1.3)])
def test_gpt_moe_is_a_gpt_with_more_experts(name: str, billions: float) -> None:
    """With one expert each it is the base model of the table."""
    graph = preset_graph(name)
    one = expert_weights(graph) / 128
    routers = sum(w.num_parameters for w in graph.weights.values() if ".router" in w.name)
    base = graph.num_parameters - routers - 127 * one
    assert base == pytest.approx(billions * 1e9, rel=0.03)
    assert Counter(op.kind for op in graph.operators)["dispatch"] == 12


def active_matmul_weights(graph: OperatorGraph, c: ModelConfig) -> float:
    """Return how many parameters of products a token meets."""
    steps = (s for op in graph.operators if op.kind == "linear" for s in op.forward)
    names = dict.fromkeys(u.tensor for s in steps for m in s.maps for u in m.reads[1:])
    share = {True: c.chosen_experts / c.experts, False: 1.0}
    return sum(graph.weights[n].num_parameters * share[".expert_" in n] for n in names)


@pytest.mark.parametrize("name", ["mixtral-8x7b", "deepseek-v3", "gpt-moe-13b"])
def test_six_operations_an_active_weight_and_token_and_attention(name: str) -> None:
    """A token meets chosen experts of all; attention has 6(d + w) an ordered pair and head."""
    c, graph = PRESETS[name], preset_graph(name)
    sizes = 2 * c.head_size
    if c.family == "deepseek":
        sizes = c.head_size + c.rotary_size + c.value_size
    attention = 6 * c.layers * c.heads * sizes * c.sequence
    assert graph.flops == c.sequence * (6 * active_matmul_weights(graph, c) + attention)


@pytest.mark.parametrize("factor", [1.0, 1.25, 2.0])
def test_work_of_experts_grows_with_the_capacity(factor: float) -> None:
    def flops(**sizes: float) -> int:
        graph = small_graph("mixtral", 2, sequence=64, experts=4, **sizes)
        return sum(sum(op.flops_by_pass.values()) for op in graph.operators if "expert" in op.name)

    assert flops(capacity_factor=factor) == factor * flops()


def test_dense_layers_come_first() -> None:
    graph = small_graph("deepseek", dense_layers=2)
    mixtures = [op.block for op in graph.operators if op.kind == "dispatch"]
    assert mixtures == ["layer2"]


def test_even_experts_have_no_load_and_uneven_ones_the_draw_of_the_seed() -> None:
    even = small_graph("mixtral")
    assert not any(loads(op) for op in even.operators)
    uneven = small_graph("mixtral", load_imbalance=0.5, seed=1)
    found = {op.name: loads(op) for op in uneven.operators if loads(op)}
    assert {name.split(".")[1] for name in found} == {
        "expert_gate_up",
        "expert_swiglu",
        "expert_down",
    }
    (drawn,) = {tuple(each) for each in found.values()}
    assert drawn[0][0] == "s"
    assert sum(drawn[0][1]) == pytest.approx(8)
    again = small_graph("mixtral", load_imbalance=0.5, seed=2)
    assert loads(again.by_name["layer0.expert_down"]) != loads(uneven.by_name["layer0.expert_down"])


def test_the_model_counts_the_same_work_however_it_is_spread() -> None:
    assert small_graph("mixtral", load_imbalance=1.0).flops == small_graph("mixtral").flops


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"chosen_experts": 9}, "model.chosen_experts = 9 is more than model.experts = 8"),
        ({"capacity_factor": 0.0}, "model.capacity_factor = 0.0 must be a number from 0.001"),
        ({"load_imbalance": -1.0}, "model.load_imbalance = -1.0 must be a number from 0"),
        ({"seed": -1}, "model.seed = -1 must be a whole number"),
        ({"experts": 0}, "model.experts = 0 must be a whole number of at least 1"),
        ({"key_rank": 4}, "model.key_rank has no meaning for the family 'mixtral'"),
    ],
)
def test_mistakes_are_told(overrides: dict[str, object], message: str) -> None:
    sizes = {"layers": 1, "hidden": 16, "heads": 4, "sequence": 8, "vocabulary": 8}
    with pytest.raises(ModelError, match=message.replace(".", r"\.")):
        model_config("mixtral", None, **(sizes | overrides))


def test_too_many_dense_layers_are_told() -> None:
    sizes = {"layers": 2, "hidden": 16, "heads": 4, "sequence": 8, "vocabulary": 8}
    with pytest.raises(ModelError, match="dense_layers = 3 is more than"):
        model_config("deepseek", None, dense_layers=3, **sizes)
    whole = build_model(model_config("deepseek", None, dense_layers=2, **sizes), 1)
    assert not any(op.kind == "dispatch" for op in whole.operators)
