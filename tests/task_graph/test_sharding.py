"""ZeRO and FSDP: what replicas keep in shares, and the collectives that follow."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from flexsim.device_graph import load_device_graph
from flexsim.engine.table import load_engine
from flexsim.errors import StrategyError
from flexsim.models import build_model, model_config
from flexsim.operator_graph import OperatorGraph
from flexsim.scenario.prepare import make_costs
from flexsim.strategy import BASELINES, Degrees
from flexsim.task_graph.build import plan_task_graph
from flexsim.task_graph.columns import TaskGraph
from flexsim.task_graph.kinds import COLLECTIVE_CODE, COLLECTIVES, TASK_CODE, TASK_KINDS
from flexsim.task_graph.plan import Plan

GPUS = load_device_graph("dgx-a100", 1)
COSTS = make_costs(GPUS)


def model(sequences: int = 8, layers: int = 4) -> OperatorGraph:
    sizes = {"layers": layers, "hidden": 256, "heads": 4, "sequence": 64, "vocabulary": 512}
    return build_model(model_config("gpt", None, **sizes), sequences, "fp16")


def plan_of(degrees: Degrees, fold: bool = True, layers: int = 4) -> Plan:
    graph = model(degrees.data, layers)
    return plan_task_graph(graph, BASELINES["megatron"](graph, degrees), GPUS, COSTS, fold)


def task_graph(degrees: Degrees, fold: bool = True, layers: int = 4) -> TaskGraph:
    return plan_of(degrees, fold, layers).task_graph()


def static_bytes(graph: TaskGraph) -> tuple[int, int, int]:
    memory = graph.static_memory
    assert memory is not None
    return int(memory.weights[0]), int(memory.gradients[0]), int(memory.optimizer[0])


@pytest.mark.parametrize(
    ("zero", "shares"), [(0, (1, 1, 1)), (1, (1, 1, 8)), (2, (1, 8, 8)), (3, (8, 8, 8))]
)
def test_static_memory_is_that_of_zero(zero: int, shares: tuple[int, int, int]) -> None:
    """Rajbhandari et al. 2020, section 3: 2 + 2 + K bytes a parameter, the sharded ones over N."""
    whole = static_bytes(task_graph(Degrees(data=8)))
    found = static_bytes(task_graph(Degrees(data=8, zero=zero)))
    np.testing.assert_allclose(
        found, [w / s for w, s in zip(whole, shares, strict=True)], rtol=1e-4
    )


def collectives(degrees: Degrees) -> Counter[tuple[str, str]]:
    """Count the collectives of a whole iteration by kind of task and of collective."""
    plan = plan_of(degrees, fold=False)
    graph = plan.task_graph()
    pairs = zip(graph.kind.tolist(), plan.collective.tolist(), strict=True)
    return Counter((TASK_KINDS[kind], COLLECTIVES[how]) for kind, how in pairs if how)


def test_fsdp_gathers_units_forward_and_backward_and_scatters_gradients() -> None:
    found = collectives(Degrees(data=8, zero=3, num_microbatches=2))
    units = 4 + 1 + 1 + 1  # layers, words, positions, final norm; the head has the words' weight
    assert found["gradient", "reduce-scatter"] >= 2 * units
    assert found["parameter", "all-gather"] >= 2 * 2 * units
    assert found["gradient", "all-reduce"] == 0


def test_zero_1_scatters_once_and_gathers_what_was_updated() -> None:
    found = collectives(Degrees(data=8, zero=1, num_microbatches=3))
    assert found["parameter", "all-gather"] == 1
    assert found["gradient", "all-reduce"] == 0
    assert found["gradient", "reduce-scatter"] == 1


def test_hybrid_sharding_sums_shares_between_the_groups() -> None:
    plan = plan_of(Degrees(data=8, zero=3, shard=4), fold=False)
    graph, how = plan.task_graph(), plan.collective
    norm = graph.kind == TASK_CODE["gradient-norm"]
    summed = graph.num_bytes[(how == COLLECTIVE_CODE["all-reduce"]) & ~norm].sum() / 4
    scattered = graph.num_bytes[how == COLLECTIVE_CODE["reduce-scatter"]].sum() / 2
    assert summed == pytest.approx(scattered / 4, rel=1e-3)


@pytest.mark.parametrize(
    "degrees",
    [
        Degrees(data=8, zero=3, num_microbatches=2),
        Degrees(data=4, tensor=2, zero=3, num_microbatches=2, sequence_parallel=True),
        Degrees(data=8, zero=2, num_microbatches=2, overlap_gradients=True),
        Degrees(data=2, pipeline=4, zero=1, num_microbatches=4, recompute="full"),
        Degrees(data=4, zero=3, shard=2, tensor=2, recompute="selective"),
    ],
)
def test_folded_and_both_engines_agree(degrees: Degrees) -> None:
    full, folded = task_graph(degrees, fold=False), task_graph(degrees)
    ends = [
        load_engine(e)(g, None).end_ns.max() for g in (full, folded) for e in ("event", "compiled")
    ]
    assert len(set(ends)) == 1
    assert folded.num_tasks < full.num_tasks


def test_gathers_run_ahead_of_their_layer() -> None:
    """With prefetching a layer's gather runs beside the layer before, without it after it."""
    times = [
        load_engine("compiled")(
            task_graph(Degrees(data=8, zero=3, prefetch=n), layers=8), None
        ).end_ns.max()
        for n in (0, 1)
    ]
    assert times[1] < times[0]


def test_weights_kept_after_the_forward_are_gathered_once() -> None:
    again = collectives(Degrees(data=8, zero=3))
    kept = collectives(Degrees(data=8, zero=3, reshard=False))
    assert kept["parameter", "all-gather"] * 2 <= again["parameter", "all-gather"] + 2


def test_a_group_that_does_not_divide_the_replicas_is_refused() -> None:
    with pytest.raises(StrategyError, match="shard = 3 does not divide the 8 replicas"):
        task_graph(Degrees(data=8, zero=3, shard=3))


def test_nothing_changes_without_shares() -> None:
    plain, one = task_graph(Degrees(data=8)), task_graph(Degrees(data=8, zero=0, prefetch=0))
    for column in ("duration_ns", "num_bytes", "kind", "operator"):
        np.testing.assert_array_equal(getattr(plain, column), getattr(one, column))
    assert replace(plain) is not plain
