"""Rows of the representatives: one member for each class of members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from flexsim.task_graph.classes import Classes, first_devices, target_of_member
from flexsim.task_graph.incidence import TARGET, Incidence, Int64
from flexsim.task_graph.places import Places
from flexsim.task_graph.rows import Row

StandIn = tuple[Places, Int64]
"""Places of equally large groups and the members that each of theirs stands for."""


def rows_of_representatives(rows: Sequence[Row], who: Incidence, classes: Classes) -> list[Row]:
    """Return ``rows`` with one member for each class, on the first devices of classes.

    A row whose groups join different numbers of classes becomes several, one after the other.
    """
    stand_ins = _stand_ins(who, classes)
    if all(len(some) == 1 for some in stand_ins):
        return _one_each(rows, who, [some[0] for some in stand_ins])
    return _several(rows, who, stand_ins)


def _one_each(rows: Sequence[Row], who: Incidence, stand_ins: Sequence[StandIn]) -> list[Row]:
    number, cells = who.number, {}
    for key, row in who.samples.items():
        places, members = stand_ins[number[row.places]]
        cells[key] = places, row.duration_ns[members], row.num_bytes[members]
    return [_on(row, *cells[key]) for row, key in zip(rows, who.keys, strict=True)]


def _on(row: Row, places: Places, duration_ns: Int64, num_bytes: Int64) -> Row:
    """Return a row on other places; kernels have been issued by now."""
    return Row(
        row.stage,
        row.action,
        row.kind,
        row.operator,
        places,
        duration_ns,
        num_bytes,
        row.needs,
        row.is_compute,
        row.collective,
        blocks=row.blocks,
    )


def _several(rows: Sequence[Row], who: Incidence, stand_ins: Sequence[list[StandIn]]) -> list[Row]:
    """Write every row once for each of its stand-ins; what needed the row needs all of them.

    Needs below 0 are no rows and stay as they are.
    """
    found: list[Row] = []
    copies: list[range] = []
    for row in rows:
        some = stand_ins[who.number[row.places]]
        outside = tuple(need for need in row.needs if need < 0)
        inside = [copies[need] for need in row.needs if need >= 0]
        needs = (*outside, *(copy for some in inside for copy in some))
        copies.append(range(len(found), len(found) + len(some)))
        for places, members in some:
            durations, num_bytes = row.duration_ns[members], row.num_bytes[members]
            found.append(
                row._replace(places=places, duration_ns=durations, num_bytes=num_bytes, needs=needs)
            )
    return found


@dataclass(frozen=True, eq=False)
class _Joined:
    """What members join: ``device[start : start + width]`` of every member, in order."""

    start: Int64
    width: Int64
    device: NDArray[np.int32]


def _stand_ins(who: Incidence, classes: Classes) -> list[list[StandIn]]:
    """Return, for all distinct places, what stands for them."""
    chosen = _one_member_a_class(who, classes)
    holders = _joined(who, classes, chosen)
    target = target_of_member(who)[chosen]
    targets = who.devices[first_devices(classes)][classes.of_device[target]]
    bounds = np.searchsorted(chosen, who.offsets).tolist()
    first_member = who.offsets.tolist()
    found: list[list[StandIn]] = []
    for number, (low, high) in enumerate(pairwise(bounds)):
        some: list[StandIn] = []
        for wide in sorted(set(holders.width[low:high].tolist())):
            alike = low + np.flatnonzero(holders.width[low:high] == wide)
            groups = holders.device[holders.start[alike][:, None] + np.arange(wide)]
            to = targets[alike] if who.places[number].targets is not None else None
            some.append((Places(groups, to), chosen[alike] - first_member[number]))
        found.append(some)
    return found


def _one_member_a_class(who: Incidence, classes: Classes) -> Int64:
    """Return the first member of each class among those with a representative, in order."""
    chosen = np.zeros(len(who.devices), bool)
    chosen[first_devices(classes)] = True
    candidates = np.unique(who.member[chosen[who.device]])
    _, first = np.unique(classes.hash_of_member[candidates], return_index=True)
    return candidates[np.sort(first)]


def _joined(who: Incidence, classes: Classes, chosen: Int64) -> _Joined:
    """Return the representatives of the classes that ``chosen`` members hold, once each."""
    is_chosen = np.zeros(len(who.label), bool)
    is_chosen[chosen] = True
    mine = is_chosen[who.member] & (who.role != TARGET)
    member, kind = who.member[mine], classes.of_device[who.device[mine]]
    _, first = np.unique(member * classes.num_classes + kind, return_index=True)
    first = np.sort(first)
    start = np.searchsorted(member[first], chosen)
    width = np.diff(start, append=len(first))
    return _Joined(start, width, who.devices[first_devices(classes)][kind[first]])
