"""Transfers by overlap of boxes, for layouts that no collective joins."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flexsim.operator_graph.axes import Bounds
from flexsim.strategy.layout import Layout
from flexsim.strategy.mesh import Mesh, part_bounds

if TYPE_CHECKING:
    from flexsim.strategy.overlap_kernel import Side

Int64 = NDArray[np.int64]
_LARGEST_TABLE = 1 << 20
"""Pairs of devices up to which a table of all of them is made."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Elements that go from one device to another, a row a pair of devices."""

    sources: NDArray[np.int32]
    targets: NDArray[np.int32]
    elements: NDArray[np.int64]


def exchange(source: Layout, target: Layout, shape: tuple[int, ...]) -> Pairs:
    """Return who sends how many elements to whom so that every target box is complete.

    A device takes nothing that it holds itself. Among replicas of a box the sender is the
    device at the receiver's own coordinates, else the one that has sent least so far, else
    the lowest id.
    """
    if not source.bounds and source.mesh.size * target.mesh.size <= _LARGEST_TABLE:
        return _counted(source, target, shape)
    cells = _cells(source, shape)
    volumes = _volumes(target, shape, cells)
    positions, wanted = np.nonzero(volumes)
    elements = volumes[positions, wanted]
    if max(map(len, cells.holders), default=1) == 1:
        only = np.array([holders[0] for holders in cells.holders], np.int32)
        senders = only[wanted]
    else:
        senders = _senders(source, target, cells, (positions, wanted, elements))
    return _summed(senders, target.mesh.flat[positions], elements)


def _counted(source: Layout, target: Layout, shape: tuple[int, ...]) -> Pairs:
    """Return the same by a table of all pairs of devices."""
    from flexsim.strategy.overlap_kernel import count_pairs

    has_twins = source.mesh.shape == target.mesh.shape
    return Pairs(*count_pairs(_side(source, shape), _side(target, shape), has_twins))


def _side(layout: Layout, shape: tuple[int, ...]) -> Side:
    """Return a layout as the kernel takes it; all but the devices is shared by equal meshes."""
    from flexsim.strategy.overlap_kernel import Side

    mesh = layout.mesh
    form = _form(mesh.names, mesh.shape, layout.axes)
    degrees = form[1]
    return Side(mesh.flat, form[0], _bounds(shape, tuple(degrees.tolist()), layout.bounds), degrees)


@lru_cache(maxsize=16384)
def _form(
    names: tuple[str, ...], mesh_shape: tuple[int, ...], axes: tuple[tuple[str, ...], ...]
) -> tuple[Int64, Int64]:
    """Return the parts of every device of a mesh along every tensor axis, and their numbers."""
    mesh = Mesh(names, np.arange(prod(mesh_shape)).reshape(mesh_shape))
    parts = np.zeros((mesh.size, len(axes)), np.int64)
    for axis, cut_by in enumerate(axes):
        parts[:, axis] = mesh.part_index(cut_by)
    return parts, np.array([mesh.degree(cut_by) for cut_by in axes], np.int64)


@lru_cache(maxsize=16384)
def _bounds(
    shape: tuple[int, ...], degrees: tuple[int, ...], windows: tuple[Bounds | None, ...]
) -> Int64:
    """Return the first element of every part along every axis and the one behind its last."""
    bounds = np.zeros((len(shape), max(degrees, default=1), 2), np.int64)
    for axis, (size, degree) in enumerate(zip(shape, degrees, strict=True)):
        window = windows[axis] if windows else None
        cuts = part_bounds(size, degree)
        found = np.stack([cuts[:-1], cuts[1:]], 1) if window is None else np.array(window)
        bounds[axis, :degree] = found
    return bounds


def _senders(
    source: Layout, target: Layout, cells: _Cells, pieces: tuple[Int64, Int64, Int64]
) -> NDArray[np.int32]:
    """Return who sends each piece, given its receiver's position, its cell and its size."""
    sent = dict.fromkeys(source.mesh.flat.tolist(), 0)
    devices = target.mesh.flat.tolist()
    twins = source.mesh.flat.tolist() if source.mesh.shape == target.mesh.shape else None
    found = []
    for position, cell, size in zip(*(each.tolist() for each in pieces), strict=True):
        receiver = devices[position]
        twin = -1 if twins is None else twins[position]
        sender = _sender(cells.holders[cell], receiver, twin, sent)
        if sender != receiver:
            sent[sender] += size
        found.append(sender)
    return np.array(found, np.int32)


def _summed(senders: NDArray[np.int32], receivers: NDArray[np.int32], elements: Int64) -> Pairs:
    """Join what goes from one device to another, in their order; what stays is left out."""
    moves = senders != receivers
    senders, receivers, elements = senders[moves], receivers[moves], elements[moves]
    order = np.lexsort((receivers, senders))
    senders, receivers, elements = senders[order], receivers[order], elements[order]
    is_new = np.ones(len(order), bool)
    is_new[1:] = (np.diff(senders) != 0) | (np.diff(receivers) != 0)
    first = np.flatnonzero(is_new)
    totals = np.add.reduceat(elements, first) if len(first) else elements
    return Pairs(senders[first], receivers[first], totals)


def _sender(holders: list[int], receiver: int, twin: int, sent: dict[int, int]) -> int:
    for preferred in (receiver, twin):
        if preferred in holders:
            return preferred
    return min(holders, key=lambda device: (sent[device], device))


def _indices(layout: Layout) -> NDArray[np.int64]:
    """Return the part of every device along every tensor axis: ``[devices, axes]``."""
    columns = [layout.mesh.part_index(axes) for axes in layout.axes]
    return np.stack(columns, 1) if columns else np.zeros((layout.mesh.size, 0), np.int64)


def _intervals(layout: Layout, axis: int, size: int) -> NDArray[np.int64]:
    """Return [low, high) of every part along one tensor axis: ``[parts, 2]``."""
    if layout.bounds and layout.bounds[axis] is not None:
        return np.array(layout.bounds[axis], np.int64)
    cuts = part_bounds(size, layout.mesh.degree(layout.axes[axis]))
    return np.stack([cuts[:-1], cuts[1:]], 1)


@dataclass(frozen=True, eq=False)
class _Cells:
    """The pieces that all boxes of a layout are made of, and the devices that hold each.

    ``edges`` has the [low, high) of the pieces of every tensor axis, ``index`` the piece of
    every cell along every axis.
    """

    edges: list[NDArray[np.int64]]
    index: NDArray[np.int64]
    holders: list[list[int]]


def _cells(source: Layout, shape: tuple[int, ...]) -> _Cells:
    if source.bounds:
        return _overlapping_cells(source, shape)
    index, cell_of_device = np.unique(_indices(source), axis=0, return_inverse=True)
    holders: list[list[int]] = [[] for _ in index]
    for device, cell in zip(source.mesh.flat.tolist(), cell_of_device.reshape(-1), strict=True):
        holders[cell].append(device)
    edges = [_intervals(source, axis, size) for axis, size in enumerate(shape)]
    return _Cells(edges, index, holders)


def _overlapping_cells(source: Layout, shape: tuple[int, ...]) -> _Cells:
    """Cut every axis at all bounds, so that each box is a whole number of cells."""
    parts = [_intervals(source, axis, size) for axis, size in enumerate(shape)]
    cuts = [np.unique(intervals) for intervals in parts]
    edges = [np.stack([c[:-1], c[1:]], 1) for c in cuts]
    spans = [np.searchsorted(c, p) for c, p in zip(cuts, parts, strict=True)]
    found: dict[tuple[int, ...], list[int]] = {}
    for device, row in zip(source.mesh.flat.tolist(), _indices(source).tolist(), strict=True):
        ranges = (range(*spans[axis][part].tolist()) for axis, part in enumerate(row))
        for cell in itertools.product(*ranges):
            found.setdefault(cell, []).append(device)
    index = np.array(sorted(found), np.int64).reshape(-1, len(shape))
    return _Cells(edges, index, [found[tuple(cell)] for cell in index.tolist()])


def _volumes(target: Layout, shape: tuple[int, ...], cells: _Cells) -> NDArray[np.int64]:
    """Return the elements common to every (target device, source cell)."""
    wanted = _indices(target)
    volumes = np.ones((len(wanted), len(cells.index)), np.int64)
    for axis, size in enumerate(shape):
        have, want = cells.edges[axis], _intervals(target, axis, size)
        low = np.maximum(want[:, None, 0], have[None, :, 0])
        high = np.minimum(want[:, None, 1], have[None, :, 1])
        table = np.maximum(high - low, 0)
        volumes *= table[wanted[:, axis]][:, cells.index[:, axis]]
    return volumes
