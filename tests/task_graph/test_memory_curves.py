"""What passes hold while they run: curves worked out by hand, and of split backwards."""

from __future__ import annotations

import numpy as np
import pytest

from flexsim.device_graph import load_device_graph
from flexsim.models import build_model, model_config
from flexsim.scenario.prepare import make_costs
from flexsim.strategy import BASELINES, Degrees
from flexsim.task_graph.build import plan_task_graph
from flexsim.task_graph.columns import DYNAMIC_PARTS
from flexsim.task_graph.memory import KINDS
from flexsim.task_graph.memory_curves import SLOTS, Curve
from flexsim.task_graph.plan import Plan
from flexsim.task_graph.rows import INPUT, WEIGHT, B, F

GPUS = load_device_graph("dgx-a100", 1)
COSTS = make_costs(GPUS)
SIZES = {"layers": 4, "hidden": 64, "heads": 4, "sequence": 32, "vocabulary": 128}
PASSES = [KINDS.index(kind) for kind in (F, B, INPUT, WEIGHT)]


def plan_of(**degrees: object) -> Plan:
    given = Degrees(**degrees)  # type: ignore[arg-type]
    graph = build_model(model_config("gpt", None, **SIZES), given.data, "fp16")
    return plan_task_graph(graph, BASELINES["megatron"](graph, given), GPUS, COSTS)


def changes(*totals: int) -> np.ndarray:
    table = np.zeros((len(totals), len(DYNAMIC_PARTS)), np.int64)
    table[:, 0] = totals
    return table


def test_a_curve_by_hand():
    """Kernel 0 allocates 5 and keeps 3; kernel 1 allocates 4, which goes with the 3."""
    curve = Curve(changes(5, -2, 0, 4, -7, 0))
    assert curve.levels()[:, 0].tolist() == [5, 3, 3, 7, 0, 0]
    assert (curve.peak().parts.sum(), curve.peak().left.sum(), curve.peak().kernel) == (7, 0, 1)


def test_a_repeated_layer_adds_up():
    """The middle one of three kernels keeps 3 of 5, three times."""
    curve = Curve(changes(1, 0, 0, 5, -2, 0, 1, -2, 0), begin=1, end=2, extra=2)
    assert curve.num_kernels == 5
    assert curve.levels()[::SLOTS, 0].tolist() == [1, 6, 9, 12, 11]
    assert (curve.peak().parts.sum(), curve.peak().left.sum(), curve.peak().kernel) == (12, 9, 3)


def test_twice_the_samples_hold_twice_as_much():
    curve = Curve(changes(5, -2, 0))
    assert (curve.times(2).levels() == 2 * curve.levels()).all()


@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
def test_a_backward_frees_what_the_forward_kept_layer_by_layer(recompute):
    plan = plan_of(recompute=recompute, num_microbatches=2)
    memory = plan.stage_memory
    assert memory.net[KINDS.index(F)] == -memory.net[KINDS.index(B)]
    held = memory.curves[0, B].curves[0].levels()[:, 0]
    steps = held[np.flatnonzero(np.diff(held, prepend=0))]
    assert len(steps) > SIZES["layers"], "not all at once"
    assert (np.diff(steps) < 0).all()


def test_a_split_backward_keeps_what_weight_gradients_read():
    """Between I and W stay the inputs of products and norms, and the gradients of their outputs."""
    plan = plan_of(schedule="zb-h1", pipeline=2, num_microbatches=4)
    graph = build_model(model_config("gpt", None, **SIZES), 1, "fp16")
    read: dict[int, set[str]] = {0: set(), 1: set()}
    same: dict[str, str] = {}
    for operator in reversed(graph.operators):
        stage = int(operator.name.startswith(("layer2", "layer3", "final", "logits")))
        for step in operator.backward:
            if step.kernel == "alias":
                same[step.maps[0].write.tensor] = step.maps[0].reads[0].tensor
            if step.pass_name == "W":
                read[stage] |= {same.get(use.tensor, use.tensor) for use in step.reads}
    memory = plan.stage_memory
    for stage, tensors in read.items():
        names = [t for t in tensors if t not in graph.inputs and t not in graph.weights]
        sizes = [
            int(np.prod(graph.shape(name))) * graph.bytes_per_element(name)
            for name in (n.removeprefix("gradient:") for n in names)
        ]
        freed = -memory.net[KINDS.index(WEIGHT), stage].min()
        assert freed == pytest.approx(sum(sizes), rel=0.01)
    assert not memory.net.sum(), "all that was allocated is freed"


def test_what_is_recomputed_counts_once_a_segment():
    """Full recomputation holds a layer's inner activations at a time, none of them twice."""
    full, plain = plan_of(recompute="full"), plan_of(recompute="none")
    again = full.stage_memory.curves[0, B].curves[0].levels()[:, DYNAMIC_PARTS.index("recompute")]
    layer = plain.stage_memory.net[KINDS.index(F)].sum() / SIZES["layers"]
    assert 0.8 * layer < again.max() < 1.2 * layer
    assert again[-1] == 0
