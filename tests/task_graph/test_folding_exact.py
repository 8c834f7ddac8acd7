"""The folded timeline is the full one, seen from the representatives, to the nanosecond."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
from fold_checks import Case, assert_folds_exactly
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from program_record import cluster, model, software

from flexsim.cost import Work
from flexsim.cost.costs import Costs
from flexsim.engine.event import simulate
from flexsim.operator_graph import Operator, OperatorGraph
from flexsim.ragged import Csr
from flexsim.strategy import Degrees, Mesh, ParallelConfig, Strategy, megatron
from flexsim.task_graph.build import build_task_graph
from flexsim.task_graph.columns import ResourceTable, TaskGraph

ORDERS = ("tensor,data,pipeline", "data,tensor,pipeline", "pipeline,tensor,data")


class FewDurations:
    """Prices from 1 to ``distinct`` ns, so that many tasks become ready at one instant."""

    def __init__(self, distinct: int, seed: int) -> None:
        self.distinct = distinct
        self.seed = seed

    def _ns(self, *what: int) -> int:
        state = self.seed
        for number in what:
            state = (state * 1103515245 + number + 12345) % 2**31
        return 1 + (state >> 7) % self.distinct

    def compute(self, work: Work, device_type: str) -> int:
        return self._ns(len(work.kind), ord(work.step), work.num_bytes)

    def collective_ns(
        self, collective: str, num_bytes: int, groups: NDArray[np.int32], /
    ) -> NDArray[np.int64]:
        value = self._ns(len(collective), num_bytes, groups.shape[1])
        return np.full(len(groups), value, np.int64)

    def transfer_ns(
        self,
        num_bytes: NDArray[np.int64] | int,
        sources: NDArray[np.int32],
        targets: NDArray[np.int32],
        /,
    ) -> NDArray[np.int64]:
        return np.full(len(sources), self._ns(int(np.max(num_bytes))), np.int64)


def costs_of(prices: FewDurations, bucket_bytes: int = 0, adds_bytes: float = 0) -> Costs:
    """Return costs, with a software that adds gradients in a pass of its own where asked."""
    habits = replace(
        software(),
        gradient_bucket_bytes=bucket_bytes,
        gradient_accumulation_bytes_per_parameter={"fp16": adds_bytes},
    )
    return Costs(prices.compute, prices, habits)


def one_stream(graph: TaskGraph) -> TaskGraph:
    """Return the graph with one communication stream a device, held at both ends of a transfer."""
    table, held = graph.resource_table, graph.resources
    is_compute = (table.kind == 0)[held.values]
    ends = [table.device[held.values] * 2 + ~is_compute, table.peer[held.values] * 2 + 1]
    rows = np.concatenate([held.rows, held.rows[ends[1] > 0]])
    streams = np.concatenate([ends[0], ends[1][ends[1] > 0]])
    distinct, ids = np.unique(streams, return_inverse=True)
    shared = ResourceTable(
        (distinct % 2 * 200).astype(np.uint8),
        (distinct // 2).astype(np.int32),
        np.full(len(distinct), -1, np.int32),
    )
    resources = Csr.from_pairs(graph.num_tasks, rows, ids.astype(np.int32))
    return replace(graph, resources=resources, resource_table=shared)


def with_representative(graph: TaskGraph, devices: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return which tasks run on one of ``devices``; a transfer runs at its source."""
    mine = np.isin(graph.resource_table.device, devices)[graph.resources.values]
    return np.bincount(graph.resources.rows[mine], minlength=graph.num_tasks) > 0


def assert_alike(full: TaskGraph, few: TaskGraph) -> None:
    """Check tasks and spans, one for one in id order."""
    assert few.static_memory is not None
    kept = with_representative(full, few.static_memory.device)
    for column in ("action", "operator", "kind", "duration_ns", "num_bytes"):
        np.testing.assert_array_equal(getattr(full, column)[kept], getattr(few, column))
    for shared in (False, True):
        whole, part = (one_stream(g) if shared else g for g in (full, few))
        seen, own = simulate(whole), simulate(part)
        np.testing.assert_array_equal(seen.start_ns[kept], own.start_ns)
        assert seen.makespan_ns == own.makespan_ns


def assert_folds(graph: OperatorGraph, strategy: Strategy, costs: Costs) -> TaskGraph:
    """Check that folding is done and exact; return the folded graph."""
    full = build_task_graph(graph, strategy, cluster(), costs, fold=False)
    few = build_task_graph(graph, strategy, cluster(), costs)
    assert full.num_tasks == few.num_tasks + few.num_tasks_folded_away
    assert full.num_tasks_folded_away == 0
    assert few.static_memory is not None
    assert len(few.static_memory.device) == strategy.num_ranks
    assert full.hardware_flops == few.hardware_flops
    assert_alike(full, few)
    return few


@st.composite
def strategies(draw: st.DrawFn) -> tuple[OperatorGraph, Strategy]:
    """Draw a small model under a strategy of at most sixteen devices."""
    tensor, data, pipeline = draw(
        st.sampled_from(
            [(2, 1, 1), (1, 3, 1), (2, 2, 1), (4, 1, 2), (2, 2, 2), (1, 2, 4), (4, 2, 2)]
        )
    )
    chunks = draw(st.sampled_from([1, 2])) if pipeline == 2 else 1
    schedules = ("gpipe", "1f1b") if chunks == 1 else ("interleaved-1f1b",)
    degrees = Degrees(
        tensor=tensor,
        data=data,
        pipeline=pipeline,
        chunks=chunks,
        sequence_parallel=draw(st.booleans()),
        order=draw(st.sampled_from(ORDERS)),
        schedule=draw(st.sampled_from(schedules)),
        num_microbatches=draw(st.sampled_from([2, 4])),
        recompute=draw(st.sampled_from(["none", "selective", "full"])),
        overlap_gradients=draw(st.booleans()),
        scatter_gather=draw(st.booleans()),
        blocking_transfers=draw(st.booleans()),
        gradient_norm=draw(st.booleans()),
    )
    family = draw(st.sampled_from(["gpt", "llama", "palm"]))
    keys = draw(st.sampled_from([1, 2])) if family == "llama" else 4 if family == "gpt" else 1
    graph = model(family, data, layers=pipeline * chunks, kv_heads=keys)
    return graph, megatron(graph, degrees)


@given(
    strategies(),
    st.integers(1, 3),
    st.integers(0, 99),
    st.sampled_from([0, 3000, 10**9]),
    st.sampled_from([0, 6]),
)
@settings(max_examples=40, deadline=None)
def test_folding_is_exact_on_random_strategies(
    drawn: tuple[OperatorGraph, Strategy],
    distinct: int,
    seed: int,
    bucket_bytes: int,
    adds_bytes: float,
) -> None:
    graph, strategy = drawn
    few = assert_folds(
        graph, strategy, costs_of(FewDurations(distinct, seed), bucket_bytes, adds_bytes)
    )
    num_devices, num_ranks = len(strategy.devices), strategy.num_ranks
    if num_devices > num_ranks:
        expected = f"{num_devices} devices folded to {num_ranks}, one for each pipeline rank"
        assert few.folding == expected


def config_on(operator: Operator, devices: list[int], rng: random.Random) -> ParallelConfig:
    """Return a random cut of an operator over all of ``devices``; what is left replicates it."""
    mesh = Mesh(("data", "tensor"), np.array(devices).reshape(2, -1))
    dims = [d.name for d in operator.dims if d.max_degree is None and d.name in "sgfv"]
    splits = {"b": ("data",) if rng.random() < 0.9 else ()}
    if dims and rng.random() < 0.8:
        splits[rng.choice(dims)] = ("tensor",)
    return ParallelConfig.of(mesh, splits)


def any_strategy(graph: OperatorGraph, rng: random.Random) -> Strategy:
    """Return one whose operators all use all devices of their rank, cut and numbered anyhow."""
    num_ranks = rng.choice([1, 2])
    orders = [[list(range(4 * r, 4 * r + 4))] for r in range(num_ranks)]
    if rng.random() < 0.2:
        orders[-1].append(rng.sample(orders[-1][0], 4))
    stage_of = {op.name: _stage(op, num_ranks) for op in graph.operators}
    configs = {
        op.name: config_on(op, rng.choice(orders[stage_of[op.name]]), rng) for op in graph.operators
    }
    return Strategy(
        "any",
        configs,
        stage_of,
        rank_of_stage=tuple(range(num_ranks)),
        schedule="1f1b",
        num_microbatches=2,
        overlap_gradients=rng.random() < 0.5,
        gradient_norm=rng.random() < 0.5,
    )


def _stage(operator: Operator, num_ranks: int) -> int:
    first = operator.block == "layer0" or "embedding" in operator.name
    return 0 if first else num_ranks - 1


@given(st.integers(0, 10**6), st.integers(1, 3))
@settings(max_examples=15, deadline=None)
def test_what_folds_of_any_strategy_folds_exactly(seed: int, distinct: int) -> None:
    graph = model("gpt", 4, tied_embedding=False)
    strategy = any_strategy(graph, random.Random(seed))
    assert_folds_exactly(Case(graph, strategy, cluster(), costs_of(FewDurations(distinct, seed))))


def tied_table_on(order: list[int]) -> tuple[OperatorGraph, Strategy]:
    """Return replicas in two ranks whose head numbers the second rank's devices in ``order``."""
    graph = model("gpt", 2)
    strategy = megatron(graph, Degrees(pipeline=2, data=2, num_microbatches=2))
    configs = {name: ParallelConfig.of(c.mesh, {}) for name, c in strategy.configs.items()}
    mesh = Mesh(("data", "tensor"), np.array(order).reshape(2, 1))
    configs |= dict.fromkeys(("logits", "loss"), ParallelConfig.of(mesh, {}))
    return graph, replace(strategy, configs=configs)


def test_groups_across_ranks_fold_where_they_join_representatives() -> None:
    """Devices 0 and 2 stand for the ranks: a table's copies on (0, 2) and (1, 3) fold."""
    graph, strategy = tied_table_on([2, 3])
    assert assert_folds(graph, strategy, costs_of(FewDurations(3, 1))).num_tasks_folded_away


def test_groups_across_ranks_that_miss_a_representative_fold_too() -> None:
    """Copies on (0, 3) and (1, 2): each joins a device of either rank, which is all that counts."""
    graph, strategy = tied_table_on([3, 2])
    few = assert_folds_exactly(Case(graph, strategy, cluster(), costs_of(FewDurations(1, 1))))
    assert few.folding == "4 devices folded to 2, one for each pipeline rank"
