"""The metrics of a uniform pipeline from what was followed of its ranks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from flexsim.cost.collectives import Communication
from flexsim.cost.profiles import load_device_profile
from flexsim.engine.contraction_passes import Passes
from flexsim.kept import Kept
from flexsim.scenario.express_task import End, Task
from flexsim.task_graph.columns import Int32, Int64
from flexsim.task_graph.growth import Grown, operator_in_long
from flexsim.task_graph.short_pieces import Load
from flexsim.task_graph.site import Site
from flexsim.task_graph.uniform import Seed
from flexsim.timeline.memory_table import Throughout
from flexsim.timeline.metrics import IterationFacts, speed, stages_metrics, stages_of
from flexsim.timeline.names import action_name


@dataclass(frozen=True, eq=False)
class Sums:
    """What a task's metrics follow from beside passes, batch and micro-batch."""

    num_replicas: int
    """Of the seed."""
    kernels: Int64
    """The kernel that runs when most is held, by (global stage, action)."""
    throughout: Throughout
    """Without what receives from other stages."""
    received: Int64
    """What does for one sample, by rank."""
    places: Int64
    """Pipeline ranks, and a device of each."""
    flops: int
    """Of these replicas and one sample."""
    num_tasks: tuple[int, int]
    """Of a microbatch, and of the update."""
    num_unfolded: tuple[int, int]
    """The same on all devices."""

    @classmethod
    def of(cls, task: Task, built: tuple[Seed, Load, End]) -> Sums:
        """Return the sums of a task."""
        seed, load, end = built
        templates = load.of_templates(task.num_stages, seed)
        stages = templates[::2] // 2
        devices = end.static.device.astype(np.int64)
        members = int(load.num_members[stages].sum()) * task.degrees.data
        return cls(
            seed.num_replicas,
            load.kernel[templates],
            Throughout.of(end.static, devices),
            load.received[stages].reshape(-1, task.degrees.pipeline).max(axis=0),
            np.stack([np.arange(len(devices)), devices], axis=1),
            int(load.flops[stages].sum()),
            (int(load.num_tasks[templates].sum()), end.num_tasks),
            (members, end.num_unfolded),
        )


@dataclass(frozen=True, eq=False)
class Figures:
    """What the metrics of a task follow from beside its passes and its batch."""

    task: Task
    sums: Sums
    throughout: Throughout
    facts: IterationFacts
    """Of an iteration with one microbatch."""

    @classmethod
    def of(cls, task: Task, sums: Sums) -> Figures:
        """Return the figures of a task."""
        received = sums.throughout.with_buffers(sums.received * task.times)
        return cls(task, sums, received, _facts(task, sums))

    def facts_of(self, num_microbatches: int) -> IterationFacts:
        """Return the facts of an iteration."""
        one = self.facts
        return IterationFacts(
            one.num_devices,
            one.sequences * num_microbatches,
            one.tokens_per_sequence,
            one.model_flops * num_microbatches,
            one.hardware_flops * num_microbatches,
            one.peak_flops_per_s,
            one.memory_capacity_bytes,
        )


def _facts(task: Task, sums: Sums) -> IterationFacts:
    """Return the facts of one microbatch."""
    profile = load_device_profile(task.setting.devices.device_types[0])
    sequences, num_devices = task.times * task.degrees.data, task.degrees.num_devices
    return IterationFacts(
        num_devices=num_devices,
        sequences=sequences,
        tokens_per_sequence=task.whole.tokens_per_sequence,
        model_flops=float(task.whole.flops * sequences),
        hardware_flops=float(sums.flops * sequences // sums.num_replicas),
        peak_flops_per_s=profile.peak_flops_per_s(task.scenario.training.precision) * num_devices,
        memory_capacity_bytes=profile.memory_capacity_bytes,
    )


@dataclass(frozen=True, eq=False)
class Memory:
    """What ranks hold at most."""

    figures: Figures
    """Of the task; they stay as long as this does, so that no others get their place."""
    stages: list[dict[str, int]]
    fullest: int
    """The rank that holds most."""
    is_step: bool
    """Whether it does while the optimizer steps."""

    @classmethod
    def of(cls, figures: Figures, held: Int64) -> Memory:
        """Return what ranks hold when passes add ``held`` at most."""
        parts, steps = figures.throughout.with_dynamic(held)
        stages = stages_of(figures.sums.places, parts)
        fullest = max(range(len(stages)), key=lambda rank: stages[rank]["total"])
        return cls(figures, stages, fullest, bool(steps[fullest]))


class Measures:
    """Works metrics out, and keeps what follows from a task and its passes alone."""

    def __init__(self, seed: Callable[[Task], Seed | str]) -> None:
        """Take what returns the seed of a task, which has one."""
        self._seed = seed
        self._memory = Kept(400)
        self._operators = Kept(20_000)

    def measured(
        self, figures: Figures, passes: Passes, num_microbatches: int, makespan_ns: int
    ) -> dict[str, Any]:
        """Return the metrics of what was followed; they need no spans."""
        key = id(figures), passes.held.tobytes()
        memory = self._memory.once(key, lambda: Memory.of(figures, passes.held))
        num_tasks = _times(figures.sums.num_tasks, num_microbatches)
        unfolded = _times(figures.sums.num_unfolded, num_microbatches)
        return {
            **speed(makespan_ns, figures.facts_of(num_microbatches)),
            **stages_metrics(
                [stage.copy() for stage in memory.stages],
                figures.facts.memory_capacity_bytes,
                self._moment(memory, passes),
            ),
            "num_devices": figures.facts.num_devices,
            "num_tasks": num_tasks,
            "num_tasks_folded_away": unfolded - num_tasks,
        }

    def _moment(self, memory: Memory, passes: Passes) -> str:
        """Return when the fullest rank holds most: an action's name and an operator's."""
        rank, figures = memory.fullest, memory.figures
        if memory.is_step or not passes.is_held[rank]:
            return "the optimizer's step" if memory.stages[rank]["temporary"] else ""
        task, (stage, kind, microbatch) = figures.task, passes.action(rank)
        key = task.kind, task.layers, task.num_stages, stage, kind
        operator = self._operators.once(key, lambda: self._operator(figures, stage, kind))
        name = action_name(stage, kind, microbatch)
        return f"{name} {operator}" if operator else name

    def _operator(self, figures: Figures, stage: int, kind: int) -> str:
        """Return the operator during which an action holds most; "" for none."""
        task, kernel = figures.task, int(figures.sums.kernels[2 * stage + kind])
        grown = grown_anywhere(cast(Seed, self._seed(task)), task.layers)
        number = operator_in_long(grown, (stage, kind), task.num_stages, kernel)
        return task.whole.names[number] if 0 <= number < len(task.whole.names) else ""


def _times(counts: tuple[int, int], num_microbatches: int) -> int:
    return counts[0] * num_microbatches + counts[1]


def grown_anywhere(seed: Seed, layers: int) -> Grown:
    """Return a seed with all layers of a stage, wherever it stands."""
    nowhere: Int32 = np.zeros((1, 1), np.int32)
    return Grown(seed, Site(nowhere, 1, 1, cast(Communication, None)), layers)
