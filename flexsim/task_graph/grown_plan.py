"""The plan of a grown pipeline: forward, backward and update put together."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from flexsim.ragged import Csr
from flexsim.task_graph.columns import Int64, ResourceTable, StaticMemory
from flexsim.task_graph.grown_update import GrownUpdate, anchors
from flexsim.task_graph.growth import Grown
from flexsim.task_graph.kinds import NUM_COMPUTE_KINDS
from flexsim.task_graph.memory import StageMemory, fill_peaks
from flexsim.task_graph.memory_curves import Curve, StageCurves, end_shares
from flexsim.task_graph.plan import Plan
from flexsim.task_graph.rows import B, F
from flexsim.task_graph.schedules import Schedule
from flexsim.task_graph.symbolic import SYMBOL
from flexsim.task_graph.templates import Templates, template_of


@dataclass(frozen=True, eq=False)
class Parts:
    """What all plans of a grown pipeline share, whatever its schedule and microbatches."""

    templates: Templates
    static_memory: StaticMemory
    stage_memory: StageMemory
    operator_names: tuple[str, ...]
    flops: int
    """Of one microbatch on all replicas."""
    num_unfolded: int
    """Tasks of one microbatch before folding."""
    num_update: int
    """And of the updates."""
    folding: str

    @property
    def is_priced(self) -> bool:
        """Whether every task has a price, the same on all devices that it stands for."""
        return bool(self.templates.duration_ns.min(initial=1) > 0)


def parts_of(grown: Grown, update: GrownUpdate) -> Parts:
    """Put forward, backward and update of a grown pipeline together."""
    templates = _joined(grown.templates(), update, anchors(grown))
    memory = _stage_memory(grown, templates)
    return Parts(
        templates=templates,
        static_memory=replace(update.static_memory, buffers=memory.received.max(axis=0)),
        stage_memory=memory,
        operator_names=update.operator_names,
        flops=_flops(grown),
        num_unfolded=_num_unfolded(grown),
        num_update=update.num_tasks_unfolded,
        folding=_report(grown),
    )


def grown_plan(parts: Parts, schedule: Schedule, overlap_gradients: bool) -> Plan:
    """Return the plan of a grown pipeline, which equals the plan built in full."""
    num_microbatches = schedule.num_microbatches
    return Plan(
        templates=parts.templates,
        schedule=schedule,
        operator_names=parts.operator_names,
        overlap_gradients=overlap_gradients,
        static_memory=parts.static_memory,
        stage_memory=parts.stage_memory,
        hardware_flops=float(parts.flops) * num_microbatches,
        num_tasks_unfolded=parts.num_unfolded * num_microbatches + parts.num_update,
        folding=parts.folding,
    )


def _joined(passes: Templates, update: GrownUpdate, anchor: Int64) -> Templates:
    """Append the updates, and the edges to them, to forward and backward."""
    late, count = update.templates, passes.offsets[-1]
    held, table = _held(passes, late)
    num_passes = passes.num_passes
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
    tables = [
        np.stack([t.kind.astype(np.int64), t.device, t.peer], 1)
        for t in (one.resource_table, other.resource_table)
    ]
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


def _stage_memory(grown: Grown, templates: Templates) -> StageMemory:
    """Return what every stage holds on its rank's representative."""
    site, seed = grown.site, grown.seed
    devices = np.sort(site.representatives)
    place = {rank: int(np.searchsorted(devices, d)) for rank, d in enumerate(site.representatives)}
    memory, curves = StageMemory.nothing(devices, site.num_stages), {}
    for stage in range(site.num_stages):
        at, like = place[site.rank(stage)], grown.like(stage)
        memory.received[stage, at] = seed.received[like]
        for action in (F, B):
            curve = replace(seed.curves[like, action], extra=grown.extra)
            durations_ns = grown.strips[like, action].duration_ns
            found = _stage_curves(
                (curve, durations_ns), templates, (stage, action), (at, len(devices))
            )
            fill_peaks(memory, (stage, action), found)
            curves[stage, action] = found
    return replace(memory, curves=curves)


def _stage_curves(
    of_pass: tuple[Curve, Int64], templates: Templates, key: tuple[int, int], place: tuple[int, int]
) -> StageCurves:
    """Return the curve of one pass on the device at ``place``: its position among how many.

    With the curve comes what tasks last when kernels wait for no host.
    """
    curve, durations_ns = of_pass
    number = template_of(key[1], key[0], templates.num_stages)
    span = slice(*templates.offsets[number : number + 2].tolist())
    is_kernel = templates.kind[span] < NUM_COMPUTE_KINDS
    on_it = np.full(place[1], -1, np.int32)
    on_it[place[0]] = 0
    return StageCurves(
        (curve,),
        on_it,
        templates.operator[span][is_kernel],
        end_shares(durations_ns[is_kernel]),
    )


def _flops(grown: Grown) -> int:
    """Return the floating-point operations of one microbatch on all replicas."""
    site, work = grown.site, grown.seed.flops
    stages = sum(int(work.of_stage[grown.like(s)]) for s in range(site.num_stages))
    total = stages + site.num_stages * grown.extra * work.of_layer
    return total * site.num_replicas // grown.seed.num_replicas


def _num_unfolded(grown: Grown) -> int:
    site, seed = grown.site, grown.seed
    width = seed.devices_per_rank // seed.num_replicas
    members = 0
    for (stage, _), strip in grown.strips.items():
        count = sum(grown.like(s) == stage for s in range(site.num_stages))
        members += count * int(_members(strip.duration_ns, grown, width).sum())
    return members * site.num_replicas


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
