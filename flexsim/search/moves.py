"""What proposals know of the model: its units, who reads whom, and where layers repeat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from flexsim.operator_graph import Operator, OperatorGraph, Use
from flexsim.operator_graph.axes import axis_dims
from flexsim.search.arrangement import degrees_of
from flexsim.search.objective import NO_STAGES, Configs, Stages
from flexsim.search.placements import Pool
from flexsim.search.space import LETTERS, Space
from flexsim.search.units import Unit
from flexsim.strategy import ParallelConfig, Strategy


@dataclass(frozen=True)
class Change:
    """A proposal: new configs of some operators, and new stages of those that move."""

    kind: str
    configs: Configs
    stages: Stages = field(default_factory=lambda: NO_STAGES)


@dataclass
class State:
    """The configs and stages that a chain is at."""

    configs: dict[str, ParallelConfig]
    stage_of: dict[str, int]

    def apply(self, change: Change) -> None:
        """Take a change over."""
        self.configs |= change.configs
        self.stage_of |= change.stages

    def copy(self) -> State:
        """Return a state that later changes leave alone."""
        return State(dict(self.configs), dict(self.stage_of))


@dataclass(frozen=True)
class Edge:
    """A tensor between two operators, as each of them indexes it."""

    writer: Operator
    reader: Operator
    written: Use
    read: Use


@dataclass(frozen=True, eq=False)
class Moves:
    """The model and the space, looked at as proposals need them."""

    graph: OperatorGraph
    space: Space
    base: Strategy

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """The units that may be changed."""
        return tuple(filter(self.space.is_free, self.space.units))

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """Every tensor edge between operators of different units, in program order."""
        found = []
        for reader in self.graph.operators:
            for step in reader.forward:
                for use in step.reads:
                    writer = self.graph.by_name.get(self.graph.writer.get(use.tensor, ""))
                    if writer is not None and self._apart(writer, reader):
                        found.append(Edge(writer, reader, _written(writer, use.tensor), use))
        return tuple(found)

    @cached_property
    def edges_of(self) -> dict[str, tuple[Edge, ...]]:
        """The edges of every unit, by its name."""
        found: dict[str, list[Edge]] = {unit.name: [] for unit in self.space.units}
        for edge in self.edges:
            for op in (edge.writer, edge.reader):
                found[self.space.by_operator[op.name].name].append(edge)
        return {name: tuple(edges) for name, edges in found.items()}

    @cached_property
    def peers(self) -> dict[str, tuple[Unit, ...]]:
        """For every unit, all units of its role, itself among them."""
        by_role: dict[object, list[Unit]] = {}
        for unit in self.units:
            by_role.setdefault(unit.role, []).append(unit)
        return {unit.name: tuple(by_role[unit.role]) for unit in self.units}

    @cached_property
    def sharers(self) -> tuple[tuple[Unit, ...], ...]:
        """The units that share a weight, where they have configs of their own."""
        groups: dict[tuple[str, str], list[Unit]] = {}
        for unit in self.units:
            groups.setdefault((unit.leader, unit.operators[0].kind), []).append(unit)
        return tuple(tuple(group) for group in groups.values() if len(group) > 1)

    @cached_property
    def roles(self) -> tuple[tuple[Unit, ...], ...]:
        """The units by role."""
        return tuple(dict.fromkeys(self.peers.values()))

    @cached_property
    def repeated(self) -> tuple[Unit, ...]:
        """The units that have peers."""
        return tuple(unit for unit in self.units if len(self.peers[unit.name]) > 1)

    @cached_property
    def blocks(self) -> dict[str, tuple[Unit, ...]]:
        """The units of every repeated block."""
        found: dict[str, list[Unit]] = {}
        for unit in self.units:
            if unit.block:
                found.setdefault(unit.block, []).append(unit)
        return {name: tuple(units) for name, units in found.items()}

    def pool(self, unit: Unit, state: State) -> Pool:
        """Return the devices of the pipeline rank that a unit is on now."""
        return self.space.pools[self.base.rank_of_stage[state.stage_of.get(unit.name, 0)]]

    def letters(self, state: State, change: Change) -> str:
        """Return which of S, O, A and P a change touches, before it is applied."""
        new = {**state.configs, **change.configs}
        pairs: dict[tuple[int, ParallelConfig, ParallelConfig], Unit] = {}
        for unit in dict.fromkeys(self.space.by_operator[name] for name in change.configs):
            role = id(self.peers.get(unit.name, unit))
            for old, other in _pairs(unit, state.configs, new):
                pairs.setdefault((role, old, other), unit)
        found: set[str] = set()
        for (_, old, other), unit in pairs.items():
            found |= changed_letters(unit.letters, old, other) if old != other else set()
        return "".join(letter for letter in LETTERS if letter in found) or "O"

    def _apart(self, one: Operator, other: Operator) -> bool:
        by_operator = self.space.by_operator
        return by_operator[one.name] is not by_operator[other.name]


def _pairs(
    unit: Unit, before: Configs, after: Configs
) -> list[tuple[ParallelConfig, ParallelConfig]]:
    """Return a unit's config before and after, or its operators' where they lie apart."""
    if unit.is_on_one_mesh(before) and unit.is_on_one_mesh(after):
        return [(unit.config(before), unit.config(after))]
    return [(before[op.name], after[op.name]) for op in unit.operators]


def changed_letters(
    letters: Mapping[str, str], old: ParallelConfig, new: ParallelConfig
) -> set[str]:
    """Return the letters of the dimensions whose degree differs, and O if parts change places.

    Devices that more or fewer parts need at the end are no change of place. Copies and the
    order of parts are matters of placement.
    """
    before, after = degrees_of(old), degrees_of(new)
    dims = [dim for dim in {**before, **after} if before.get(dim) != after.get(dim)]
    found = {letters[dim] for dim in dims if dim in letters}
    common = min(old.mesh.size, new.mesh.size)
    same = old.mesh.flat[:common].tolist() == new.mesh.flat[:common].tolist()
    return found if same and found else {*found, "O"}


def axis_dims_of(use: Use) -> list[tuple[str, ...]]:
    """Return the dimensions of every axis of a tensor, major first."""
    return [tuple(axis_dims(axis)) for axis in use.axes]


def _written(writer: Operator, tensor: str) -> Use:
    return next(use for step in writer.forward for use in step.writes if use.tensor == tensor)
