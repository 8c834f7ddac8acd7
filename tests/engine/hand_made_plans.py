"""Plans written by hand: templates of a few tasks, with any edges and ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from flexsim.ragged import Csr, offsets_of
from flexsim.task_graph.columns import ResourceTable, StaticMemory
from flexsim.task_graph.kinds import TASK_CODE
from flexsim.task_graph.memory import StageMemory
from flexsim.task_graph.places import Sorted
from flexsim.task_graph.plan import Plan
from flexsim.task_graph.schedules import Schedule
from flexsim.task_graph.templates import Ends, Templates

COMPUTE, TENSOR, SEND = TASK_CODE["forward"], TASK_CODE["tensor"], TASK_CODE["pipeline"]
NUM_STREAMS = 4
"""Resources of a rank: its compute stream, its tensor stream and two channels."""


@dataclass
class Tasks:
    """Tasks of one template; numbers are inside it, ``inputs`` are (template, task, here)."""

    kinds: Sequence[int]
    durations: Sequence[int]
    edges: Sequence[tuple[int, int]] = ()
    inputs: Sequence[tuple[int, int, int]] = ()
    exits: Sequence[int] = ()
    entries: Sequence[int] = ()
    tails: Sequence[int] = ()
    heads: Sequence[int] = ()
    sends: Sequence[int] = ()
    channels: Sequence[int] = field(default_factory=list)
    """For every task: which of the rank's channels a send takes."""


def _ends(tasks: Tasks, rank: int) -> Ends:
    def side(members: Sequence[int]) -> Sorted:
        devices = np.full(len(members), rank, np.int32)
        return Sorted.of(devices, np.array(members, np.int64))

    names = ("exits", "tails", "entries", "heads", "sends")
    return Ends(**{name: side(getattr(tasks, name)) for name in names})


def _resource(tasks: Tasks, member: int, rank: int) -> int:
    kind = tasks.kinds[member]
    channel = tasks.channels[member] if len(tasks.channels) else 0
    return NUM_STREAMS * rank + {COMPUTE: 0, TENSOR: 1}.get(kind, 2 + channel)


def plan_of(
    templates: Sequence[Tasks], schedule: Schedule, overlap_gradients: bool = False
) -> Plan:
    """Return the plan of templates F and B of every stage, then U of every rank."""
    ranks = [*np.repeat(schedule.rank_of_stage, 2).tolist(), *range(schedule.num_ranks)]
    offsets = offsets_of(np.array([len(tasks.kinds) for tasks in templates]))
    pairs = [
        (offsets[number] + before, offsets[number] + after)
        for number, tasks in enumerate(templates)
        for before, after in tasks.edges
    ] + [
        (offsets[other] + before, offsets[number] + after)
        for number, tasks in enumerate(templates)
        for other, before, after in tasks.inputs
    ]
    edges = np.array(pairs, np.int64).reshape(-1, 2)
    held = [
        _resource(tasks, member, rank)
        for tasks, rank in zip(templates, ranks, strict=True)
        for member in range(len(tasks.kinds))
    ]
    kinds = np.concatenate([np.array(tasks.kinds, np.uint8) for tasks in templates])
    durations = [np.array(tasks.durations, np.int64) for tasks in templates]
    found = Templates(
        num_stages=schedule.num_stages,
        num_ranks=schedule.num_ranks,
        offsets=offsets,
        operator=np.full(len(kinds), -1, np.int32),
        kind=kinds,
        part=np.zeros(len(kinds), np.int32),
        duration_ns=np.concatenate(durations),
        num_bytes=np.zeros(len(kinds), np.int64),
        held=Csr(np.arange(len(kinds) + 1), np.array(held, np.int32)),
        resource_table=_table(schedule.num_ranks),
        sources=edges[:, 0],
        targets=edges[:, 1],
        ends=tuple(_ends(tasks, rank) for tasks, rank in zip(templates, ranks, strict=True)),
    )
    return _plan(found, schedule, overlap_gradients)


def _table(num_ranks: int) -> ResourceTable:
    kinds = np.tile(np.array([0, TENSOR, SEND, SEND], np.uint8), num_ranks)
    device = np.repeat(np.arange(num_ranks, dtype=np.int32), NUM_STREAMS)
    return ResourceTable(kinds, device, np.full(len(kinds), -1, np.int32))


def _plan(templates: Templates, schedule: Schedule, overlap_gradients: bool) -> Plan:
    devices = np.arange(schedule.num_ranks, dtype=np.int32)
    return Plan(
        templates=templates,
        schedule=schedule,
        operator_names=(),
        overlap_gradients=overlap_gradients,
        static_memory=StaticMemory(devices, *(np.zeros(len(devices), np.int64),) * 3),
        stage_memory=StageMemory.nothing(devices, schedule.num_stages),
        hardware_flops=0.0,
        num_tasks_unfolded=0,
        folding="",
    )
