"""A folded graph replays as the full one does on the representatives, to the nanosecond."""

from __future__ import annotations

from dataclasses import replace
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from program_record import cluster, model, one_ns, software

from flexsim.cost.costs import Costs
from flexsim.cost.work import Work
from flexsim.engine.event import simulate
from flexsim.ragged import Csr
from flexsim.strategy import Degrees, Strategy, megatron
from flexsim.task_graph.build import build_task_graph
from flexsim.task_graph.columns import ResourceTable, TaskGraph
from flexsim.task_graph.kinds import NUM_COMPUTE_KINDS

FEW = 4


def few_ns(work: Work, device_type: str) -> int:
    """Price kernels with few distinct numbers, so that many tasks tie."""
    return 1 + crc32(repr((work.kind, work.step, work.num_bytes)).encode()) % FEW


class FewCommunication:
    """A communication model with few distinct durations."""

    def collective_ns(self, collective, num_bytes, groups, /):
        return np.full(len(groups), 1 + crc32(f"{collective}{num_bytes}".encode()) % FEW)

    def transfer_ns(self, num_bytes, sources, targets, /):
        return np.full(len(sources), 1 + int(np.max(num_bytes)) % FEW)


class UnevenCommunication(FewCommunication):
    """One group of every collective takes longer."""

    def collective_ns(self, collective, num_bytes, groups, /):
        return super().collective_ns(collective, num_bytes, groups) + (groups[:, 0] == 0)


def graphs(strategy: Strategy, sequences: int, **habits: bool) -> tuple[TaskGraph, TaskGraph]:
    """Return the folded and the full graph of one strategy."""
    costs = Costs(few_ns, FewCommunication(), replace(software(), **habits))
    operators = model(sequences=sequences, layers=4)
    return tuple(
        build_task_graph(operators, strategy, cluster(), costs, fold) for fold in (True, False)
    )


def chosen(full: TaskGraph, folded: TaskGraph) -> np.ndarray:
    """Return the tasks of a full graph that a representative takes part in."""
    assert folded.static_memory is not None
    mine = np.isin(full.resource_table.device, folded.static_memory.device)
    held = mine[full.resources.values]
    rows = full.resources.rows[held]
    return np.unique(rows)


def with_one_stream(graph: TaskGraph) -> TaskGraph:
    """Return the graph with one communication stream a device for all kinds of collectives."""
    table = graph.resource_table
    stream = (table.kind >= NUM_COMPUTE_KINDS) & (table.peer < 0)
    kind = np.where(stream, NUM_COMPUTE_KINDS, table.kind)
    keys, ids = np.unique(
        np.stack([kind, table.device, table.peer], 1), axis=0, return_inverse=True
    )
    merged = ResourceTable(keys[:, 0].astype(np.uint8), *(keys[:, i] for i in (1, 2)))
    values = ids.reshape(-1)[graph.resources.values].astype(np.int32)
    resources = Csr(graph.resources.offsets, values)
    return replace(graph, resources=resources, resource_table=merged)


DEGREES = st.fixed_dictionaries(
    {
        "tensor": st.sampled_from([1, 2, 4]),
        "data": st.sampled_from([1, 2]),
        "sequence_parallel": st.booleans(),
        "recompute": st.sampled_from(["none", "selective", "full"]),
        "overlap_gradients": st.booleans(),
        "scatter_gather": st.booleans(),
        "blocking_transfers": st.booleans(),
        "order": st.sampled_from(["tensor,data,pipeline", "pipeline,data,tensor"]),
    }
)
PIPELINES = st.sampled_from(
    [(1, 1, "gpipe"), (2, 1, "gpipe"), (2, 1, "1f1b"), (2, 2, "interleaved-1f1b"), (4, 1, "1f1b")]
)


@settings(max_examples=30, deadline=None)
@given(
    degrees=DEGREES,
    pipeline=PIPELINES,
    microbatches=st.sampled_from([2, 4]),
    habits=st.fixed_dictionaries(
        {"overlap_input_gradients": st.booleans(), "recompute_waits_for_gradient": st.booleans()}
    ),
    one_stream=st.booleans(),
)
def test_folded_equals_full_on_the_representatives(
    degrees, pipeline, microbatches, habits, one_stream
):
    ranks, chunks, schedule = pipeline
    if degrees["tensor"] * degrees["data"] * ranks > 16:
        degrees = {**degrees, "tensor": 2}
    shape = Degrees(
        **degrees,
        pipeline=ranks,
        chunks=chunks,
        schedule=schedule,
        num_microbatches=microbatches,
    )
    strategy = megatron(model(sequences=2 * degrees["data"], layers=4), shape)
    folded, full = graphs(strategy, 2 * degrees["data"], **habits)
    tasks = chosen(full, folded)
    assert full.num_tasks == folded.num_tasks + folded.num_tasks_folded_away
    assert len(tasks) == folded.num_tasks, folded.folding
    for column in ("operator", "kind", "duration_ns", "num_bytes", "action"):
        assert np.array_equal(getattr(folded, column), getattr(full, column)[tasks]), column
    if one_stream:
        folded, full = with_one_stream(folded), with_one_stream(full)
    small, large = simulate(folded), simulate(full)
    assert np.array_equal(small.start_ns, large.start_ns[tasks])
    assert np.array_equal(small.end_ns, large.end_ns[tasks])
    assert small.makespan_ns == large.makespan_ns


def built(degrees: Degrees, communication, **sizes) -> TaskGraph:
    operators = model(sequences=2 * degrees.data, **sizes)
    costs = Costs(one_ns, communication, software())
    strategy = megatron(operators, degrees)
    return build_task_graph(operators, strategy, cluster(), costs)


def test_unequal_groups_are_not_folded():
    graph = built(Degrees(tensor=2, data=2), UnevenCommunication())
    assert graph.num_tasks_folded_away == 0
    assert graph.folding.startswith("not folded, all 4 devices simulated")
    assert "longer on some devices" in graph.folding


def test_uneven_shards_are_not_folded():
    def by_bytes(work: Work, device_type: str) -> int:
        return work.num_bytes

    operators = model(sequences=2, vocabulary=33)
    strategy = megatron(operators, Degrees(tensor=2))
    costs = Costs(by_bytes, FewCommunication(), software())
    graph = build_task_graph(operators, strategy, cluster(), costs)
    assert graph.num_tasks_folded_away == 0
    assert "longer on some devices" in graph.folding


def test_folding_can_be_switched_off():
    operators = model(sequences=2)
    strategy = megatron(operators, Degrees(tensor=2))
    costs = Costs(one_ns, FewCommunication(), software())
    graph = build_task_graph(operators, strategy, cluster(), costs, fold=False)
    assert graph.num_tasks_folded_away == 0
    assert "switched off" in graph.folding


@pytest.mark.parametrize("tensor", [2, 4])
def test_what_was_folded_is_told(tensor):
    graph = built(Degrees(tensor=tensor), FewCommunication())
    assert graph.folding == f"{tensor} devices folded to 1, one for each pipeline rank"
    assert graph.num_tasks_folded_away > (tensor - 1) * graph.num_tasks // 2
