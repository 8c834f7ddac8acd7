"""Units: operators that are cut and placed together because they share a weight.

Most units are a single operator. The steps of an unrolled recurrent layer, or a tied embedding
and the logits' product, hold one weight, which must lie the same way for all of them.
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

    @property
    def block(self) -> str:
        """The repeated block that the first operator belongs to, or ""."""
        return self.operators[0].block

    @cached_property
    def role(self) -> tuple[object, ...]:
        """What repeated blocks have in common: equal for units at the same place of a block."""
        first = self.operators[0]
        local = first.name.removeprefix(f"{first.block}.") if first.block else first.kind
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
        """Whether every operator can be cut so: within its sizes and without torn axes."""
        try:
            for op, own in zip(self.operators, self.configs(config).values(), strict=True):
                check_config(op, own)
                for use in _uses(op):
                    read_layout(op, own, use)
        except StrategyError:
            return False
        return True


def find_units(graph: OperatorGraph) -> tuple[Unit, ...]:
    """Return the units of a graph, in program order of their first operators."""
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
    return tuple(_unit(graph, tuple(operators)) for operators in members.values())


def _root(leader: Mapping[str, str], name: str) -> str:
    while leader[name] != name:
        name = leader[name]
    return name


def _unit(graph: OperatorGraph, operators: tuple[Operator, ...]) -> Unit:
    names = dict.fromkeys(d.name for op in operators for d in op.dims if not d.follows)
    dims = tuple(_dim(graph, operators, name) for name in names)
    return Unit(operators[0].name, operators, dims)


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
