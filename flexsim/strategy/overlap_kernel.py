"""The compiled inner loop of exchanges: who sends how much to whom, on meshes of any shape."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexsim.numba_cache import inlined, kept_on_disk

Int64 = NDArray[np.int64]
Int32 = NDArray[np.int32]


class Side(NamedTuple):
    """Source or target: its devices, and what every one needs along every axis of the tensor.

    ``parts[k, a]`` is the part of device k along axis a, and ``bounds[a, p]`` are the first
    element of part p and the one behind its last. ``degrees`` counts the parts of every axis.
    """

    devices: Int32
    parts: Int64
    bounds: Int64
    degrees: Int64


class Holders(NamedTuple):
    """The devices (positions in the source) of every cell: ``of_cell[first[c]:first[c + 1]]``."""

    first: Int64
    of_cell: Int64


@inlined
def _holders(source: Side) -> Holders:
    """Number cells by their parts, the first axis major, and list who holds each."""
    num_cells = 1
    for degree in source.degrees:
        num_cells *= degree
    cell_of = np.zeros(len(source.devices), np.int64)
    first = np.zeros(num_cells + 2, np.int64)
    for place in range(len(source.devices)):
        for axis in range(len(source.degrees)):
            cell_of[place] = cell_of[place] * source.degrees[axis] + source.parts[place, axis]
        first[cell_of[place] + 2] += 1
    for cell in range(num_cells):
        first[cell + 2] += first[cell + 1]
    of_cell = np.empty(len(source.devices), np.int64)
    for place in range(len(source.devices)):
        of_cell[first[cell_of[place] + 1]] = place
        first[cell_of[place] + 1] += 1
    return Holders(first, of_cell)


@inlined
def _sender(
    source: Side, holders: Holders, cell: int, receiver: int, twin: int, sent: Int64
) -> int:
    """Return the place of who sends a cell; that of the receiver itself if it holds it."""
    best = -1
    for i in range(holders.first[cell], holders.first[cell + 1]):
        if source.devices[holders.of_cell[i]] == receiver:
            return int(holders.of_cell[i])
    for i in range(holders.first[cell], holders.first[cell + 1]):
        place = holders.of_cell[i]
        if place == twin:
            return int(place)
        less = best < 0 or sent[place] < sent[best]
        if less or (sent[place] == sent[best] and source.devices[place] < source.devices[best]):
            best = place
    return best


@inlined
def _overlapping(source: Side, target: Side, place: int, ends: Int64) -> bool:
    """Write along every axis the first part of the source that a target's box meets and the last.

    The source's parts are in order and do not overlap. Return whether there are any.
    """
    for axis in range(len(source.degrees)):
        wanted = target.bounds[axis, target.parts[place, axis]]
        first, last = 0, source.degrees[axis] - 1
        while first <= last and source.bounds[axis, first, 1] <= wanted[0]:
            first += 1
        while last >= first and source.bounds[axis, last, 0] >= wanted[1]:
            last -= 1
        if first > last:
            return False
        ends[0, axis], ends[1, axis], ends[2, axis] = first, last, first
    return True


@inlined
def _next_cell(source: Side, ends: Int64) -> bool:
    """Go on to the next cell of a box, the last axis first; return whether there is one."""
    for back in range(len(source.degrees)):
        axis = len(source.degrees) - 1 - back
        ends[2, axis] += 1
        if ends[2, axis] <= ends[1, axis]:
            return True
        ends[2, axis] = ends[0, axis]
    return False


@inlined
def _common(source: Side, target: Side, place: int, ends: Int64) -> tuple[int, int]:
    """Return the number of the cell that stands in ``ends[2]``, and how much of it is wanted."""
    cell, size = 0, 1
    for axis in range(len(source.degrees)):
        part, wanted = ends[2, axis], target.parts[place, axis]
        cell = cell * source.degrees[axis] + part
        low = max(source.bounds[axis, part, 0], target.bounds[axis, wanted, 0])
        high = min(source.bounds[axis, part, 1], target.bounds[axis, wanted, 1])
        size *= max(0, high - low)
    return cell, size


@inlined
def _count_elements(source: Side, target: Side, has_twins: bool) -> Int64:
    """Return the elements that go from every place of the source to every one of the target."""
    holders = _holders(source)
    totals = np.zeros((len(source.devices), len(target.devices)), np.int64)
    sent = np.zeros(len(source.devices), np.int64)
    ends = np.zeros((3, len(source.degrees)), np.int64)
    for place in range(len(target.devices)):
        receiver = target.devices[place]
        goes_on = _overlapping(source, target, place, ends)
        while goes_on:
            cell, size = _common(source, target, place, ends)
            goes_on = _next_cell(source, ends)
            if size == 0:
                continue
            sender = _sender(source, holders, cell, receiver, place if has_twins else -1, sent)
            if source.devices[sender] != receiver:
                sent[sender] += size
                totals[sender, place] += size
    return totals


@kept_on_disk
def count_pairs(source: Side, target: Side, has_twins: bool) -> tuple[Int32, Int32, Int64]:
    """Return senders, receivers and elements, sorted by sender and receiver."""
    totals = _count_elements(source, target, has_twins)
    rows, columns = np.argsort(source.devices), np.argsort(target.devices)
    count = np.count_nonzero(totals)
    senders, receivers = np.empty(count, np.int32), np.empty(count, np.int32)
    elements = np.empty(count, np.int64)
    filled = 0
    for row in rows:
        for column in columns:
            if totals[row, column]:
                senders[filled], receivers[filled] = source.devices[row], target.devices[column]
                elements[filled] = totals[row, column]
                filled += 1
    return senders, receivers, elements
