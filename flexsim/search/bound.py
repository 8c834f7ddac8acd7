"""A lower bound on the makespan of all strategies that extend a partial one.

Three things hold whatever order tasks run in: a device computes for as long as its parts and its
optimizer's step take; the devices together compute for as long as all parts take; and a path
through forward, loss and backward, with the collectives on it and the synchronization at its
end, takes as long as its tasks. Where the norm of all gradients is taken, every optimizer's step
follows that path. Units that have no config yet count with the least that any config takes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexsim.operator_graph import Operator, OperatorGraph
from flexsim.search.moves import Edge, Moves
from flexsim.search.objective import Problem
from flexsim.search.prices import Carry, Int64, Prices, reads_once
from flexsim.search.units import Unit
from flexsim.strategy import ParallelConfig
from flexsim.strategy.sharding import WHOLE

Partial = Mapping[str, ParallelConfig]
"""Configs of some operators."""


class Least(NamedTuple):
    """What an operator takes at least: its fastest part by pass, and all parts together."""

    forward: int
    input_gradient: int
    weight_gradient: int
    synchronization: int
    all_parts: int


class Chosen(NamedTuple):
    """What a unit takes under a config: its operators, and the parameters that a device holds."""

    least: dict[str, Least]
    devices: NDArray[np.int32]
    loads: Int64
    """Computing time of every device in ``devices``."""
    num_parameters: int


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
        self._known: dict[tuple[str, ParallelConfig], Chosen] = {}
        self._is_whole = problem.base.sharding == WHOLE
        self._step_ns = lru_cache(maxsize=None)(self._optimizer_ns)
        self._follows_all = problem.base.gradient_norm
        self._num_parameters = problem.graph.num_parameters

    def prepare(self, unit: Unit, configs: list[ParallelConfig]) -> None:
        """Note what the operators of a unit take at least over these configs."""
        found = [self.of_unit(unit, config) for config in configs]
        for op in unit.operators:
            columns = zip(*(each.least[op.name] for each in found), strict=True)
            self._least[op.name] = Least(*map(min, columns))

    def fix(self, op: Operator, config: ParallelConfig) -> None:
        """Note an operator whose config is not searched."""
        self._least[op.name] = self._of(op, config, 0)

    def of_unit(self, unit: Unit, config: ParallelConfig) -> Chosen:
        """Return what a unit takes under a config."""
        key = (unit.name, config)
        if key not in self._known:
            sync = _shortest(self._prices.synchronization(unit, config)) if self._is_whole else 0
            own = unit.configs(config)
            least = {op.name: self._of(op, own[op.name], sync) for op in unit.operators}
            loads = sum(self._prices.parts(op, own[op.name], "FIW") for op in unit.operators)
            held = self._prices.parameters(unit, config)
            self._known[key] = Chosen(least, config.mesh.flat, np.asarray(loads), held)
        return self._known[key]

    def __call__(self, partial: Partial, chosen: Collection[Chosen]) -> int:
        """Return the bound for configs of some units, an entry an operator and one a unit."""
        least = dict(self._least)
        for unit in chosen:
            least.update(unit.least)
        _, held = self._loads(chosen)
        after = self._step_ns(max(int(held.max()), self._num_parameters // self._num_devices))
        path = self._path(partial, least) + (after if self._follows_all else 0)
        return max(self._busy_ns(chosen, least), path)

    def busy_ns(self, chosen: Mapping[str, Chosen]) -> int:
        """Return the share of the bound that is found fast: for how long devices compute.

        ``chosen`` has units by name.
        """
        least = dict(self._least)
        for unit in chosen.values():
            least.update(unit.least)
        return self._busy_ns(chosen.values(), least)

    def _busy_ns(self, chosen: Collection[Chosen], least: Mapping[str, Least]) -> int:
        """Return how long the busiest device computes, or the mean one of all.

        Of the optimizer's steps the devices' own count: what they hold of the chosen units.
        """
        loads, held = self._loads(chosen)
        steps = np.array([self._step_ns(each) if each else 0 for each in held.tolist()])
        busy = int((self._num_microbatches * loads + steps).max())
        together = self._num_microbatches * sum(each.all_parts for each in least.values())
        return max(busy, -(-(together + int(steps.sum())) // self._num_devices))

    def _optimizer_ns(self, num_parameters: int) -> int:
        """Return the time of an optimizer's step; 0 where replicas share it among themselves."""
        return self._prices.optimizer_ns(num_parameters) if self._is_whole else 0

    def _of(self, operator: Operator, config: ParallelConfig, sync: int) -> Least:
        parts = {p: self._prices.parts(operator, config, p) for p in "FIW"}
        total = parts["F"] + parts["I"] + parts["W"]
        forward, back, weight = (int(parts[p].min()) for p in "FIW")
        return Least(forward, back, weight, sync, int(total.sum()))

    def _loads(self, chosen: Collection[Chosen]) -> tuple[Int64, Int64]:
        """Return computing time (a microbatch) and parameters of every device."""
        loads: Int64 = np.zeros(self._highest + 1, np.int64)
        held: Int64 = np.zeros(self._highest + 1, np.int64)
        for unit in chosen:
            loads[unit.devices] += unit.loads
            held[unit.devices] += unit.num_parameters
        return loads, held

    def _path(self, partial: Partial, least: Mapping[str, Least]) -> int:
        """Return the longest path: to the loss and back, then a synchronization."""
        ready: dict[str, Int64] = {}
        for op in self._graph.operators:
            begin = self._zeros()
            for edge in self._edges.get(op.name, ()):
                begin = np.maximum(begin, self._forward(edge, partial, ready[edge.writer.name]))
            ready[op.name] = self._after(op, partial, begin, least[op.name].forward, "F")
        arrives: dict[str, Int64] = {}
        longest = 0
        for op in reversed(self._graph.operators):
            begin = np.maximum(arrives.get(op.name, 0), ready[op.name])
            longest = max(longest, self._end(op, partial, begin, least[op.name]))
            own = least[op.name].input_gradient
            done = self._after(op, partial, begin, own, "I")
            for edge in self._edges.get(op.name, ()):
                writer = edge.writer.name
                found = self._backward(edge, partial, done)
                arrives[writer] = np.maximum(arrives.get(writer, 0), found)
        return longest

    def _zeros(self) -> Int64:
        zeros: Int64 = np.zeros(self._highest + 1, np.int64)
        return zeros

    def _after(
        self, op: Operator, partial: Partial, begin: Int64, least_ns: int, passes: str
    ) -> Int64:
        """Return when each device is done with its part; everywhere alike for an open operator."""
        config = partial.get(op.name)
        if config is None:
            return np.full_like(begin, int(begin.min()) + least_ns)
        ends = self._zeros()
        flat = config.mesh.flat
        ends[flat] = begin[flat] + self._prices.parts(op, config, passes)
        return ends

    def _end(self, op: Operator, partial: Partial, begin: Int64, least: Least) -> int:
        """Return the least time at which gradients are computed and synchronized."""
        config = partial.get(op.name)
        if config is None:
            after = max(least.input_gradient, least.synchronization)
            return int(begin.min()) + least.weight_gradient + after
        begin = begin[config.mesh.flat]
        weight = begin + self._prices.parts(op, config, "W")
        both = begin + self._prices.parts(op, config, "IW")
        return max(int(weight.max()) + least.synchronization, int(both.max()))

    def _forward(self, edge: Edge, partial: Partial, ready: Int64) -> Int64:
        """Return when each device may have what the reader of an edge reads."""
        writer, reader = partial.get(edge.writer.name), partial.get(edge.reader.name)
        if writer is None:
            return ready
        if reader is None or not reads_once(edge, self._graph.readers[edge.read.tensor]):
            return np.full_like(ready, int(ready[writer.mesh.flat].min()))
        return _carried(self._prices.forward(edge, writer, reader), ready)

    def _backward(self, edge: Edge, partial: Partial, ready: Int64) -> Int64:
        """Return when each device may have the gradient that the writer of an edge reads."""
        writer, reader = partial.get(edge.writer.name), partial.get(edge.reader.name)
        if reader is None:
            return ready
        if writer is None or not reads_once(edge, self._graph.readers[edge.read.tensor]):
            return np.full_like(ready, int(ready[reader.mesh.flat].min()))
        return _carried(self._prices.backward(edge, writer, reader), ready)


def _carried(steps: list[Carry], ready: Int64) -> Int64:
    for step in steps:
        ready = step.after(ready)
    return ready


def _shortest(collectives: list[Carry]) -> int:
    """Return the least time that the longest of some collectives takes."""
    return max((int(each.duration_ns.min()) for each in collectives), default=0)
