"""Collectives fused with the attention kernels that read or feed them: ring attention.

The layouts say that keys and values are gathered before the kernel and their gradients summed
and scattered after it. Along ring axes the same bytes go round in N - 1 steps instead, while the
kernel works on the N blocks that it has at hand, one after the other (Liu et al. 2023, arXiv
2310.01889).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from flexsim.task_graph.kinds import COLLECTIVE_CODE
from flexsim.task_graph.places import Places
from flexsim.task_graph.program import Program
from flexsim.task_graph.rows import Row, unique

BLOCKWISE_KERNEL = "attention"
"""The kernel that can work on some keys at a time."""
_GATHER = COLLECTIVE_CODE["all-gather"]
_SCATTER = COLLECTIVE_CODE["reduce-scatter"]


def fused_rows(program: Program) -> Sequence[Row]:
    """Return the rows of a program with collectives along its ring axes fused with kernels."""
    rows = program.notebook.rows
    if not program.strategy.ring_axes:
        return rows
    return _Fusion(rows, _fused(program)).run()


def ring_sizes(program: Program) -> dict[int, int]:
    """Return the collectives that go round in steps, and among how many devices."""
    if not program.strategy.ring_axes:
        return {}
    rows = program.notebook.rows
    return {number: rows[number].places.groups.shape[1] for number in _fused(program)}


def at_hand(num_bytes: int, ways: int) -> int:
    """Return what a ring of ``ways`` devices holds of what others sent, of ``num_bytes`` in all.

    That is the block that is worked on, and the one that comes meanwhile.
    """
    return num_bytes * min(2, ways - 1) // ways


def _fused(program: Program) -> dict[int, int]:
    """Return the collectives that are fused with a kernel, and the kernel."""
    kernels = [row for row, (_, step) in program.touched.items() if step.kernel == BLOCKWISE_KERNEL]
    rings = {id(places): places for places in _rings(program)}
    return _kernel_of(program.notebook.rows, kernels, rings)


def _rings(program: Program) -> list[Places]:
    """Return the groups along the ring axes of every mesh."""
    wanted = set(program.strategy.ring_axes)
    meshes = dict.fromkeys(m for some in program.strategy.meshes_of_stage for m in some)
    found = []
    for mesh in meshes:
        axes = tuple(n for n in mesh.names if n in wanted and mesh.axis_size(n) > 1)
        if axes:
            found.append(program.notebook.on_groups(mesh, axes))
    return found


def _kernel_of(
    rows: Sequence[Row], kernels: Sequence[int], rings: dict[int, Places]
) -> dict[int, int]:
    """Return the kernel that each collective to be fused is read by, or follows."""
    on_ring = [id(row.places) in rings for row in rows]
    found: dict[int, int] = {}
    for kernel in kernels:
        gathers = [n for n in rows[kernel].needs if on_ring[n] and rows[n].collective == _GATHER]
        found |= dict.fromkeys(gathers, kernel)
    among = set(kernels)
    for number, row in enumerate(rows):
        fed = [need for need in row.needs if need in among]
        if fed and on_ring[number] and row.collective == _SCATTER:
            found[number] = fed[-1]
    return found


@dataclass
class _Fusion:
    """Rows in the making; ``pieces`` has the new numbers of every old row."""

    rows: Sequence[Row]
    kernel_of: dict[int, int]
    made: list[Row] = field(default_factory=list)
    pieces: list[list[int]] = field(default_factory=list)

    def run(self) -> Sequence[Row]:
        gathers: dict[int, list[int]] = {}
        sizes = {k: self.rows[n].places.groups.shape[1] for n, k in self.kernel_of.items()}
        for number, kernel in self.kernel_of.items():
            if number < kernel:
                gathers.setdefault(kernel, []).append(number)
        for number, row in enumerate(self.rows):
            if number in sizes:
                numbers = self._blocks(row, sizes[number], gathers.get(number, []))
            elif number not in self.kernel_of:
                numbers = [self._write(row, self._ends(row.needs))]
            elif number < self.kernel_of[number]:
                numbers = self._gather(row)
            else:
                numbers = self._scatter(row, self.kernel_of[number])
            self.pieces.append(numbers)
        return self.made

    def _ends(self, needs: Sequence[int]) -> tuple[int, ...]:
        return unique(self.pieces[need][-1] for need in needs)

    def _write(self, row: Row, needs: tuple[int, ...]) -> int:
        self.made.append(row._replace(needs=needs))
        return len(self.made) - 1

    def _gather(self, row: Row) -> list[int]:
        """Write the steps in which blocks come round, each after the one before."""
        needs = self._ends(row.needs)
        numbers: list[int] = []
        for piece in _cut(row, row.places.groups.shape[1] - 1):
            numbers.append(self._write(piece, needs))
            needs = (numbers[-1],)
        return numbers

    def _blocks(self, row: Row, count: int, gathers: list[int]) -> list[int]:
        """Write the kernel's blocks: the first on what is there, each other once it has come."""
        sources = [need for gather in gathers for need in self.rows[gather].needs]
        others = [need for need in row.needs if need not in gathers]
        needs = self._ends([*others, *sources])
        numbers: list[int] = []
        for index, block in enumerate(_cut(row, count)):
            if index:
                arrived = [self.pieces[gather][index - 1] for gather in gathers]
                needs = unique((numbers[-1], *arrived))
            numbers.append(self._write(block, needs))
        return numbers

    def _scatter(self, row: Row, kernel: int) -> list[int]:
        """Write the steps in which sums go round, each after the block that adds to it."""
        others = self._ends([need for need in row.needs if need != kernel])
        numbers: list[int] = []
        blocks = self.pieces[kernel][1:]
        for block, piece in zip(blocks, _cut(row, len(blocks)), strict=True):
            before = numbers[-1:] or others
            numbers.append(self._write(piece, unique((*before, block))))
        return numbers


def _cut(row: Row, count: int) -> list[Row]:
    """Return ``count`` rows that share a row's time and bytes equally."""
    durations, sizes = (_shares(all_, count) for all_ in (row.duration_ns, row.num_bytes))
    return [
        row._replace(duration_ns=np.maximum(duration, 1), num_bytes=size)
        for duration, size in zip(durations, sizes, strict=True)
    ]


def _shares(total: NDArray[np.int64], count: int) -> list[NDArray[np.int64]]:
    ends = [total * index // count for index in range(count + 1)]
    return [end - start for start, end in pairwise(ends)]
