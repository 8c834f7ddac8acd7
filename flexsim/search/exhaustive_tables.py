"""What neighbouring units of a chain cost for every pair of their configs, as tables.

Where all devices are alike, a pair costs what it costs after its devices are numbered anew. So
writers stand in their first form only: parts on devices 0, 1, … in order; readers in all.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flexsim.operator_graph import Operator, Step, Use
from flexsim.operator_graph.records import GRADIENT, gradient
from flexsim.search.arrangement import moved
from flexsim.search.moves import Edge
from flexsim.search.prices import Carry, Int64, Prices
from flexsim.search.units import Unit
from flexsim.strategy import ParallelConfig
from flexsim.strategy.layout import Layout, read_layout

Bits = NDArray[np.bool_]
NEVER = -(2**55)
"""Stands for no path: so low that no sum of times makes it count."""


@dataclass(frozen=True, eq=False)
class UnitTable:
    """The configs of a unit and what each takes; arrays have a line a config, a value a device.

    ``block_ns`` is what the backward computes on a device, ``back_ns`` the input gradient's
    share of it. Synchronization k may begin ``sync_after_ns[k]`` after the backward where that
    runs in program order, ``sync_alone_ns[k]`` after it in any order, and holds the stream for
    ``sync_ns[k]``. ``is_joint`` tells that all of a config's backward waits for the same rows.
    """

    unit: Unit
    configs: list[ParallelConfig]
    uses: Bits
    forward_ns: Int64
    back_ns: Int64
    block_ns: Int64
    sync_after_ns: Int64
    sync_alone_ns: Int64
    sync_ns: Int64
    parameters: Int64
    is_joint: Bits

    @property
    def is_weightless(self) -> bool:
        """Whether the unit has no weights, so that its backward is its input gradient alone."""
        return not len(self.sync_ns)

    @cached_property
    def first_forms(self) -> list[int]:
        """The configs with their parts on devices 0, 1, … in order."""
        flats = [config.mesh.flat.tolist() for config in self.configs]
        return [i for i, flat in enumerate(flats) if flat == list(range(len(flat)))]

    @cached_property
    def first_form_of(self) -> NDArray[np.int64]:
        """For every config the position in ``first_forms`` of the one it is a renumbering of."""
        forms = [self.configs[i] for i in self.first_forms]
        place = {(c.mesh.shape, c.splits): i for i, c in enumerate(forms)}
        return np.array([place[c.mesh.shape, c.splits] for c in self.configs])

    @cached_property
    def renumbering(self) -> NDArray[np.int64]:
        """For every config the old number of every new device, in whose numbers it is first."""
        size = self.uses.shape[1]
        lines = []
        for config in self.configs:
            own = config.mesh.flat.tolist()
            lines.append([*own, *(d for d in range(size) if d not in own)])
        return np.array(lines)


@dataclass(frozen=True, eq=False)
class EdgeTable:
    """Paths between units: ``[first form of the writer, config of the reader, from, to]``.

    ``is_early`` tells that the writer's weight gradients have what they need when the reader's
    input gradient ends on their own device, ``is_kept`` that what the reader saves for its
    backward need not be gathered again.
    """

    forward_ns: Int64
    backward_ns: Int64
    is_early: Bits
    is_kept: Bits


def unit_table(
    unit: Unit, configs: list[ParallelConfig], prices: Prices, num_devices: int, syncs: bool
) -> UnitTable:
    """Price all configs of a unit of one operator; without ``syncs`` none of its collectives."""
    (operator,) = unit.operators
    weights = [w for w in operator.inputs if w in prices.problem.graph.weights]
    table = _empty(unit, configs, len(weights), num_devices)
    for row, config in enumerate(configs):
        flat = config.mesh.flat
        table.uses[row, flat] = True
        table.forward_ns[row, flat] = prices.parts(operator, config, "F")
        table.back_ns[row, flat] = prices.parts(operator, config, "I")
        table.block_ns[row, flat] = prices.parts(operator, config, "IW")
        table.parameters[row, flat] = prices.parameters(unit, config)
        table.is_joint[row] = _is_joint(operator, config, prices.problem.graph.weights)
        for k, weight in enumerate(weights):
            own, after = _until(operator, config, weight, prices)
            table.sync_alone_ns[k, row, flat] = own
            table.sync_after_ns[k, row, flat] = after
            if syncs:
                for carry in prices.weight_sums(operator, config, weight):
                    np.add.at(table.sync_ns[k, row], carry.sources, carry.duration_ns[:, None])
    return table


def _empty(
    unit: Unit, configs: list[ParallelConfig], num_weights: int, num_devices: int
) -> UnitTable:
    shape = (len(configs), num_devices)
    deep = (num_weights, *shape)
    return UnitTable(
        unit=unit,
        configs=configs,
        uses=np.zeros(shape, bool),
        forward_ns=np.zeros(shape, np.int64),
        back_ns=np.zeros(shape, np.int64),
        block_ns=np.zeros(shape, np.int64),
        sync_after_ns=np.zeros(deep, np.int64),
        sync_alone_ns=np.zeros(deep, np.int64),
        sync_ns=np.zeros(deep, np.int64),
        parameters=np.zeros(shape, np.int64),
        is_joint=np.zeros(len(configs), bool),
    )


def edge_table(edge: Edge, writer: UnitTable, reader: UnitTable, prices: Prices) -> EdgeTable:
    """Price all pairs of a writer's first forms and a reader's configs."""
    size = writer.uses.shape[1]
    shape = (len(writer.first_forms), len(reader.configs))
    forward = np.full((*shape, size, size), NEVER, np.int64)
    backward = np.full((*shape, size, size), NEVER, np.int64)
    early, kept = np.zeros(shape, bool), np.zeros(shape, bool)
    for i, row in enumerate(writer.first_forms):
        one = writer.configs[row]
        for j, other in enumerate(reader.configs):
            steps = prices.forward(edge, one, other)
            forward[i, j] = paths(steps, one, other, size)
            kept[i, j] = all(each.sources.shape[1] == 1 for each in steps)
            back = prices.backward(edge, one, other)
            backward[i, j] = paths(back, other, one, size)
            early[i, j] = _is_early(edge.writer, one, edge, other, back, prices)
    return EdgeTable(forward, backward, early, kept)


def paths(steps: list[Carry], source: ParallelConfig, target: ParallelConfig, size: int) -> Int64:
    """Return the longest path from every device of the source to every one of the target."""
    found = np.full((size, size), NEVER, np.int64)
    found[source.mesh.flat, source.mesh.flat] = 0
    for step in steps:
        ends = found[:, step.sources].max(2) + step.duration_ns
        after = found.copy() if step.adds else np.full_like(found, NEVER)
        for member in range(step.targets.shape[1]):
            np.maximum.at(after.T, step.targets[:, member], ends.T)
        found = after
    outside = np.ones(size, bool)
    outside[target.mesh.flat] = False
    found[:, outside] = NEVER
    return np.where(found < NEVER // 2, NEVER, found)


def _gradients(operator: Operator, config: ParallelConfig, step: Step) -> set[Layout]:
    return {read_layout(operator, config, u) for u in step.reads if _is_gradient(u)}


def _is_gradient(use: Use) -> bool:
    return use.tensor.startswith(GRADIENT)


def _is_joint(operator: Operator, config: ParallelConfig, weights: Collection[str]) -> bool:
    """Whether all of a backward waits for one gradient, its weights' part for saved inputs too."""
    reads = [use for step in operator.backward for use in step.reads]
    gradients = {use.tensor for use in reads if _is_gradient(use)}
    cuts = {frozenset(_gradients(operator, config, step)) for step in operator.backward}
    own = {use.tensor for step in operator.forward for use in step.writes}
    inputs = [step for step in operator.backward if step.pass_name == "I"]
    saves = [u.tensor for s in inputs for u in s.reads if not _is_gradient(u)]
    return (
        len(gradients) == 1
        and len(cuts) == 1
        and len(next(iter(cuts))) == 1
        and own.isdisjoint(use.tensor for use in reads)
        and set(saves) <= set(weights)
    )


def _until(
    operator: Operator, config: ParallelConfig, weight: str, prices: Prices
) -> tuple[Int64, Int64]:
    """Return how long the step that leaves a weight's gradient takes, and all up to its end."""
    total = np.zeros(config.mesh.size, np.int64)
    for step in operator.backward:
        own = prices.step_ns(operator, config, step)
        total = total + own
        if any(use.tensor == gradient(weight) for use in step.writes):
            return own, total
    return total * 0, total * 0


def _is_early(
    operator: Operator,
    config: ParallelConfig,
    edge: Edge,
    other: ParallelConfig,
    carries: list[Carry],
    prices: Prices,
) -> bool:
    """Whether weight gradients find their gradient where the reader left it."""
    if not all(carry.adds for carry in carries):
        return False
    source = prices.left(edge.reader, other, gradient(edge.read.tensor))
    steps = [step for step in operator.backward if step.pass_name == "W"]
    return source is not None and all(
        _gradients(operator, config, step) <= {source} for step in steps
    )


def renumbered(config: ParallelConfig, numbers: NDArray[np.int64]) -> ParallelConfig:
    """Return a config on the devices that new numbers stand for."""
    return moved(config, numbers[config.mesh.flat])
