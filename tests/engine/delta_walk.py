"""Random walks over strategies, each state simulated by delta and in full."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import numpy as np

from flexsim.cost import load_software_profile
from flexsim.cost.collectives import Communication
from flexsim.cost.costs import Costs
from flexsim.cost.roofline import Roofline
from flexsim.device_graph import load_device_graph
from flexsim.engine.compiled import simulate
from flexsim.engine.delta import RowReplay
from flexsim.errors import StrategyError
from flexsim.models import build_model, model_config
from flexsim.operator_graph import Operator, OperatorGraph
from flexsim.operator_graph.records import Dim
from flexsim.search.delta_objective import DeltaObjective
from flexsim.search.objective import Problem
from flexsim.search.units import Unit, UnitDim, find_units
from flexsim.strategy import Mesh, ParallelConfig, Strategy
from flexsim.task_graph.block_pool import COMPUTE, TRANSFER
from flexsim.task_graph.build import build_task_graph
from flexsim.timeline.memory import lasting_peak_bytes
from flexsim.timeline.spans import Timeline


class Flat:
    """A communication model in which few durations occur, so that many tasks tie."""

    def collective_ns(self, collective, num_bytes, groups, /):
        return np.full(len(groups), 2)

    def transfer_ns(self, num_bytes, sources, targets, /):
        return 1 + np.asarray(sources) % 2


def one_or_two_ns(work, device_type):
    """Price kernels so that many tasks tie."""
    return 1 + work.num_bytes % 2


def software(**changes):
    """Return a software profile with some habits changed."""
    return replace(load_software_profile("megatron-lm"), **changes)


def costs_of(devices, habits, *, ties: bool) -> Costs:
    """Return real costs, or those with many ties."""
    if ties:
        return Costs(one_or_two_ns, Flat(), habits)
    return Costs(Roofline(habits), Communication.of(devices, habits), habits)


def model(family: str, sequences: int, **sizes) -> OperatorGraph:
    """Return a small model."""
    return build_model(model_config(family, None, **sizes), sequences)


def any_mesh(shape: list[int], num_devices: int, rng: random.Random) -> Mesh:
    """Return a mesh on devices in a run, with a stride, or anywhere."""
    count = int(np.prod(shape))
    way = rng.random()
    if way < 0.4:
        start = rng.randrange(num_devices - count + 1)
        devices = list(range(start, start + count))
    elif way < 0.6:
        stride = rng.randint(1, max(1, (num_devices - 1) // max(1, count - 1)))
        start = rng.randrange(num_devices - (count - 1) * stride)
        devices = [start + i * stride for i in range(count)]
    else:
        devices = rng.sample(range(num_devices), count)
    return Mesh([f"x{i}" for i in range(len(shape))], np.reshape(devices, shape))


def any_config(unit: Unit, num_devices: int, rng: random.Random) -> ParallelConfig:
    """Return random degrees along random dimensions, at times with copies, on random devices."""
    shape: list[int] = []
    splits: dict[str, tuple[str, ...]] = {}
    most = rng.choice([1, 2, 3, 4, 6, 8, num_devices])
    for dim in rng.sample(unit.dims, len(unit.dims)):
        degree = rng.choice([1, 1, 2, 2, 3, 4, num_devices])
        if 1 < degree <= dim.limit and degree * np.prod([*shape, 1]) <= min(most, num_devices):
            splits[dim.name] = (f"x{len(shape)}",)
            shape.append(degree)
    if 2 * np.prod([*shape, 1]) <= num_devices and rng.random() < 0.2:
        shape.append(2)
    return ParallelConfig.of(any_mesh(shape or [1], num_devices, rng), splits)


def single_units(graph: OperatorGraph) -> list[Unit]:
    """Return every operator as a unit of its own."""
    return [Unit(op.name, (op,), tuple(map(_unit_dim, _free(op)))) for op in graph.operators]


def _free(operator: Operator) -> list[Dim]:
    return [dim for dim in operator.dims if not dim.follows]


def _unit_dim(dim: Dim) -> UnitDim:
    return UnitDim(dim.name, min(dim.size, dim.max_degree or dim.size), "A")


@dataclass
class Walk:
    """A walk over the strategies of a problem; ``checked`` and ``cut`` count proposals."""

    problem: Problem
    rng: random.Random
    alone: bool = True
    """Whether operators that share a weight are cut and placed one by one."""
    checked: int = 0
    cut: int = 0

    def __post_init__(self) -> None:
        graph, devices = self.problem.graph, self.problem.devices
        self.units = single_units(graph) if self.alone else list(find_units(graph))
        self.num_devices = devices.num_devices
        self.delta = DeltaObjective(self.problem)
        self.configs: dict[str, ParallelConfig] = {}

    def begin(self) -> None:
        """Begin where all operators run whole on one device each."""
        for unit in self.units:
            mesh = Mesh(("x0",), [self.rng.randrange(self.num_devices)])
            self.configs |= unit.configs(ParallelConfig.of(mesh, {}))
        found = self.delta.start(self.configs)
        self.compare(found)

    def full(self, configs) -> Timeline:
        """Return the timeline of a strategy built and replayed in full."""
        problem = self.problem
        strategy = problem.strategy(configs)
        return simulate(
            build_task_graph(problem.graph, strategy, problem.devices, problem.costs, fold=False)
        )

    def compare(self, found) -> None:
        """Compare spans, makespan and memory of the current state with the full simulation."""
        blocks = self.delta.blocks
        timeline = self.full(blocks.configs)
        assert found.makespan_ns == timeline.makespan_ns
        assert np.array_equal(self.delta.replay.starts_ns(), timeline.start_ns)
        expanded = RowReplay(blocks).timeline()
        assert np.array_equal(expanded.start_ns, timeline.start_ns)
        assert np.array_equal(expanded.end_ns, timeline.end_ns)
        assert found.peak_memory_bytes == lasting_peak_bytes(timeline)

    def propose(self) -> dict[str, ParallelConfig]:
        """Return new configs of one unit, at times of two."""
        count = 2 if self.rng.random() < 0.2 else 1
        changes: dict[str, ParallelConfig] = {}
        for unit in self.rng.sample(self.units, min(count, len(self.units))):
            config = any_config(unit, self.num_devices, self.rng)
            if unit.accepts(config):
                changes |= unit.configs(config)
        return changes

    def step(self) -> None:
        """Propose without and with a limit, compare, and accept or reject."""
        changes = self.propose()
        before = state(self.delta)
        found = self.delta.propose(changes, None)
        assert found is not None
        if not found.is_feasible:
            return self._refused(changes, found, before)
        self.compare(found)
        self.checked += 1
        if self.rng.random() < 0.5:
            self.delta.accept()
            self.configs |= changes
            return None
        self.delta.reject()
        assert state(self.delta) == before
        self._limited(changes, found)
        assert state(self.delta) == before
        return None

    def _limited(self, changes, found) -> None:
        limit = round(found.makespan_ns * self.rng.choice([0.5, 0.9, 0.99, 1.0, 1.1]))
        limit += self.rng.choice([-1, 0])
        again = self.delta.propose(changes, limit)
        if again is None:
            assert found.makespan_ns > limit
            self.cut += 1
        else:
            assert again == found
        self.delta.reject()

    def _refused(self, changes, found, before) -> None:
        try:
            self.full({**self.configs, **changes})
        except StrategyError as refusal:
            assert str(refusal) == found.refusal
        else:
            raise AssertionError(f"refused without need: {found.refusal}")
        self.delta.reject()
        assert state(self.delta) == before


def state(delta: DeltaObjective):
    """Return all that the next proposal starts from, as values that can be compared."""
    blocks = delta.blocks
    linked = blocks.link()
    num_rows, num_needs, _ = linked.counts.tolist()
    return (
        dict(blocks.configs),
        [_content(blocks.pool.contents, n) for n in linked.content[:num_rows].tolist()],
        linked.need_offsets[: num_rows + 1].tolist(),
        linked.needs[:num_needs].tolist(),
        blocks.peak_bytes(),
    )


def _content(contents, number: int):
    """Return what a row says, whatever its number."""
    shape, kind, members, width, duration, device, _ = contents.head[number].tolist()
    num_durations = contents.leader.shape[1] if shape == COMPUTE else members
    num_devices = 2 * members if shape == TRANSFER else members * width
    return (
        (shape, kind, members, width),
        contents.duration_ns[duration : duration + num_durations].tobytes(),
        contents.device[device : device + num_devices].tobytes(),
        contents.leader[number].tobytes(),
        contents.num_left[number].tobytes(),
        contents.work_ns[number].tobytes(),
    )


def problem(family: str, sequences: int, rng: random.Random, hosts: int = 1, **sizes) -> Problem:
    """Return a problem with random habits of software and strategy."""
    habits = software(
        overlapped_gradient_bucket_bytes=rng.choice([0, 10**4, 10**6, 10**12]),
        gradient_bucket_bytes=rng.choice([0, 10**5, 10**12]),
        overlap_input_gradients=rng.random() < 0.5,
    )
    base = Strategy(
        "walk",
        {},
        overlap_gradients=rng.random() < 0.7,
        gradient_norm=rng.random() < 0.5,
        scatter_gather=rng.random() < 0.5,
    )
    devices = load_device_graph("dgx-a100", hosts)
    costs = costs_of(devices, habits, ties=rng.random() < 0.5)
    return Problem(model(family, sequences, **sizes), devices, costs, base)
