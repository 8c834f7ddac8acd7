"""Rows of an update as tasks of a sketch: what they hold, wait for, and do together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexsim.task_graph.columns import Int64
from flexsim.task_graph.kinds import COLLECTIVES
from flexsim.task_graph.merged_parts import MergedParts
from flexsim.task_graph.program import Program
from flexsim.task_graph.rows import Row
from flexsim.task_graph.site import Site

MOST_RANKS = 3
"""The first rank, one that stands for all between, and the last."""


class Joint(NamedTuple):
    """A collective that has no price yet: on groups along ``axes`` of a rank's mesh.

    Without axes it joins the ranks that its task holds: devices at equal places, or all of them
    in one group (``is_whole``).
    """

    task: int
    kind: str
    num_bytes: int
    axes: tuple[str, ...]
    is_whole: bool = False


def ranks_of(row: Row, site: Site) -> NDArray[np.bool_]:
    """Return for every rank whether a row runs on some device of it."""
    found = np.zeros(site.num_ranks, np.bool_)
    found[row.places.groups // site.devices.shape[1]] = True
    return found


def joint_of(program: Program, row: Row, site: Site, task: int) -> Joint | None:
    """Return the collective that a row is, one of no kind where it is none.

    None where it joins other devices than a :class:`Joint` can say.
    """
    groups, kind = row.places.groups, COLLECTIVES[row.collective]
    plain = Joint(task, kind, int(row.num_bytes[0]), ())
    if not kind:
        return plain
    axes = program.notebook.axes_of(row.places)
    if axes is not None:
        return plain._replace(axes=axes)
    if groups.size == site.devices.size and len(groups) == 1:
        return plain._replace(is_whole=True)
    twins = site.devices[np.flatnonzero(ranks_of(row, site))].T
    return plain if np.array_equal(groups, twins) else None


def why_unlike(rows: Sequence[Row], holds: NDArray[np.bool_], merged: MergedParts) -> str:
    """Return why inner ranks, or devices of a rank, are not alike."""
    for row, ranks in zip(rows, holds, strict=True):
        if row.places.targets is not None:
            return "an update sends from one rank to another"
        if row.stage == 1 and ranks.sum() > 1:
            return "an inner rank updates together with others"
        if np.ptp(row.duration_ns) or np.ptp(row.num_bytes):
            return "the devices of a rank do not update alike"
    inner = holds.shape[1] == MOST_RANKS and any(stage == 1 for stage, _ in merged.shared)
    return "an inner rank shares weights with others" if inner else ""


def needs_of(
    rows: Sequence[Row], holds: NDArray[np.bool_], place: Int64
) -> tuple[tuple[Int64, Int64], tuple[Int64, Int64]]:
    """Return what tasks wait for on devices that they share: tasks, and anchors."""
    pairs = [(need, index) for index, row in enumerate(rows) for need in row.needs]
    edges = [pair for pair in pairs if pair[0] >= 0 and (holds[pair[0]] & holds[pair[1]]).any()]
    waits = [(-1 - need, index) for need, index in pairs if need < 0]
    before, after = np.array(edges, np.int64).reshape(-1, 2).T
    anchors, waiting = np.array(waits, np.int64).reshape(-1, 2).T
    return (place[before], place[after]), (anchors, place[waiting])


def entries_of(rows: Sequence[Row], place: Int64) -> Int64:
    """Return the kernels that wait for no other of their rank, not even by others."""
    late: list[bool] = []
    for row in rows:
        before = [need for need in row.needs if need >= 0 and rows[need].stage == row.stage]
        late.append(any(late[need] or rows[need].is_compute for need in before))
    found = [i for i, row in enumerate(rows) if row.is_compute and not late[i]]
    return np.sort(place[np.array(found, np.int64)])


def heads_of(rows: Sequence[Row], place: Int64) -> Int64:
    """Return the tasks that wait for no other of their rank."""
    heads = [
        index
        for index, row in enumerate(rows)
        if all(need < 0 or rows[need].stage != row.stage for need in row.needs)
    ]
    return np.sort(place[np.array(heads, np.int64)])
