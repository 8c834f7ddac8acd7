"""The metrics of a uniform pipeline from what was followed of its ranks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np

from flexsim.cost.collectives import Communication
from flexsim.cost.profiles import load_device_profile
from flexsim.engine.contraction_uniform import Followed
from flexsim.scenario.express_task import End, Task
from flexsim.task_graph.columns import ActionTable, Int32, Int64
from flexsim.task_graph.growth import Grown, operator_in_long
from flexsim.task_graph.short_pieces import Load
from flexsim.task_graph.site import Site
from flexsim.task_graph.uniform import Seed
from flexsim.timeline.memory import PeakMemory, peak_with
from flexsim.timeline.metrics import IterationFacts, memory_metrics, speed


def measured(task: Task, built: tuple[Seed, Load, End], followed: Followed) -> dict[str, Any]:
    """Return the metrics of what was followed; they need no spans."""
    seed, load, end = built
    schedule = followed.schedule
    stages = load.of_templates(task.num_stages, seed)
    facts = _facts(task, int(load.flops[stages[::2] // 2].sum()), seed)
    peak = _peak(task, (load, stages, end), followed)
    rows = ActionTable(schedule.kind, schedule.stage, schedule.microbatch, schedule.rank)
    fullest = int(peak.total.argmax())
    action = int(peak.action[fullest])
    if action >= 0:
        key = int(schedule.stage[action]), int(schedule.kind[action])
        kernel = int(load.kernel[stages[2 * key[0] + key[1]]])
        grown = grown_anywhere(seed, task.layers)
        peak.operator[fullest] = operator_in_long(grown, key, task.num_stages, kernel)
    num_microbatches = task.sizes.num_microbatches
    num_tasks = int(load.num_tasks[stages].sum()) * num_microbatches + end.num_tasks
    members = int(load.num_members[stages[::2] // 2].sum()) * task.degrees.data
    return {
        **speed(followed.makespan_ns, facts),
        **memory_metrics(peak, facts.memory_capacity_bytes, peak.moment(rows, task.whole.names)),
        "num_devices": facts.num_devices,
        "num_tasks": num_tasks,
        "num_tasks_folded_away": members * num_microbatches + end.num_unfolded - num_tasks,
    }


def grown_anywhere(seed: Seed, layers: int) -> Grown:
    """Return a seed with all layers of a stage, wherever it stands."""
    nowhere: Int32 = np.zeros((1, 1), np.int32)
    return Grown(seed, Site(nowhere, 1, 1, cast(Communication, None)), layers)


def _peak(task: Task, built: tuple[Load, Int64, End], followed: Followed) -> PeakMemory:
    """Return what ranks hold at most; which operator runs then is not known yet."""
    load, stages, end = built
    num_ranks = task.degrees.pipeline
    received = load.received[stages[::2] // 2].reshape(-1, num_ranks).max(axis=0) * task.times
    static = replace(end.static, buffers=received)
    devices = static.device.astype(np.int64)
    none = np.full(num_ranks, -1)
    peak = peak_with(static, devices, followed.held, followed.action, none)
    return replace(peak, rank=np.arange(num_ranks))


def _facts(task: Task, flops: int, seed: Seed) -> IterationFacts:
    """Return the facts of the iteration; ``flops`` are those of the seed's replicas, a sample."""
    scenario, sizes = task.scenario, task.sizes
    profile = load_device_profile(task.setting.devices.device_types[0])
    peak = profile.peak_flops_per_s(scenario.training.precision)
    batch = scenario.training.global_batch
    executed = flops * task.times * task.degrees.data // seed.num_replicas
    return IterationFacts(
        num_devices=sizes.num_devices,
        sequences=batch,
        tokens_per_sequence=task.whole.graph.tokens_per_sequence,
        model_flops=float(task.whole.flops * (batch // sizes.num_microbatches))
        * sizes.num_microbatches,
        hardware_flops=float(executed) * sizes.num_microbatches,
        peak_flops_per_s=peak * sizes.num_devices,
        memory_capacity_bytes=profile.memory_capacity_bytes,
    )
