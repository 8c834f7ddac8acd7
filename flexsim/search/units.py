"""Units: operators that are cut and placed together because they share a weight.

Most units are a single operator. The steps of an unrolled recurrent layer, or a tied embedding
and the logits' product, hold one weight; they are one unit each, or where a search takes them
apart a unit each operator.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from flexsim.errors import StrategyError
from flexsim.operator_graph import Operator, OperatorGraph, Use
from flexsim.operator_graph.graph import soap
from flexsim.strategy import ParallelConfig
from flexsim.strategy.config import check_config
from flexsim.strategy.layout import read_layout

TOGETHER, APART = "together", "apart"
SHARED = (TOGETHER, APART)
"""How operators that share a weight are searched: with one config, or one each."""


@dataclass(frozen=True, slots=True)
class UnitDim:
    """A dimension of a unit, how often it may be cut, and its letter (S, A or P)."""

    name: str
    limit: int
    letter: str


@dataclass(frozen=True, eq=False)
class Unit:
    """Operators that share a config, in program order, named after the first."""

    name: str
    operators: tuple[Operator, ...]
    dims: tuple[UnitDim, ...]
    leader: str = ""
    """Its first operator, or that of all that share a weight with it."""

    @property
    def block(self) -> str:
        """The repeated block that the first operator belongs to, or ""."""
        return self.operators[0].block

    @cached_property
    def role(self) -> tuple[object, ...]:
        """What repeated blocks have in common: equal for units at the same place of a block."""
        first = self.operators[0]
        leader = self.leader or first.name
        local = leader.removeprefix(f"{first.block}.") if first.block else first.kind
        return local, tuple((op.kind, op.dims) for op in self.operators)

    @cached_property
    def limits(self) -> dict[str, int]:
        """How often each dimension may be cut."""
        return {dim.name: dim.limit for dim in self.dims}

    @cached_property
    def letters(self) -> dict[str, str]:
        """The letter of each dimension."""
        return {dim.name: dim.letter for dim in self.dims}

    def configs(self, config: ParallelConfig) -> dict[str, ParallelConfig]:
        """Return a config of the unit's dimensions as one config an operator."""
        splits = dict(config.splits)
        return {
            op.name: ParallelConfig.of(
                config.mesh, {dim: axes for dim, axes in splits.items() if dim in op.sizes}
            )
            for op in self.operators
        }

    def config(self, configs: Mapping[str, ParallelConfig]) -> ParallelConfig:
        """Return what the operators' configs say together; they lie on one mesh."""
        found = [configs[op.name] for op in self.operators]
        splits: dict[str, tuple[str, ...]] = {}
        for each in found:
            splits |= {dim: axes for dim, axes in each.splits if axes}
        return ParallelConfig.of(found[0].mesh, splits)

    def is_on_one_mesh(self, configs: Mapping[str, ParallelConfig]) -> bool:
        """Whether all operators of the unit lie on the same devices."""
        return len({configs[op.name].mesh for op in self.operators}) == 1

    def accepts(self, config: ParallelConfig) -> bool:
        """Whether every operator can be cut so: within its sizes and without torn axes.

        The devices themselves are of no account.
        """
        key = config.mesh.names, config.mesh.shape, config.splits
        if key not in self._accepted:
            self._accepted[key] = self._is_fit(config)
        return self._accepted[key]

    @cached_property
    def _accepted(self) -> dict[tuple[object, ...], bool]:
        return {}

    @cached_property
    def _distinct(self) -> tuple[Operator, ...]:
        """One operator of each set that is cut in the same ways, as the steps of a layer are."""
        found = {(op.dims, tuple(use.axes for use in _uses(op))): op for op in self.operators}
        return tuple(found.values())

    def _is_fit(self, config: ParallelConfig) -> bool:
        own = self.configs(config)
        try:
            for op in self._distinct:
                check_config(op, own[op.name])
                for use in _uses(op):
                    read_layout(op, own[op.name], use)
        except StrategyError:
            return False
        return True


def find_units(graph: OperatorGraph, shared: str = TOGETHER) -> tuple[Unit, ...]:
    """Return the units of a graph, in program order of their first operators.

    Operators that share a weight are one unit if ``shared`` is :data:`TOGETHER`, with
    :data:`APART` one each.
    """
    sharers = sharers_of(graph)
    if shared == APART:
        return tuple(_unit(graph, (op,), sharers[op.name][0].name) for op in graph.operators)
    return tuple(_unit(graph, group, group[0].name) for group in dict.fromkeys(sharers.values()))


def sharers_of(graph: OperatorGraph) -> dict[str, tuple[Operator, ...]]:
    """Return for every operator all that share a weight with it, itself among them."""
    leader: dict[str, str] = {op.name: op.name for op in graph.operators}
    order = {op.name: index for index, op in enumerate(graph.operators)}
    for weight in graph.weights:
        sharers = graph.readers.get(weight, ())
        for other in sharers[1:]:
            pair = sorted((_root(leader, sharers[0]), _root(leader, other)), key=order.__getitem__)
            leader[pair[1]] = pair[0]
    members: dict[str, list[Operator]] = {}
    for op in graph.operators:
        members.setdefault(_root(leader, op.name), []).append(op)
    groups = [tuple(operators) for operators in members.values()]
    return {op.name: group for group in groups for op in group}


def _root(leader: Mapping[str, str], name: str) -> str:
    while leader[name] != name:
        name = leader[name]
    return name


def _unit(graph: OperatorGraph, operators: tuple[Operator, ...], leader: str) -> Unit:
    names = dict.fromkeys(d.name for op in operators for d in op.dims if not d.follows)
    dims = tuple(_dim(graph, operators, name) for name in names)
    return Unit(operators[0].name, operators, dims, leader)


def _dim(graph: OperatorGraph, operators: tuple[Operator, ...], name: str) -> UnitDim:
    having = [op for op in operators if name in op.sizes]
    limit = min(_limit(op, name) for op in having)
    letters = {soap(op, name, graph.weights) for op in having}
    return UnitDim(name, limit, next(letter for letter in "SPA" if letter in letters))


def _limit(operator: Operator, name: str) -> int:
    dim = next(dim for dim in operator.dims if dim.name == name)
    return min(dim.size, dim.max_degree or dim.size)


def _uses(operator: Operator) -> Iterator[Use]:
    for step in operator.steps:
        yield from step.reads
        yield from step.writes
