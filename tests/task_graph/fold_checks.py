"""What a folded graph has to be: the full one, each task standing for all of its class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flexsim.cost.costs import Costs
from flexsim.device_graph import DeviceGraph
from flexsim.engine.event import simulate
from flexsim.operator_graph import OperatorGraph
from flexsim.ragged import Csr
from flexsim.strategy import Strategy
from flexsim.task_graph.build import build_task_graph
from flexsim.task_graph.columns import ResourceTable, TaskGraph
from flexsim.task_graph.expand import build_program
from flexsim.task_graph.folding import Folding, fold_rows
from flexsim.task_graph.rings import fused_rows
from flexsim.task_graph.rows import Row, U
from flexsim.task_graph.update import write_update
from flexsim.timeline.metrics import IterationFacts, metrics

Key = tuple[int, int, frozenset[tuple[int, int, int]]]


@dataclass(frozen=True, eq=False)
class Case:
    """A model under a strategy on a cluster, with prices."""

    operators: OperatorGraph
    strategy: Strategy
    devices: DeviceGraph
    costs: Costs

    def graph(self, fold: bool) -> TaskGraph:
        """Return the task graph."""
        return build_task_graph(self.operators, self.strategy, self.devices, self.costs, fold)

    def folding(self) -> tuple[Sequence[Row], Folding]:
        """Return all rows, and what folding makes of them."""
        program = build_program(self.operators, self.strategy, self.devices, self.costs)
        write_update(program, self.costs.software)
        names = tuple(op.name for op in self.operators.operators)
        rows = fused_rows(program)
        return rows, fold_rows(rows, self.strategy, names)


def assert_folds_exactly(case: Case) -> TaskGraph:
    """Check every task of the full graph against the one that stands for it; return the folded."""
    full, few = case.graph(False), case.graph(True)
    rows, folding = case.folding()
    assert few.folding == folding.report
    assert full.num_tasks == few.num_tasks + few.num_tasks_folded_away
    assert_spans_agree((full, few), (rows, folding), case.strategy)
    assert_memory_agrees(full, few, folding)
    return few


def assert_spans_agree(
    graphs: tuple[TaskGraph, TaskGraph], found: tuple[Sequence[Row], Folding], strategy: Strategy
) -> None:
    """Check durations, bytes and spans, and that tasks on one resource keep their order."""
    (full, few), (rows, folding) = graphs, found
    stand_in = np.arange(int(strategy.devices[-1]) + 1)
    stand_in[strategy.devices] = folding.devices[folding.class_of_device]
    few_rows = _row_of_piece(rows, folding.rows, stand_in)
    same = np.arange(len(stand_in))
    few_keys = _keys(few, _row_of_task(few, folding.rows, few_rows), same)
    number = {key: task for task, key in enumerate(few_keys)}
    assert len(number) == few.num_tasks
    full_keys = _keys(full, _row_of_task(full, rows, list(range(len(rows)))), stand_in)
    task = np.array([number[key] for key in full_keys])
    assert len(np.unique(task)) == few.num_tasks
    for column in ("action", "operator", "kind", "duration_ns", "num_bytes"):
        np.testing.assert_array_equal(getattr(few, column)[task], getattr(full, column), column)
    _assert_metrics_agree(metrics(simulate(full), FACTS), metrics(simulate(few), FACTS))
    for merge in (as_it_is, one_stream, *([one_port] if is_plain(rows) else [])):
        seen, own = simulate(merge(full)), simulate(merge(few))
        np.testing.assert_array_equal(own.start_ns[task], seen.start_ns)
        np.testing.assert_array_equal(own.end_ns[task], seen.end_ns)


def as_it_is(graph: TaskGraph) -> TaskGraph:
    """Return the graph."""
    return graph


def one_stream(graph: TaskGraph) -> TaskGraph:
    """Return the graph with one stream a device for all collectives, so that wrong ids show."""
    table, held = graph.resource_table, graph.resources
    stream = (table.kind > 0) & (table.peer < 0)
    columns = (np.where(stream, 200, table.kind), table.device, table.peer)
    keys, ids = np.unique(np.stack(columns, 1), axis=0, return_inverse=True)
    merged = ResourceTable(keys[:, 0].astype(np.uint8), keys[:, 1], keys[:, 2])
    values = ids.reshape(-1)[held.values].astype(np.int32)
    return replace(graph, resources=Csr(held.offsets, values), resource_table=merged)


def one_port(graph: TaskGraph) -> TaskGraph:
    """Return the graph with one stream a device for all communication, at both ends of each."""
    table, held = graph.resource_table, graph.resources
    received = table.peer[held.values] >= 0
    computes = table.kind[held.values] == 0
    rows = np.concatenate([held.rows, held.rows[received]])
    own = table.device[held.values] * 2 + ~computes
    streams = np.concatenate([own, table.peer[held.values[received]] * 2 + 1])
    keys, ids = np.unique(streams, return_inverse=True)
    merged = ResourceTable(
        (keys % 2 * 200).astype(np.uint8), keys // 2, np.full(len(keys), -1, np.int32)
    )
    resources = Csr.from_pairs(graph.num_tasks, rows, ids.reshape(-1).astype(np.int32))
    return replace(graph, resources=resources, resource_table=merged)


def is_plain(rows: Sequence[Row]) -> bool:
    """Whether every row touches a device once: as a member's or at one end of a transfer."""
    return all(
        len(row.places.devices)
        == row.places.groups.size + (row.places.targets is not None) * row.places.num_members
        for row in rows
    )


def assert_memory_agrees(full: TaskGraph, few: TaskGraph, folding: Folding) -> None:
    """Check that every device holds what the one that stands for it does."""
    whole, part = full.static_memory, few.static_memory
    assert whole is not None and part is not None and part.num_alike is not None
    assert int(part.num_alike.sum()) == len(whole.device)
    np.testing.assert_array_equal(part.device, folding.devices)
    for name in ("weights", "gradients", "optimizer"):
        expected = getattr(part, name)[folding.class_of_device]
        np.testing.assert_array_equal(getattr(whole, name), expected)
    held, own = full.activation_memory, few.activation_memory
    assert held is not None and own is not None
    kept = np.isin(held.device, folding.devices)
    for name in ("action", "device", "allocated", "freed", "transient"):
        np.testing.assert_array_equal(getattr(held, name)[kept], getattr(own, name))


FACTS = IterationFacts(16, 8, 8, 1e9, 2e9, 1e12, 10**6)


def _assert_metrics_agree(full: dict[str, object], few: dict[str, object]) -> None:
    sizes = ("num_tasks", "num_tasks_folded_away")
    assert {k: v for k, v in few.items() if k not in sizes} == {
        k: v for k, v in full.items() if k not in sizes
    }


def _row_of_piece(
    rows: Sequence[Row], pieces: Sequence[Row], stand_in: NDArray[np.int64]
) -> list[int]:
    """Return the row that every folded row is a piece of: pieces cover its classes in turn."""
    found: list[int] = []
    for number, row in enumerate(rows):
        wanted = set(stand_in[row.places.groups].reshape(-1).tolist())
        while wanted:
            piece = set(pieces[len(found)].places.groups.reshape(-1).tolist())
            assert piece <= wanted
            wanted -= piece
            found.append(number)
    assert len(found) == len(pieces)
    return found


def _row_of_task(graph: TaskGraph, rows: Sequence[Row], number: Sequence[int]) -> list[int]:
    """Return the number of every task's row."""
    of_action: dict[tuple[int, int], list[int]] = {}
    for row, name in zip(rows, number, strict=True):
        of_action.setdefault((row.action, row.stage), []).extend([name] * row.places.num_members)
    found: list[int] = []
    actions = graph.actions
    for kind, stage, rank in zip(actions.kind, actions.stage, actions.rank, strict=True):
        found += of_action.get((int(kind), int(rank if kind == U else stage)), [])
    assert len(found) == graph.num_tasks
    return found


def _keys(graph: TaskGraph, row: list[int], stand_in: NDArray[np.int64]) -> list[Key]:
    """Return action, row and resources of every task, seen from what stands for its devices."""
    table = graph.resource_table
    peer = np.where(table.peer >= 0, stand_in[np.maximum(table.peer, 0)], -1)
    columns = (table.kind, stand_in[table.device], peer)
    names = list(zip(*(column.tolist() for column in columns), strict=True))
    held, bounds = graph.resources.values.tolist(), graph.resources.offsets.tolist()
    sets = [
        frozenset(names[r] for r in held[bounds[t] : bounds[t + 1]]) for t in range(graph.num_tasks)
    ]
    return list(zip(graph.action.tolist(), row, sets, strict=True))
