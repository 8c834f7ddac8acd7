"""Links put together block by block: each block is alike in kind, bandwidth and latency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexsim.device_graph.graph import Links

Int64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LinkBlock:
    """Directed links that share one kind, bandwidth and latency; ends are vertex ids."""

    source: Int64
    target: Int64
    kind: str
    bandwidth_bytes_per_s: float
    latency_ns: int


def joined_links(blocks: Sequence[LinkBlock]) -> Links:
    """Return the links of all blocks in their order, kinds numbered as they first appear."""
    kinds = tuple(dict.fromkeys(block.kind for block in blocks))
    sizes = [len(block.source) for block in blocks]
    codes = np.array([kinds.index(block.kind) for block in blocks], np.int32)
    bandwidths = np.array([block.bandwidth_bytes_per_s for block in blocks], np.float64)
    latencies = np.array([block.latency_ns for block in blocks], np.int64)
    return Links(
        source=_joined([block.source for block in blocks]),
        target=_joined([block.target for block in blocks]),
        bandwidth_bytes_per_s=np.repeat(bandwidths, sizes),
        latency_ns=np.repeat(latencies, sizes),
        kind=np.repeat(codes, sizes),
        link_kinds=kinds,
    )


def _joined(ends: list[Int64]) -> NDArray[np.int32]:
    return np.concatenate([np.empty(0, np.int64), *ends]).astype(np.int32)
