"""What it takes to bring weights together that replicas keep in shares, or to share gradients out.

A library's collective on a layer's weights in one message is the rule. DeepSpeed of early 2021
did it weight by weight, out of lists with one piece a member, and let devices wait meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flexsim.cost.work import Work
from flexsim.strategy.mesh import Mesh
from flexsim.task_graph.places import Places
from flexsim.task_graph.pricing import Pricing


def shares_ns(
    pricing: Pricing, kind: str, sizes: Sequence[int], places: Places, mesh: Mesh
) -> NDArray[np.int64]:
    """Return the duration on every group, for weights of these sizes on each device of ``mesh``."""
    if not pricing.software.shares_one_by_one:
        return pricing.collective(kind, max(1, sum(sizes)), places)
    each = [_of_one_weight(pricing, kind, max(1, size), places, mesh) for size in sizes]
    total: NDArray[np.int64] = np.sum(each, axis=0, dtype=np.int64)
    return total


def _of_one_weight(
    pricing: Pricing, kind: str, num_bytes: int, places: Places, mesh: Mesh
) -> NDArray[np.int64]:
    software = pricing.software
    sent_ns = pricing.collective(kind, num_bytes, places) / software.share_rate
    pieces_ns = places.groups.shape[1] * software.piece_time_ns
    copied = Work("elementwise", "F", 0, round(num_bytes * software.share_traffic))
    copied_ns = pricing.durations([copied], np.zeros(mesh.size, np.int64), mesh).max()
    total: NDArray[np.int64] = np.rint(sent_ns + pieces_ns + copied_ns).astype(np.int64)
    return total
