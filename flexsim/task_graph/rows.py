"""Rows: what one microbatch does, each row standing for a task on every member."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexsim.strategy.layout import Layout
from flexsim.strategy.mesh import Mesh
from flexsim.task_graph.kinds import ACTION_CODE, TASK_CODE
from flexsim.task_graph.places import Places

F, B, INPUT, WEIGHT, U = (ACTION_CODE[kind] for kind in "FBIWU")


class Row(NamedTuple):
    """One row of a template.

    It belongs to action ``action`` (F, B, I or W of global stage ``stage``; U of rank ``stage``).
    ``needs`` are rows whose members must end first where they share a device.
    """

    stage: int
    action: int
    kind: int
    operator: int
    places: Places
    duration_ns: NDArray[np.int64]
    num_bytes: NDArray[np.int64]
    needs: tuple[int, ...]
    is_compute: bool
    collective: int = 0
    """Index into :data:`flexsim.task_graph.kinds.COLLECTIVES`: 0 for all but collectives."""
    issue_ns: int = 0
    """What a host takes to issue a kernel, where hosts run ahead."""
    blocks: bool = False
    """Whether a collective holds its members' compute streams."""


class Have(NamedTuple):
    """A tensor at hand in some layout: the rows that bring it and the stage they ran for."""

    layout: Layout
    rows: tuple[int, ...]
    stage: int


Store = dict[str, list[Have]]


@dataclass
class Notebook:
    """The rows written so far and the places that they share."""

    rows: list[Row] = field(default_factory=list)
    flops: int = 0
    forward_flops: int = 0
    """The part of ``flops`` that forwards take."""
    _compute: dict[Mesh, Places] = field(default_factory=dict)
    _groups: dict[tuple[Mesh, tuple[str, ...]], Places] = field(default_factory=dict)
    _moves: dict[tuple[Mesh, Mesh], Places] = field(default_factory=dict)

    def write(self, row: Row) -> int:
        """Append a row and return its index."""
        self.rows.append(row)
        return len(self.rows) - 1

    def on_mesh(self, mesh: Mesh) -> Places:
        """Return one member a device of ``mesh``."""
        if mesh not in self._compute:
            self._compute[mesh] = Places(mesh.flat[:, None])
        return self._compute[mesh]

    def on_groups(self, mesh: Mesh, axes: tuple[str, ...]) -> Places:
        """Return one member a group of devices that differ along ``axes``."""
        key = (mesh, axes)
        if key not in self._groups:
            self._groups[key] = Places(mesh.groups(axes))
        return self._groups[key]

    def axes_of(self, places: Places) -> tuple[str, ...] | None:
        """Return the axes along which :meth:`on_groups` made places; None where it did not."""
        return next((key[1] for key, found in self._groups.items() if found is places), None)

    def on_twins(self, source: Mesh, target: Mesh) -> Places:
        """Return one member a pair of devices with equal coordinates."""
        key = (source, target)
        if key not in self._moves:
            self._moves[key] = Places(source.flat[:, None], target.flat)
        return self._moves[key]


def unique(rows: Iterable[int]) -> tuple[int, ...]:
    """Return rows once each, in order."""
    return tuple(dict.fromkeys(rows))


def kind_of_axes(axes: Sequence[str]) -> int:
    """Return the stream of a collective: the name of its first mesh axis, before any dot."""
    return TASK_CODE.get(axes[0].split(".")[0], TASK_CODE["reshard"])
