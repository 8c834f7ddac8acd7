"""The metrics of a uniform pipeline from what was followed of its ranks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np

from flexsim.cost.collectives import Communication
from flexsim.cost.profiles import load_device_profile
from flexsim.engine.contraction_uniform import Passes
from flexsim.scenario.express_task import End, Task
from flexsim.task_graph.columns import Int32, Int64
from flexsim.task_graph.growth import Grown, operator_in_long
from flexsim.task_graph.short_pieces import Load
from flexsim.task_graph.site import Site
from flexsim.task_graph.uniform import Seed
from flexsim.timeline.memory import PeakMemory, peak_with
from flexsim.timeline.metrics import IterationFacts, memory_metrics, speed


def measured(
    task: Task, built: tuple[Seed, Load, End], passes: Passes, makespan_ns: int
) -> dict[str, Any]:
    """Return the metrics of what was followed; they need no spans."""
    seed, load, end = built
    stages = load.of_templates(task.num_stages, seed)
    facts = _facts(task, int(load.flops[stages[::2] // 2].sum()), seed)
    peak = _peak(task, (load, stages, end), passes)
    rows = passes.actions
    fullest = int(peak.total.argmax())
    rank = int(peak.action[fullest])
    if rank >= 0:
        key = int(rows.stage[rank]), int(rows.kind[rank])
        kernel = int(load.kernel[stages[2 * key[0] + key[1]]])
        grown = grown_anywhere(seed, task.layers)
        peak.operator[fullest] = operator_in_long(grown, key, task.num_stages, kernel)
    num_microbatches = task.sizes.num_microbatches
    num_tasks = int(load.num_tasks[stages].sum()) * num_microbatches + end.num_tasks
    members = int(load.num_members[stages[::2] // 2].sum()) * task.degrees.data
    return {
        **speed(makespan_ns, facts),
        **memory_metrics(peak, facts.memory_capacity_bytes, peak.moment(rows, task.whole.names)),
        "num_devices": facts.num_devices,
        "num_tasks": num_tasks,
        "num_tasks_folded_away": members * num_microbatches + end.num_unfolded - num_tasks,
    }


def grown_anywhere(seed: Seed, layers: int) -> Grown:
    """Return a seed with all layers of a stage, wherever it stands."""
    nowhere: Int32 = np.zeros((1, 1), np.int32)
    return Grown(seed, Site(nowhere, 1, 1, cast(Communication, None)), layers)


def _peak(task: Task, built: tuple[Load, Int64, End], passes: Passes) -> PeakMemory:
    """Return what ranks hold at most; which operator runs then is not known yet.

    Its actions are rows of those of the passes: one a rank.
    """
    load, stages, end = built
    num_ranks = task.degrees.pipeline
    received = load.received[stages[::2] // 2].reshape(-1, num_ranks).max(axis=0) * task.times
    static = replace(end.static, buffers=received)
    devices = static.device.astype(np.int64)
    action, none = np.where(passes.is_held, np.arange(num_ranks), -1), np.full(num_ranks, -1)
    peak = peak_with(static, devices, passes.held.copy(), action, none)
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
