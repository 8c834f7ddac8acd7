"""Facts about links: what each carried, how long it was in use, and how much of it when."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flexsim.device_graph.graph import SHARED, DeviceGraph
from flexsim.task_graph.columns import Int32, Int64
from flexsim.timeline.crossings import Traffic
from flexsim.units import NS_PER_S

if TYPE_CHECKING:
    import pandas as pd

Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LinkFacts:
    """What the directed links of a device graph did, a value a link.

    *Utilization* is the bytes that a link carried over those that its bandwidth, as the device
    graph states it, would let it carry in that time. A link is *busy* while anything holds it.
    """

    device_graph: DeviceGraph
    makespan_ns: int
    num_bytes: Int64
    busy_ns: Int64
    paced: Traffic
    """What crossed the links, at the pace at which it did."""

    @cached_property
    def utilization(self) -> Float64:
        """Mean over the makespan."""
        capacity = self.device_graph.links.bandwidth_bytes_per_s * self.makespan_ns / NS_PER_S
        return self.num_bytes / np.maximum(capacity, np.finfo(float).tiny)

    @cached_property
    def busy_fraction(self) -> Float64:
        """Share of the makespan in which a link is busy."""
        return self.busy_ns / max(self.makespan_ns, 1)

    @cached_property
    def busiest_first(self) -> Int64:
        """Links by falling utilization, then busy time, then number."""
        order = np.lexsort((-self.busy_ns, -self.utilization))
        return np.asarray(order, np.int64)

    @property
    def is_used(self) -> NDArray[np.bool_]:
        """Whether a link carried anything."""
        return self.num_bytes > 0

    def over_time(self, row: Int32, num_bins: int) -> Float64:
        """Return utilization over time, [rows, bins]: the mean of the links with each ``row``.

        ``row`` has a value a link, -1 for links that are left out; bins are equally long.
        """
        from flexsim.timeline.link_kernels import spread

        num_rows = int(row.max(initial=-1)) + 1
        bins = np.zeros((num_rows, num_bins))
        bin_ns = max(self.makespan_ns, 1) / num_bins
        spread(self.paced, row.astype(np.int32), bin_ns, bins)
        is_in = row >= 0
        bandwidth = self.device_graph.links.bandwidth_bytes_per_s[is_in]
        capacity = np.bincount(row[is_in], bandwidth, num_rows) * bin_ns / NS_PER_S
        return np.asarray(bins / capacity[:, None])

    def name(self, link: int) -> str:
        """Return a link as its two ends."""
        names, links = self.device_graph.vertex_names, self.device_graph.links
        return f"{names[links.source[link]]} → {names[links.target[link]]}"

    def to_frame(self) -> pd.DataFrame:
        """Return a row a link that carried anything, the busiest first.

        Columns: ``link`` (number in the device graph), ``source, target, kind, host`` (empty
        between hosts), ``bandwidth_bytes_per_s, num_bytes, busy_ns, busy_fraction, utilization``.
        """
        import pandas as pd

        links, names = self.device_graph.links, self.device_graph.vertex_names
        used = self.busiest_first[self.is_used[self.busiest_first]]
        hosts = host_of_links(self.device_graph)
        host_names = np.array([*self.device_graph.host_names, ""], object)
        columns = {
            "link": used,
            "source": [names[v] for v in links.source[used]],
            "target": [names[v] for v in links.target[used]],
            "kind": [links.link_kinds[kind] for kind in links.kind[used]],
            "host": host_names[hosts[used]],
            "bandwidth_bytes_per_s": links.bandwidth_bytes_per_s[used],
            "num_bytes": self.num_bytes[used],
            "busy_ns": self.busy_ns[used],
            "busy_fraction": self.busy_fraction[used],
            "utilization": self.utilization[used],
        }
        return pd.DataFrame(columns)


def link_facts(
    device_graph: DeviceGraph, makespan_ns: int, traffic: Traffic, paced: Traffic | None = None
) -> LinkFacts:
    """Return the facts of all links.

    ``traffic`` has each crossing whole; ``paced`` has it cut where its pace changes, and is
    needed only where paces do change.
    """
    from flexsim.timeline.link_kernels import add_up

    num_bytes = np.zeros(len(device_graph.links), np.int64)
    busy_ns = np.zeros_like(num_bytes)
    add_up(traffic, np.argsort(traffic.start_ns, kind="stable"), num_bytes, busy_ns)
    return LinkFacts(device_graph, makespan_ns, num_bytes, busy_ns, paced or traffic)


def host_of_links(graph: DeviceGraph) -> Int32:
    """Return the host that both ends of every link belong to; :data:`SHARED` between hosts."""
    source, target = (graph.host_of_vertex[v] for v in (graph.links.source, graph.links.target))
    return np.where(source == target, source, SHARED).astype(np.int32)
