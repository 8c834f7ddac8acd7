"""What the configs of units load devices with, and the bound that follows: all at once.

A device computes for as long as its parts and its optimizer's step take; all devices together
for as long as all parts take; and the gradients' collectives of a device follow one another on
one stream, with the optimizer's step after them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from flexsim.operator_graph import Operator
from flexsim.search.prices import Int64, Prices
from flexsim.search.units import Unit
from flexsim.strategy import ParallelConfig
from flexsim.strategy.sharding import WHOLE


class Loads(NamedTuple):
    """Sums by device in the last axis; a line a config before it, or none.

    ``parameters`` count what devices hold of weights.
    """

    compute_ns: Int64
    sync_ns: Int64
    parameters: Int64

    def plus(self, other: Loads) -> Loads:
        """Return the sums of both."""
        return Loads(*(one + more for one, more in zip(self, other, strict=True)))

    def line(self, number: int) -> Loads:
        """Return those of one config."""
        return Loads(*(each[number] for each in self))


def no_loads(num_devices: int) -> Loads:
    """Return devices without any work."""
    return Loads(*(np.zeros(num_devices, np.int64) for _ in Loads._fields))


class LoadTables:
    """The loads of all configs of all units, and the optimizer's step over what is held."""

    def __init__(self, prices: Prices, num_devices: int) -> None:
        """Price nothing yet."""
        self._prices = prices
        self.num_devices = num_devices
        base, software = prices.problem.base, prices.problem.costs.software
        sizes = software.gradient_bucket_bytes, software.overlapped_gradient_bucket_bytes
        self.trains = base.schedule != "forward"
        """Whether there is a backward and an update."""
        self._is_whole = base.sharding == WHOLE and self.trains
        self.is_apart = self._is_whole and sizes[base.overlap_gradients] == 0
        """Whether every weight has collectives of its own, so that their times add up."""
        self.step_ns: Callable[[int], int] = lru_cache(maxsize=None)(self._step_ns)

    def of_unit(self, unit: Unit, configs: Sequence[ParallelConfig]) -> Loads:
        """Return the loads of a unit, a line a config."""
        found = [self._of(unit, config) for config in configs]
        return Loads(*(np.stack(each) for each in zip(*found, strict=True)))

    def of_operator(self, operator: Operator, config: ParallelConfig) -> Loads:
        """Return the computing time of an operator whose config is not searched."""
        loads = no_loads(self.num_devices)
        self._add_parts(loads, operator, config)
        return loads

    def steps_ns(self, parameters: Int64) -> Int64:
        """Return the optimizer's step for numbers of parameters."""
        values, at = np.unique(parameters, return_inverse=True)
        steps = np.array([self.step_ns(value) for value in values.tolist()])
        found: Int64 = steps[at].reshape(parameters.shape)
        return found

    def _of(self, unit: Unit, config: ParallelConfig) -> Loads:
        loads = no_loads(self.num_devices)
        own = unit.configs(config)
        for operator in unit.operators:
            self._add_parts(loads, operator, own[operator.name])
        loads.parameters[config.mesh.flat] += self._prices.parameters(unit, config)
        if self.is_apart:
            inputs = dict.fromkeys(name for op in unit.operators for name in op.inputs)
            for weight in inputs.keys() & set(self._prices.problem.graph.weights):
                loads.sync_ns[:] += self._sync_ns(unit, own, weight)
        return loads

    def _add_parts(self, loads: Loads, operator: Operator, config: ParallelConfig) -> None:
        each = self._prices.parts(operator, config, "FIW" if self.trains else "F")
        loads.compute_ns[config.mesh.flat] += self._prices.problem.base.num_microbatches * each

    def _sync_ns(self, unit: Unit, own: dict[str, ParallelConfig], weight: str) -> Int64:
        """Return the time of a weight's collectives by device, the least over its readers."""
        found = []
        for operator in (op for op in unit.operators if weight in op.inputs):
            total = np.zeros(self.num_devices, np.int64)
            for carry in self._prices.weight_sums(operator, own[operator.name], weight):
                np.add.at(total, carry.sources, carry.duration_ns[:, None])
            found.append(total)
        least: Int64 = np.min(found, axis=0)
        return least

    def _step_ns(self, num_parameters: int) -> int:
        if not num_parameters or not self._is_whole:
            return 0
        return self._prices.optimizer_ns(num_parameters)


class LoadBound:
    """Bounds the strategies that extend a partial one by the loads of devices."""

    def __init__(
        self, tables: LoadTables, units: Sequence[Loads], fixed: Loads, num_used: int
    ) -> None:
        """Take the loads of all units in the order in which they get configs.

        ``num_used`` devices may compute.
        """
        self._tables, self._num_used = tables, num_used
        self._units = units
        self.begin = fixed
        """What devices compute before any unit has a config."""
        least = [int(each.compute_ns.sum(1).min()) for each in units]
        self._rest = [sum(least[depth + 1 :]) for depth in range(len(units))]

    def __call__(self, depth: int, before: Loads) -> Int64:
        """Return the bound of every config of the unit at a depth, after those before it."""
        own = before.plus(self._units[depth])
        steps = self._tables.steps_ns(own.parameters)
        busy = (np.maximum(own.compute_ns, own.sync_ns) + steps).max(1)
        together = own.compute_ns.sum(1) + steps.sum(1) + self._rest[depth]
        found: Int64 = np.maximum(busy, -(-together // self._num_used))
        return found

    def after(self, depth: int, before: Loads, number: int) -> Loads:
        """Return the loads with one config of the unit at a depth."""
        return before.plus(self._units[depth].line(number))
