"""Weights that replicas keep in shares, gathered a unit ahead of its operators.

A unit is what is gathered together: a repeated block's weights, or one operator's outside of
blocks. The gather of a unit waits for the end of the unit that comes ``prefetch`` before the one
ahead of it, so that no more than ``prefetch + 1`` units are whole at a time. Software that gathers
weights one by one does so when they are needed, and again for each use.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from flexsim.operator_graph.records import Operator, Use
from flexsim.strategy.layout import Layout
from flexsim.strategy.mesh import Mesh
from flexsim.task_graph.bring import Reader
from flexsim.task_graph.kinds import COLLECTIVE_CODE, TASK_CODE
from flexsim.task_graph.rows import F, Row
from flexsim.task_graph.shares import shares_ns

if TYPE_CHECKING:
    from flexsim.task_graph.program import Program

PARAMETER = TASK_CODE["parameter"]


def unit_of(operator: Operator) -> str:
    """Return what an operator's weights are gathered together with."""
    return operator.block or operator.name


def shard_axes_of(program: Program, layout: Layout) -> tuple[str, ...]:
    """Return the mesh axes along which a weight that lies as ``layout`` is kept in shares."""
    wanted = set(program.strategy.sharding.axes)
    return tuple(name for name in layout.replicated_axes if name in wanted)


def num_shares(program: Program, layout: Layout) -> int:
    """Return in how many shares a weight that lies as ``layout`` is kept."""
    return layout.mesh.degree(shard_axes_of(program, layout))


def message_of(program: Program, weight: str) -> tuple[str, bool]:
    """Return what the weights have in common that software keeps as one: query, key and value."""
    operator, _ = program.uses[weight][0]
    return operator.name, len(program.graph.shape(weight)) > 1


@dataclass
class _Action:
    """What has been gathered in one action of one stage: units in order, and their last rows."""

    gathered: dict[tuple[str, Mesh], tuple[int, ...]] = field(default_factory=dict)
    units: list[str] = field(default_factory=list)
    last: dict[str, int] = field(default_factory=dict)
    read: dict[tuple[str, Mesh], set[str]] = field(default_factory=dict)
    """Of every unit the weights that were read since it was gathered."""


@dataclass
class Fetches:
    """Writes the all-gathers of the weights that operators read, where they are in shares."""

    program: Program
    _actions: dict[tuple[int, int], _Action] = field(default_factory=dict)
    _units: dict[str, list[tuple[Operator, Use]]] = field(default_factory=dict)

    @cached_property
    def is_on(self) -> bool:
        """Whether weights are kept in shares at all."""
        return self.program.strategy.sharding.weights

    def bring(self, operator: Operator, use: Use, reader: Reader) -> tuple[int, ...]:
        """Return the rows after which the weight of ``use`` is whole for ``reader``."""
        if use.tensor not in self.program.graph.weights:
            return ()
        if reader.action != F and not self.program.strategy.sharding.reshard:
            return ()
        action = self._actions.setdefault((reader.stage, reader.action), _Action())
        mesh = self.program.cuts.of(operator).config.mesh
        key = unit_of(operator), mesh
        read = action.read.setdefault(key, set())
        if key not in action.gathered or (use.tensor in read and self._one_by_one):
            action.gathered[key] = self._gather(action, key, reader)
            action.units.append(key[0])
            read.clear()
        read.add(use.tensor)
        return action.gathered[key]

    @property
    def _one_by_one(self) -> bool:
        return self.program.pricing.software.shares_one_by_one

    def wrote(self, operator: Operator, reader: Reader, row: int) -> None:
        """Note that a row of an operator has been written."""
        action = self._actions.setdefault((reader.stage, reader.action), _Action())
        action.last[unit_of(operator)] = row

    def _gather(self, action: _Action, key: tuple[str, Mesh], reader: Reader) -> tuple[int, ...]:
        if self._one_by_one:
            needs = (max(action.last.values()),) if action.last else ()
            return self._write_all(key, reader, needs)
        ahead = self.program.strategy.sharding.prefetch + 1
        before = list(dict.fromkeys(unit for unit in action.last if unit != key[0]))
        needs = (action.last[before[-ahead]],) if len(before) >= ahead else ()
        return self._write_all(key, reader, needs)

    def _write_all(
        self, key: tuple[str, Mesh], reader: Reader, needs: tuple[int, ...]
    ) -> tuple[int, ...]:
        sizes = self._sizes(*key)
        return tuple(self._write(key[1], axes, some, reader, needs) for axes, some in sizes.items())

    def unit_bytes(self, unit: str, mesh: Mesh) -> dict[tuple[str, ...], int]:
        """Return the bytes of a unit's whole weights on a device, by the axes of their shares."""
        return {axes: sum(sizes) for axes, sizes in self._sizes(unit, mesh).items()}

    def _sizes(self, unit: str, mesh: Mesh) -> dict[tuple[str, ...], list[int]]:
        """Return the bytes of each message of a unit, by the axes of its weights' shares."""
        found: dict[tuple[str, ...], dict[tuple[str, bool], int]] = {}
        for tensor, layout in self._layouts(unit, mesh).items():
            axes = shard_axes_of(self.program, layout)
            if layout.mesh.degree(axes) > 1 and not self._is_whole(tensor):
                sizes, key = found.setdefault(axes, {}), message_of(self.program, tensor)
                sizes[key] = sizes.get(key, 0) + self.program.size(tensor).local_bytes(layout)
        return {axes: list(sizes.values()) for axes, sizes in found.items()}

    def _layouts(self, unit: str, mesh: Mesh) -> dict[str, Layout]:
        return {
            use.tensor: self.program.cuts.of(operator).read(operator, use)
            for operator, use in self._reads(unit)
            if self.program.cuts.of(operator).config.mesh == mesh
        }

    def _is_whole(self, weight: str) -> bool:
        """Whether a weight is so small that every replica has it at hand."""
        least = self.program.pricing.software.whole_parameters
        return prod(self.program.graph.shape(weight)) < least

    def units_of_stage(self, stage: int) -> Iterable[tuple[str, Mesh]]:
        """Return the units that a stage gathers."""
        found: dict[tuple[str, Mesh], None] = {}
        for (at, _), action in self._actions.items():
            if at == stage:
                found |= dict.fromkeys(action.gathered)
        return found

    def _reads(self, unit: str) -> list[tuple[Operator, Use]]:
        if not self._units:
            for name in self.program.graph.weights:
                for operator, use in self.program.uses.get(name, ()):
                    self._units.setdefault(unit_of(operator), []).append((operator, use))
        return self._units.get(unit, [])

    def _write(
        self,
        mesh: Mesh,
        axes: tuple[str, ...],
        sizes: list[int],
        reader: Reader,
        needs: tuple[int, ...],
    ) -> int:
        program = self.program
        places = program.notebook.on_groups(mesh, axes)
        duration = shares_ns(program.pricing, "all-gather", sizes, places, mesh)
        counts = np.full(places.num_members, sum(sizes), np.int64)
        row = Row(
            reader.stage,
            reader.action,
            PARAMETER,
            reader.operator,
            places,
            duration,
            counts,
            needs,
            False,
            COLLECTIVE_CODE["all-gather"],
            blocks=self._one_by_one,
        )
        return program.notebook.write(row)
