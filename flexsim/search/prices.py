"""What single operators and edges cost under given configs, before anything is simulated."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexsim.operator_graph import Operator, Use
from flexsim.operator_graph.records import gradient
from flexsim.search.moves import Edge
from flexsim.search.objective import Problem
from flexsim.search.units import Unit
from flexsim.strategy import Layout, ParallelConfig, transition
from flexsim.strategy.config import part_sizes
from flexsim.strategy.layout import read_layout, write_layout
from flexsim.strategy.transition import Collective, Exchange, TensorSize
from flexsim.strategy.transition import Step as Move
from flexsim.task_graph.pricing import Pricing, work_of

Int64 = NDArray[np.int64]


class Timed(NamedTuple):
    """One step from layout to layout: how long every member takes, and whether all wait for it."""

    duration_ns: Int64
    is_collective: bool


class Prices:
    """Prices operators, edges and synchronizations of one problem; remembers all it has priced."""

    def __init__(self, problem: Problem) -> None:
        """Keep what is needed to price; nothing is priced yet."""
        self._problem = problem
        self._pricing = Pricing(problem.graph, problem.devices, problem.costs)
        self.parts = lru_cache(maxsize=None)(self._parts)
        self.plan_ns = lru_cache(maxsize=None)(self._plan_ns)

    def _parts(self, operator: Operator, config: ParallelConfig, passes: str) -> Int64:
        """Return the computing time of every part in the given passes, of "FIW" (a microbatch)."""
        total = np.zeros(config.mesh.size, np.int64)
        sizes = part_sizes(operator, config)
        for step in operator.steps:
            if step.pass_name in passes and step.kernel != "alias":
                works = [work_of(self._problem.graph, step, box) for box in sizes.boxes]
                total += self._pricing.durations(works, sizes.box_of_part, config.mesh)
        return total

    def forward(self, edge: Edge, writer: ParallelConfig, reader: ParallelConfig) -> list[Timed]:
        """Return the times of each step that takes an activation from writer to reader."""
        source = self._written(edge.writer, writer, edge.written.tensor)
        target = read_layout(edge.reader, reader, edge.read)
        return self.plan_ns(source, target, edge.read.tensor)

    def backward(self, edge: Edge, writer: ParallelConfig, reader: ParallelConfig) -> list[Timed]:
        """Return the times of each step that takes its gradient from reader to writer."""
        name = gradient(edge.read.tensor)
        source = self._written(edge.reader, reader, name)
        uses = (u for step in edge.writer.backward for u in step.reads if u.tensor == name)
        use = next(uses, None)
        if source is None or use is None:
            return []
        return self.plan_ns(source, read_layout(edge.writer, writer, use), edge.read.tensor)

    def synchronization(self, unit: Unit, config: ParallelConfig) -> list[Timed]:
        """Return the times of the collectives that sum the gradients of a unit's weights."""
        configs = unit.configs(config)
        weights = dict.fromkeys(n for op in unit.operators for n in op.inputs)
        found: list[Timed] = []
        for weight in (n for n in weights if n in self._problem.graph.weights):
            op = next(op for op in unit.operators if weight in op.inputs)
            found += self._synchronization(op, configs[op.name], weight)
        return found

    def _synchronization(
        self, operator: Operator, config: ParallelConfig, weight: str
    ) -> list[Timed]:
        graph, software = self._problem.graph, self._problem.costs.software
        reads = (u for step in operator.forward for u in step.reads if u.tensor == weight)
        home = read_layout(operator, config, next(reads))
        source = self._written(operator, config, gradient(weight))
        if source is None:
            return []
        width = software.gradient_communication_bytes_per_parameter[graph.precision]
        num_bytes = max(1, round(home.local_elements(graph.shape(weight)) * width))
        steps = transition(source, home, TensorSize(graph.shape(weight), 1))
        sums = (step for step in steps if isinstance(step, Collective))
        return [self._step_ns(replace(step, num_bytes=num_bytes)) for step in sums]

    def _written(self, operator: Operator, config: ParallelConfig, tensor: str) -> Layout | None:
        """Return the layout in which an operator leaves a tensor, the widest partial of several."""
        maps = (m for step in operator.steps for m in step.maps if m.write.tensor == tensor)
        layouts = [write_layout(operator, config, m) for m in maps]
        return max(layouts, key=lambda layout: len(layout.partial), default=None)

    def _plan_ns(self, source: Layout | None, target: Layout, tensor: str) -> list[Timed]:
        """Return the durations of every step from one layout to another."""
        if source is None:
            return []
        graph = self._problem.graph
        size = TensorSize(graph.shape(tensor), graph.bytes_per_element(tensor))
        return [self._step_ns(step) for step in transition(source, target, size)]

    def _step_ns(self, step: Move) -> Timed:
        prices = self._problem.costs.communication
        if isinstance(step, Collective):
            groups = step.mesh.groups(step.axes)
            return Timed(prices.collective_ns(step.kind, step.num_bytes, groups), True)
        if isinstance(step, Exchange):
            found = prices.transfer_ns(step.num_bytes, step.sources, step.targets)
            return Timed(found, False)
        sources, targets = step.source.flat, step.target.flat
        counts = np.full(len(sources), step.num_bytes)
        return Timed(prices.transfer_ns(counts, sources, targets), False)


def longest(steps: list[Timed]) -> int:
    """Return the time of steps one after the other, each as long as its slowest member."""
    return sum(int(step.duration_ns.max(initial=0)) for step in steps)


def reads_once(edge: Edge, readers: tuple[str, ...]) -> bool:
    """Whether a tensor is read by one operator only, in one way, and whole sums at that."""
    uses: list[Use] = [
        use for step in edge.reader.forward for use in step.reads if use.tensor == edge.read.tensor
    ]
    lenient = any(
        step.accepts_partial
        for step in edge.reader.forward
        if any(use.tensor == edge.read.tensor for use in step.reads)
    )
    return len(readers) == 1 and len(set(uses)) == 1 and not lenient
