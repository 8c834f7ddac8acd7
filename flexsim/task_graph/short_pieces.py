"""What a long pipeline of equal stages holds and does, from its seed alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flexsim.task_graph.columns import Int64
from flexsim.task_graph.grown_update import positions_of_parts
from flexsim.task_graph.growth import Grown, likes
from flexsim.task_graph.memory_curves import NUM_PARTS
from flexsim.task_graph.rows import B, F
from flexsim.task_graph.strips import Crossing, Strip
from flexsim.task_graph.symbolic import SYMBOL
from flexsim.task_graph.uniform import Seed


@dataclass(frozen=True, eq=False)
class Load:
    """What the stages of the small pipeline hold and do with all their layers, row by row.

    Rows of memory are (stage, action); ``times`` the samples are ``times`` the bytes and work.
    """

    parts: Int64
    """What a pass adds when it holds most, by part."""
    left: Int64
    """What is left when it ends."""
    kernel: Int64
    """The kernel that runs when most is held."""
    received: Int64
    """The largest message from another stage, by stage."""
    flops: Int64
    """Of one replica and microbatch, by stage."""
    num_tasks: Int64
    """Of one device, by (stage, action)."""
    num_members: Int64
    """Tasks of all devices of one replica, by stage."""

    def of_templates(self, num_stages: int, seed: Seed) -> Int64:
        """Return the row of every template of a long pipeline."""
        rows: Int64 = (2 * likes(num_stages, seed)[:, None] + np.arange(2)).reshape(-1)
        return rows


def load_of(grown: Grown) -> Load:
    """Return the load of stages as long as those of ``grown``."""
    seed, count = grown.seed, grown.seed.num_stages
    keys = [(stage, action) for stage in range(count) for action in (F, B)]
    peaks = [replace(seed.curves[key], extra=grown.extra).peak() for key in keys]
    strips = [seed.strips.of[key] for key in keys]
    members = [_num_members(strip, seed, grown.extra) for strip in strips]
    return Load(
        np.array([peak.parts for peak in peaks], np.int64).reshape(-1, NUM_PARTS),
        np.array([peak.left for peak in peaks], np.int64).reshape(-1, NUM_PARTS),
        np.array([peak.kernel for peak in peaks]),
        seed.received,
        _flops(seed, grown.extra),
        np.array([strip.num_tasks + strip.shift(grown.extra) for strip in strips]),
        np.array(members, np.int64).reshape(-1, 2).sum(axis=1),
    )


def _flops(seed: Seed, extra: int) -> Int64:
    return seed.flops.of_stage + extra * seed.flops.of_layer


def _num_members(strip: Strip, seed: Seed, extra: int) -> int:
    members = _members(strip.duration_ns, seed)
    return int(members.sum() + extra * members[strip.begin : strip.end].sum())


def _members(duration_ns: Int64, seed: Seed) -> Int64:
    """Return how many tasks of one replica each task stands for."""
    width = seed.devices_per_rank // seed.num_replicas
    sizes = np.array([m.group_size for m in seed.messages] or [1], np.int64)
    number = np.maximum(duration_ns - SYMBOL, 0)
    return np.where(duration_ns >= SYMBOL, width // sizes[number], width)


def anchors_of(grown: Grown, stages: Int64) -> list[Int64]:
    """Return the members that complete gradients in the backward of stages (of the seed)."""
    found = {stage: positions_of_parts(grown, stage) for stage in np.unique(stages).tolist()}
    return [found[stage] for stage in stages.tolist()]


def shared_of(grown: Grown, names: frozenset[str]) -> list[tuple[int, Int64]]:
    """Return the stages of the seed that hold weights of ``names``, and the rows of each.

    There are none where gradients are added up, since all of a stage are complete at once.
    """
    seed = grown.seed
    if seed.added_bytes_per_parameter:
        return []
    return [
        (stage, seed.strips.of[stage, B].place(np.array(part.rows, np.int64), grown.extra))
        for stage in reversed(range(seed.num_stages))
        for part in seed.parts[stage]
        if part.name in names
    ]


def structure_of(seed: Seed, names: frozenset[str]) -> bytes:
    """Return bytes that are equal for seeds whose tasks wait for and hold the same.

    What tasks last may differ; ``names`` are the weights that several stages hold.
    """
    strips, crossings = seed.strips.of.items(), seed.strips.crossings
    shared = [[s, *p.rows] for s, some in enumerate(seed.parts) for p in some if p.name in names]
    columns = [
        np.array([seed.num_blocks, seed.strategy.blocking_transfers]),
        *(column for key, strip in strips for column in _columns(key, strip)),
        *(column for crossing in crossings for column in _edges(crossing)),
        *(column for stage in range(seed.num_stages) for column in seed.rows_of_parts(stage)),
        *map(np.array, shared),
    ]
    lengths = np.array([column.nbytes for column in columns])
    return b"".join(column.tobytes() for column in (lengths, *columns))


def _columns(key: tuple[int, int], strip: Strip) -> list[NDArray[np.integer]]:
    ends = [strip.exits, strip.tails, strip.entries, strip.heads, strip.sends]
    edges = [strip.sources, strip.targets, strip.added]
    return [np.array([*key, strip.begin, strip.end]), strip.kind, strip.toward, *edges, *ends]


def _edges(crossing: Crossing) -> list[Int64]:
    return [np.array([crossing.source, crossing.target]), crossing.sources, crossing.targets]
