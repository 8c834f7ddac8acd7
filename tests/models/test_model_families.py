"""Every family builds, and its backward fits its forward."""

from __future__ import annotations

from dataclasses import replace

import pytest
from preset_graphs import TRANSFORMERS, small_graph

from flexsim.models import FAMILIES, PRESETS, build_model
from flexsim.models.families import FAMILY_DEFAULTS
from flexsim.operator_graph import Operator, OperatorGraph, Use
from flexsim.operator_graph.axes import axis_size

CASES: list[tuple[str, dict[str, object]]] = [(family, {}) for family in FAMILIES]
CASES += [(family, {"embedding_and_head": False}) for family in TRANSFORMERS]
CASES += [(family, {"attention": "flash"}) for family in ("gpt", "bert", "palm")]
CASES += [("llama", {"attention": "unfused", "kv_heads": 2}), ("gpt", {"kv_heads": 1})]
CASES += [("deepseek", {"dense_layers": 1, "shared_experts": 0})]
CASES += [("gopher", {"tied_embedding": False})]
DATA = {"tokens", "labels", "token_types", "distances", "samples", "target"}
LAYERED = (*TRANSFORMERS, "mlp", "rnntc", "rnnlm", "vit")


@pytest.fixture(params=CASES, ids=lambda case: "-".join([case[0], *map(str, case[1])]))
def graph(request: pytest.FixtureRequest) -> OperatorGraph:
    family, overrides = request.param
    return small_graph(family, **overrides)


def differentiable(graph: OperatorGraph, operator: Operator) -> set[str]:
    """Return what an operator reads that is not data, nor the number of something."""
    data = set(graph.inputs) - {"hidden_states"}
    data |= {name for name in graph.tensors if name.endswith(".numbers")}
    return {name for name in operator.inputs if name not in data}


def inner(operator: Operator) -> set[str]:
    """Return the gradients that one step of a backward hands to the next."""
    writes = {use.tensor for step in operator.backward for use in step.writes}
    return {use.tensor for step in operator.backward for use in step.reads} & writes


def test_each_operator_writes_the_gradient_of_each_input_once(graph: OperatorGraph) -> None:
    for op in graph.operators:
        written = [use.tensor for step in op.backward for use in step.writes]
        wanted = [f"gradient:{name}" for name in differentiable(graph, op)]
        assert sorted(written) == sorted([*wanted, *inner(op)])


def test_weights_get_their_gradient_in_the_weight_pass(graph: OperatorGraph) -> None:
    for op in graph.operators:
        for step in op.backward:
            targets = {use.tensor.removeprefix("gradient:") for use in step.writes}
            assert {name in graph.weights for name in targets} == {step.pass_name == "W"}


def test_a_backward_reads_only_what_its_operator_has_at_hand(graph: OperatorGraph) -> None:
    for op in graph.operators:
        at_hand = {*op.inputs, *op.outputs, *(f"gradient:{name}" for name in op.outputs)}
        reads = {use.tensor for step in op.backward for use in step.reads}
        assert reads <= at_hand


def test_gradients_have_the_shape_of_their_tensor(graph: OperatorGraph) -> None:
    def shape(op: Operator, use: Use) -> tuple[int, ...]:
        return tuple(axis_size(axis, op.sizes) for axis in use.axes)

    for op in graph.operators:
        for use in (use for step in op.backward for use in (*step.reads, *step.writes)):
            assert shape(op, use) == graph.shape(use.tensor.removeprefix("gradient:"))


def test_the_gradient_of_all_that_is_read_again_arrives(graph: OperatorGraph) -> None:
    """An operator whose backward needs dY must have a reader of Y, which writes dY."""
    for op in graph.operators:
        for use in (use for step in op.backward for use in step.reads):
            if use.tensor.startswith("gradient:") and use.tensor not in inner(op):
                assert use.tensor.removeprefix("gradient:") in graph.readers


@pytest.mark.parametrize("family", LAYERED)
def test_layers_are_alike(family: str) -> None:
    graph = small_graph(family)
    blocks: dict[str, list[tuple[str, str]]] = {}
    for op in graph.operators:
        if op.block:
            blocks.setdefault(op.block, []).append((op.name.split(".", 1)[1], op.kind))
    assert list(blocks) == ["layer0", "layer1", "layer2"]
    if graph.name != "mlp":
        assert blocks["layer0"] == blocks["layer1"] == blocks["layer2"]


def test_inputs_are_the_ones_a_family_is_fed(graph: OperatorGraph) -> None:
    if graph.name in TRANSFORMERS:
        assert set(graph.inputs) <= DATA | {"hidden_states"}
    assert all(name in graph.readers for name in graph.inputs)


def test_bare_layers_have_no_embedding_and_end_in_a_cheap_loss() -> None:
    bare = small_graph("gpt", layers=1, embedding_and_head=False)
    assert [op.name for op in bare.operators if not op.block] == ["loss"]
    whole = small_graph("gpt", layers=1)
    layer = sum(op.flops(p) for op in whole.operators if op.block for p in "FIW")
    assert bare.flops == layer
    assert bare.inputs == ("hidden_states", "target")


def test_tied_embedding_shares_the_word_table() -> None:
    tied, apart = small_graph("gpt"), small_graph("gpt", tied_embedding=False)
    assert apart.num_parameters - tied.num_parameters == 10 * 16
    assert tied.readers["word_embedding"] == ("word_embedding", "logits")
    assert apart.readers["word_embedding"] == ("word_embedding",)


@pytest.mark.parametrize(("kv_heads", "groups", "repeats"), [(4, 4, 1), (2, 2, 2), (1, 1, 4)])
def test_heads_are_groups_times_repeats(kv_heads: int, groups: int, repeats: int) -> None:
    graph = small_graph("gpt", kv_heads=kv_heads)
    sizes = graph.by_name["layer0.attention_scores"].sizes
    assert (sizes["g"], sizes["r"], sizes["d"]) == (groups, repeats, 4)
    assert graph.shape("layer0.qkv.q.weight") == (16, 4, 4)
    assert graph.shape("layer0.qkv.k.weight") == (16, groups, 4)


def test_bert_looks_both_ways() -> None:
    shares = {
        family: small_graph(family, attention="flash")
        .by_name["layer0.attention"]
        .forward[0]
        .work_fraction
        for family in ("gpt", "bert")
    }
    assert shares == {"gpt": 0.5, "bert": 1.0}


def test_palm_runs_attention_and_mlp_from_one_norm_into_one_add() -> None:
    graph = small_graph("palm")
    assert graph.readers["layer1.norm.out"] == ("layer1.qkv", "layer1.gate_up")
    (step,) = graph.by_name["layer1.residual"].forward
    read = [use.tensor for use in step.reads]
    assert read == ["layer0.residual.out", "layer1.projection.out", "layer1.down.out"]
    assert step.accepts_partial
    assert graph.by_name["layer1.attention_scores"].sizes["g"] == 1


@pytest.mark.parametrize("family", ["llama", "palm"])
def test_no_biases(family: str) -> None:
    assert not [name for name in small_graph(family).weights if name.endswith("bias")]


@pytest.mark.parametrize("precision", ["fp16", "bf16", "fp32"])
def test_precision_sets_the_width_of_weights_and_activations(precision: str) -> None:
    config = replace(PRESETS["gpt-1.7b"], layers=1)
    graph = build_model(config, 1, precision)
    width = 4 if precision == "fp32" else 2
    assert graph.bytes_per_element("layer0.fc1.weight") == width
    assert graph.bytes_per_element("layer0.fc1.out") == width
    assert graph.bytes_per_element("loss.out") == 4


def test_every_family_describes_itself_and_has_defaults() -> None:
    assert FAMILIES.keys() == FAMILY_DEFAULTS.keys()
    for name, family in FAMILIES.items():
        assert (family.__doc__ or "").splitlines()[0].endswith("."), name
