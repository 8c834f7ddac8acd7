"""Transfers by overlap of boxes, for layouts that no collective joins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexsim.strategy.layout import Layout
from flexsim.strategy.mesh import part_bounds


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
    parts, holders = _holders(source)
    volumes = _volumes(source, target, shape, parts)
    sent = dict.fromkeys(source.mesh.flat.tolist(), 0)
    totals: dict[tuple[int, int], int] = {}
    for position, part in zip(*(a.tolist() for a in np.nonzero(volumes)), strict=True):
        receiver, elements = int(target.mesh.flat[position]), int(volumes[position, part])
        sender = _sender(holders[part], receiver, _twin(source, target, position), sent)
        if sender != receiver:
            sent[sender] += elements
            totals[sender, receiver] = totals.get((sender, receiver), 0) + elements
    ordered = sorted(totals)
    return Pairs(
        np.array([s for s, _ in ordered], np.int32),
        np.array([t for _, t in ordered], np.int32),
        np.array([totals[pair] for pair in ordered], np.int64),
    )


def _sender(holders: list[int], receiver: int, twin: int, sent: dict[int, int]) -> int:
    for preferred in (receiver, twin):
        if preferred in holders:
            return preferred
    return min(holders, key=lambda device: (sent[device], device))


def _twin(source: Layout, target: Layout, position: int) -> int:
    same = source.mesh.shape == target.mesh.shape
    return int(source.mesh.flat[position]) if same else -1


def _indices(layout: Layout) -> NDArray[np.int64]:
    """Return the part of every device along every tensor axis: ``[devices, axes]``."""
    columns = [layout.mesh.part_index(axes) for axes in layout.axes]
    return np.stack(columns, 1) if columns else np.zeros((layout.mesh.size, 0), np.int64)


def _holders(source: Layout) -> tuple[NDArray[np.int64], list[list[int]]]:
    """Return the distinct parts of a layout and the devices that hold each."""
    parts, part_of_device = np.unique(_indices(source), axis=0, return_inverse=True)
    holders: list[list[int]] = [[] for _ in parts]
    for device, part in zip(source.mesh.flat.tolist(), part_of_device.reshape(-1), strict=True):
        holders[part].append(device)
    return parts, holders


def _volumes(
    source: Layout, target: Layout, shape: tuple[int, ...], parts: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the elements common to every (target device, source part)."""
    wanted = _indices(target)
    volumes = np.ones((len(wanted), len(parts)), np.int64)
    for axis, size in enumerate(shape):
        have = part_bounds(size, source.mesh.degree(source.axes[axis]))
        want = part_bounds(size, target.mesh.degree(target.axes[axis]))
        low = np.maximum(want[:-1, None], have[None, :-1])
        high = np.minimum(want[1:, None], have[None, 1:])
        table = np.maximum(high - low, 0)
        volumes *= table[wanted[:, axis]][:, parts[:, axis]]
    return volumes
