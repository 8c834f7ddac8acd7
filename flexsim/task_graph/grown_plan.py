"""The plan of a grown pipeline: forward, backward and update put together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from flexsim.ragged import Csr
from flexsim.task_graph.columns import Int64, ResourceTable
from flexsim.task_graph.grown_update import GrownUpdate, anchors
from flexsim.task_graph.growth import Grown
from flexsim.task_graph.memory import StageMemory
from flexsim.task_graph.plan import Plan
from flexsim.task_graph.schedules import Schedule
from flexsim.task_graph.symbolic import SYMBOL
from flexsim.task_graph.templates import Templates


def grown_plan(
    grown: Grown, update: GrownUpdate, schedule: Schedule, overlap_gradients: bool
) -> Plan:
    """Return the plan of a grown pipeline, which equals the plan built in full."""
    passes = grown.templates()
    num_microbatches = schedule.num_microbatches
    return Plan(
        templates=_joined(passes, update, anchors(grown)),
        schedule=schedule,
        operator_names=update.operator_names,
        overlap_gradients=overlap_gradients,
        static_memory=update.static_memory,
        stage_memory=_stage_memory(grown),
        hardware_flops=float(_flops(grown)) * num_microbatches,
        num_tasks_unfolded=_num_unfolded(grown, update, num_microbatches),
        folding=_report(grown),
    )


def _joined(passes: Templates, update: GrownUpdate, anchor: Int64) -> Templates:
    """Append the updates, and the edges to them, to forward and backward."""
    late, count = update.templates, passes.offsets[-1]
    held, table = _held(passes, late)
    num_passes = 2 * passes.num_stages
    return replace(
        passes,
        offsets=np.concatenate([passes.offsets[:num_passes], count + late.offsets]),
        operator=np.concatenate([passes.operator, late.operator]),
        kind=np.concatenate([passes.kind, late.kind]),
        part=np.concatenate([passes.part, late.part]),
        duration_ns=np.concatenate([passes.duration_ns, late.duration_ns]),
        num_bytes=np.concatenate([passes.num_bytes, late.num_bytes]),
        held=held,
        resource_table=table,
        sources=np.concatenate([passes.sources, late.sources + count, anchor[update.sources]]),
        targets=np.concatenate([passes.targets, late.targets + count, update.targets + count]),
        ends=(*passes.ends[:num_passes], *late.ends),
    )


def _held(one: Templates, other: Templates) -> tuple[Csr, ResourceTable]:
    """Number the resources of both anew, in order of (kind, device, peer)."""
    tables = [np.stack([t.kind.astype(np.int64), t.device, t.peer], 1) for t in _tables(one, other)]
    distinct, ids = np.unique(np.concatenate(tables), axis=0, return_inverse=True)
    ids = ids.reshape(-1).astype(np.int32)
    num_first = len(tables[0])
    values = [ids[:num_first][one.held.values], ids[num_first:][other.held.values]]
    offsets = np.concatenate([one.held.offsets[:-1], one.held.offsets[-1] + other.held.offsets])
    table = ResourceTable(
        distinct[:, 0].astype(np.uint8),
        distinct[:, 1].astype(np.int32),
        distinct[:, 2].astype(np.int32),
    )
    return Csr(offsets, np.concatenate(values)), table


def _tables(one: Templates, other: Templates) -> tuple[ResourceTable, ResourceTable]:
    return one.resource_table, other.resource_table


def _stage_memory(grown: Grown) -> StageMemory:
    """Return what every stage keeps and rebuilds on its rank's representative."""
    site, seed = grown.site, grown.seed
    devices = np.sort(site.representatives)
    kept = np.zeros((site.num_stages, site.num_ranks), np.int64)
    rebuilt = np.zeros_like(kept)
    for stage in range(site.num_stages):
        at = np.searchsorted(devices, site.representatives[site.rank(stage)])
        like = grown.like(stage)
        kept[stage, at] = seed.kept.of_stage[like] + grown.extra * seed.kept.of_layer
        rebuilt[stage, at] = seed.rebuilt.of_stage[like]
    return StageMemory(devices, kept, rebuilt)


def _flops(grown: Grown) -> int:
    """Return the floating-point operations of one microbatch on all replicas."""
    site, work = grown.site, grown.seed.flops
    stages = sum(int(work.of_stage[grown.like(s)]) for s in range(site.num_stages))
    total = stages + site.num_stages * grown.extra * work.of_layer
    return total * site.num_replicas // grown.seed.num_replicas


def _num_unfolded(grown: Grown, update: GrownUpdate, num_microbatches: int) -> int:
    site, seed = grown.site, grown.seed
    width = seed.devices_per_rank // seed.num_replicas
    members = 0
    for (stage, _), strip in grown.strips.items():
        count = sum(grown.like(s) == stage for s in range(site.num_stages))
        members += count * int(_members(strip.duration_ns, grown, width).sum())
    return members * site.num_replicas * num_microbatches + update.num_tasks_unfolded


def _members(duration_ns: Int64, grown: Grown, width: int) -> Int64:
    """Return how many tasks of one replica each task stands for."""
    sizes = np.array([m.group_size for m in grown.seed.messages] or [1], np.int64)
    number = np.maximum(duration_ns - SYMBOL, 0)
    return np.where(duration_ns >= SYMBOL, width // sizes[number], width)


def _report(grown: Grown) -> str:
    num_devices, num_ranks = grown.site.devices.size, grown.site.num_ranks
    if num_devices == num_ranks:
        return "nothing to fold: every device has a rank of its own"
    return f"{num_devices} devices folded to {num_ranks}, one for each pipeline rank"
