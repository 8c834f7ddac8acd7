"""What single operators and edges cost under given configs, before anything is simulated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil

import numpy as np
from numpy.typing import NDArray

from flexsim.cost.work import Work
from flexsim.operator_graph import Operator, Use
from flexsim.operator_graph import Step as OperatorStep
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


@dataclass(frozen=True, eq=False)
class Carry:
    """One step that takes a tensor from layout to layout, and how long each member takes.

    Member k starts when all of ``sources[k]`` are ready, and ``targets[k]`` have what they need
    when it ends. Where it ``adds``, a device also needs what it had before.
    """

    sources: NDArray[np.int32]
    targets: NDArray[np.int32]
    duration_ns: Int64
    adds: bool

    @property
    def most_ns(self) -> int:
        """The time of its slowest member."""
        return int(self.duration_ns.max(initial=0))

    def after(self, ready_ns: Int64) -> Int64:
        """Return when every device has its share, from when it had the one before; 0: never."""
        ends = ready_ns[self.sources].max(1) + self.duration_ns
        found = ready_ns.copy() if self.adds else np.zeros_like(ready_ns)
        np.maximum.at(found, self.targets, ends[:, None])
        return found


class Prices:
    """Prices operators, edges and synchronizations of one problem; remembers all it has priced."""

    def __init__(self, problem: Problem) -> None:
        """Keep what is needed to price; nothing is priced yet."""
        self._problem = self.problem = problem
        self._pricing = Pricing(problem.graph, problem.devices, problem.costs)
        self.parts = lru_cache(maxsize=None)(self._parts)
        self._device_types = sorted(set(problem.devices.device_types))
        self.plan = lru_cache(maxsize=None)(self._plan)

    def _parts(self, operator: Operator, config: ParallelConfig, passes: str) -> Int64:
        """Return the computing time of every part in the given passes, of "FIW" (a microbatch)."""
        total = np.zeros(config.mesh.size, np.int64)
        sizes = part_sizes(operator, config)
        for step in operator.steps:
            if step.pass_name in passes and step.kernel != "alias":
                works = [work_of(self._problem.graph, step, box) for box in sizes.boxes]
                total += self._pricing.durations(works, sizes.box_of_part, config.mesh)
        return total

    def step_ns(self, operator: Operator, config: ParallelConfig, step: OperatorStep) -> Int64:
        """Return the computing time of every part in one step."""
        return self._pricing.compute(operator, config, step).duration_ns

    def forward(self, edge: Edge, writer: ParallelConfig, reader: ParallelConfig) -> list[Carry]:
        """Return the times of each step that takes an activation from writer to reader."""
        source = self.left(edge.writer, writer, edge.written.tensor)
        target = read_layout(edge.reader, reader, edge.read)
        return self.plan(source, target, edge.read.tensor)

    def backward(self, edge: Edge, writer: ParallelConfig, reader: ParallelConfig) -> list[Carry]:
        """Return the times of each step that takes its gradient from reader to writer."""
        name = gradient(edge.read.tensor)
        source = self.left(edge.reader, reader, name)
        uses = (u for step in edge.writer.backward for u in step.reads if u.tensor == name)
        use = next(uses, None)
        if source is None or use is None:
            return []
        return self.plan(source, read_layout(edge.writer, writer, use), edge.read.tensor)

    def synchronization(self, unit: Unit, config: ParallelConfig) -> list[Carry]:
        """Return the times of the collectives that sum the gradients of a unit's weights."""
        configs = unit.configs(config)
        weights = dict.fromkeys(n for op in unit.operators for n in op.inputs)
        found: list[Carry] = []
        for weight in (n for n in weights if n in self._problem.graph.weights):
            op = next(op for op in unit.operators if weight in op.inputs)
            found += self.weight_sums(op, configs[op.name], weight)
        return found

    def parameters(self, unit: Unit, config: ParallelConfig) -> int:
        """Return how many parameters of a unit every device of a config holds."""
        configs, graph = unit.configs(config), self._problem.graph
        homes: dict[str, int] = {}
        for op in unit.operators:
            for use in (u for step in op.forward for u in step.reads if u.tensor in graph.weights):
                home = read_layout(op, configs[op.name], use)
                homes[use.tensor] = home.local_elements(graph.shape(use.tensor))
        return sum(homes.values())

    def optimizer_ns(self, num_parameters: float) -> int:
        """Return how long the optimizer's step over some parameters takes on the fastest device."""
        costs = self._problem.costs
        traffic = costs.software.optimizer_traffic_bytes_per_parameter
        work = Work("optimizer", "U", 0, ceil(num_parameters * traffic), precision="fp32")
        return min(int(costs.compute(work, name)) for name in self._device_types)

    def weight_sums(self, operator: Operator, config: ParallelConfig, weight: str) -> list[Carry]:
        """Return the times of the collectives that sum the gradient of one weight."""
        graph, software = self._problem.graph, self._problem.costs.software
        reads = (u for step in operator.forward for u in step.reads if u.tensor == weight)
        home = read_layout(operator, config, next(reads))
        source = self.left(operator, config, gradient(weight))
        if source is None:
            return []
        width = software.gradient_communication_bytes_per_parameter[graph.stored_precision]
        num_bytes = max(1, round(home.local_elements(graph.shape(weight)) * width))
        steps = transition(source, home, TensorSize(graph.shape(weight), 1))
        sums = (step for step in steps if isinstance(step, Collective))
        return [self._carry(replace(step, num_bytes=num_bytes)) for step in sums]

    def left(self, operator: Operator, config: ParallelConfig, tensor: str) -> Layout | None:
        """Return the layout in which an operator leaves a tensor, the widest partial of several."""
        maps = (m for step in operator.steps for m in step.maps if m.write.tensor == tensor)
        layouts = [write_layout(operator, config, m) for m in maps]
        return max(layouts, key=lambda layout: len(layout.partial), default=None)

    def _plan(self, source: Layout | None, target: Layout, tensor: str) -> list[Carry]:
        """Return the durations of every step from one layout to another."""
        if source is None:
            return []
        graph = self._problem.graph
        width, unordered = graph.bytes_per_element(tensor), graph.is_unordered(tensor)
        size = TensorSize(graph.shape(tensor), width, unordered)
        return [self._carry(step) for step in transition(source, target, size)]

    def _carry(self, step: Move) -> Carry:
        prices = self._problem.costs.communication
        if isinstance(step, Collective):
            groups = step.mesh.groups(step.axes)
            durations = prices.collective_ns(step.kind, step.num_bytes, groups)
            return Carry(groups, groups, durations, True)
        adds = isinstance(step, Exchange)
        if isinstance(step, Exchange):
            sources, targets, counts = step.sources, step.targets, step.num_bytes
        else:
            sources, targets = step.source.flat, step.target.flat
            counts = np.full(len(sources), step.num_bytes)
        durations = prices.transfer_ns(counts, sources, targets)
        return Carry(sources[:, None], targets[:, None], durations, adds)


def longest(steps: list[Carry]) -> int:
    """Return the time of steps one after the other, each as long as its slowest member."""
    return sum(step.most_ns for step in steps)


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
