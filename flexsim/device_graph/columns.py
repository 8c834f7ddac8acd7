"""Links put together block by block: each block is alike in kind, bandwidth and latency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flexsim.device_graph.graph import Links

if TYPE_CHECKING:
    from flexsim.device_graph.schema import LevelTable

Int64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LinkBlock:
    """Directed links that share one kind, bandwidth and latency; ends are vertex ids."""

    source: Int64
    target: Int64
    kind: str
    bandwidth_bytes_per_s: float
    latency_ns: int


def both_ways(
    low: Int64, high: Int64, level: LevelTable, bandwidth_bytes_per_s: float | None = None
) -> list[LinkBlock]:
    """Return the links up and the links down between pairs of vertices, as ``level`` has them."""
    bandwidth = bandwidth_bytes_per_s or level.bandwidth
    numbers = (level.kind, bandwidth, level.latency)
    return [LinkBlock(low, high, *numbers), LinkBlock(high, low, *numbers)]


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


def concatenated(parts: Sequence[Links]) -> Links:
    """Return the links of all parts in their order, under one numbering of kinds."""
    kinds = tuple(dict.fromkeys(kind for part in parts for kind in part.link_kinds))
    codes = [np.array([kinds.index(kind) for kind in part.link_kinds], np.int32) for part in parts]
    return Links(
        source=_joined([part.source for part in parts]),
        target=_joined([part.target for part in parts]),
        bandwidth_bytes_per_s=np.concatenate([part.bandwidth_bytes_per_s for part in parts]),
        latency_ns=np.concatenate([part.latency_ns for part in parts]),
        kind=np.concatenate([code[part.kind] for code, part in zip(codes, parts, strict=True)]),
        link_kinds=kinds,
    )


def _joined(ends: Sequence[NDArray[np.integer]]) -> NDArray[np.int32]:
    return np.concatenate([np.empty(0, np.int64), *ends]).astype(np.int32)
