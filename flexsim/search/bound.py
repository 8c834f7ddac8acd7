"""A lower bound on the makespan of all strategies that extend a partial one.

Three things hold whatever order tasks run in: a device computes for as long as its parts take;
the devices together compute for as long as all parts take; and a path through forward, loss and
backward, with the collectives on it and the synchronization at its end, takes as long as its
tasks. Units that have no config yet count with the least that any of their configs takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from flexsim.operator_graph import Operator, OperatorGraph
from flexsim.search.moves import Edge, Moves
from flexsim.search.objective import Problem
from flexsim.search.prices import Int64, Prices, Timed, reads_once
from flexsim.search.units import Unit
from flexsim.strategy import ParallelConfig

Partial = Mapping[str, ParallelConfig]
"""Configs of some operators."""


class Least(NamedTuple):
    """What an operator takes at least: its fastest part by pass, and all parts together."""

    forward: int
    input_gradient: int
    weight_gradient: int
    synchronization: int
    all_parts: int


class Bound:
    """Bounds partial strategies of one problem from below."""

    def __init__(self, problem: Problem, moves: Moves, prices: Prices) -> None:
        """Look at the least of every operator over all its configs."""
        self._graph: OperatorGraph = problem.graph
        self._prices = prices
        self._num_microbatches = problem.base.num_microbatches
        self._num_devices = len({d for pool in moves.space.pools.values() for d in pool.devices})
        self._highest = max(d for pool in moves.space.pools.values() for d in pool.devices)
        self._moves = moves
        self._edges: dict[str, list[Edge]] = {}
        for edge in moves.edges:
            self._edges.setdefault(edge.reader.name, []).append(edge)
        self._least: dict[str, Least] = {}
        self._known: dict[tuple[str, ParallelConfig], dict[str, Least]] = {}

    def prepare(self, unit: Unit, configs: list[ParallelConfig]) -> None:
        """Note what the operators of a unit take at least over these configs."""
        found = [self.of_unit(unit, config) for config in configs]
        for op in unit.operators:
            columns = zip(*(each[op.name] for each in found), strict=True)
            self._least[op.name] = Least(*map(min, columns))

    def of_unit(self, unit: Unit, config: ParallelConfig) -> dict[str, Least]:
        """Return what each operator of a unit takes under a config."""
        key = (unit.name, config)
        if key not in self._known:
            sync = _shortest(self._prices.synchronization(unit, config))
            own = unit.configs(config)
            self._known[key] = {op.name: self._of(op, own[op.name], sync) for op in unit.operators}
        return self._known[key]

    def __call__(self, partial: Partial, chosen: Mapping[str, Mapping[str, Least]]) -> int:
        """Return the bound for configs of some units and what their operators take (by unit)."""
        least = dict(self._least)
        for operators in chosen.values():
            least.update(operators)
        return max(self._load(partial, least), self._path(partial, least))

    def _of(self, operator: Operator, config: ParallelConfig, sync: int) -> Least:
        parts = {p: self._prices.parts(operator, config, p) for p in "FIW"}
        total = parts["F"] + parts["I"] + parts["W"]
        forward, back, weight = (int(parts[p].min()) for p in "FIW")
        return Least(forward, back, weight, sync, int(total.sum()))

    def _load(self, partial: Partial, least: Mapping[str, Least]) -> int:
        loads: Int64 = np.zeros(self._highest + 1, np.int64)
        for name, config in partial.items():
            parts = self._prices.parts(self._graph.by_name[name], config, "FIW")
            loads[config.mesh.flat] += parts
        together = sum(each.all_parts for each in least.values())
        return self._num_microbatches * max(int(loads.max()), -(-together // self._num_devices))

    def _path(self, partial: Partial, least: Mapping[str, Least]) -> int:
        """Return the longest path: to the loss and back, then a synchronization."""
        ready: dict[str, int] = {}
        for op in self._graph.operators:
            before = (
                ready[edge.writer.name] + self._wait(edge, partial, is_forward=True)
                for edge in self._edges.get(op.name, ())
            )
            ready[op.name] = max(before, default=0) + least[op.name].forward
        arrives: dict[str, int] = {}
        longest = 0
        for op in reversed(self._graph.operators):
            begin = max(arrives.get(op.name, 0), ready[op.name])
            own = least[op.name]
            synchronized = begin + own.weight_gradient + own.synchronization
            both = begin + own.weight_gradient + own.input_gradient
            longest = max(longest, synchronized, both)
            for edge in self._edges.get(op.name, ()):
                after = begin + own.input_gradient + self._wait(edge, partial, is_forward=False)
                arrives[edge.writer.name] = max(arrives.get(edge.writer.name, 0), after)
        return longest

    def _wait(self, edge: Edge, partial: Partial, is_forward: bool) -> int:
        """Return the least time of collectives on an edge; 0 where it is not known for certain."""
        writer, reader = partial.get(edge.writer.name), partial.get(edge.reader.name)
        readers = self._graph.readers[edge.read.tensor]
        if writer is None or reader is None or not reads_once(edge, readers):
            return 0
        ways = self._prices.forward if is_forward else self._prices.backward
        apart = not np.intersect1d(writer.mesh.flat, reader.mesh.flat).size
        steps = (step for step in ways(edge, writer, reader) if step.is_collective or apart)
        return sum(int(step.duration_ns.min(initial=0)) for step in steps)


def _shortest(collectives: list[Timed]) -> int:
    """Return the least time that the longest of some collectives takes."""
    return max((int(each.duration_ns.min(initial=0)) for each in collectives), default=0)
