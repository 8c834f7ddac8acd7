"""Sums of shared weights' gradients: cells that the same devices hold, joined in buckets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from flexsim.strategy.mesh import Mesh
from flexsim.task_graph.shared_weights import Holding

if TYPE_CHECKING:
    from flexsim.task_graph.parts import WeightPart


@dataclass
class SharedBucket:
    """One sum over ``devices``, written with a pipeline rank.

    It starts after the rows ``needs``; ``weights`` are what it completes, by name and mesh.
    """

    rank: int
    devices: tuple[int, ...]
    num_bytes: float = 0.0
    needs: list[int] = field(default_factory=list)
    weights: list[tuple[str, Mesh]] = field(default_factory=list)


def shared_buckets(
    parts: Sequence[WeightPart],
    rank_of_stage: Sequence[int],
    limit_bytes: float,
    gradient_bytes: Callable[[WeightPart], float],
) -> list[SharedBucket]:
    """Join the cells of shared weights that the same devices hold, up to a bucket's size."""
    done: list[SharedBucket] = []
    filling: dict[tuple[int, tuple[int, ...]], SharedBucket] = {}
    for held, together in _by_holding(parts):
        rank = rank_of_stage[min(part.stage for part in together)]
        for share in (share for share in held.shares if len(share.devices) > 1):
            key = (rank, share.devices)
            bucket = filling.get(key)
            if bucket is None or bucket.num_bytes >= limit_bytes:
                bucket = filling[key] = SharedBucket(*key)
                done.append(bucket)
            cell = replace(together[0], num_parameters=share.num_elements)
            bucket.num_bytes += gradient_bytes(cell)
            bucket.needs += [row for part in together for row in part.rows]
            bucket.weights += [(part.name, part.layout.mesh) for part in together]
    return done


def _by_holding(parts: Sequence[WeightPart]) -> list[tuple[Holding, list[WeightPart]]]:
    """Return the parts of every weight that has shares."""
    found: dict[str, tuple[Holding, list[WeightPart]]] = {}
    for part in parts:
        if part.holding is not None:
            found.setdefault(part.name, (part.holding, []))[1].append(part)
    return list(found.values())
