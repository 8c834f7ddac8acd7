"""What a device graph is, in lines that a person reads."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexsim.device_graph.cuts import bisection_bytes_per_s, diameter_hops, torus_of
from flexsim.device_graph.graph import DeviceGraph
from flexsim.units import NS_PER_S, format_bandwidth, format_seconds


@dataclass(frozen=True)
class LinkClass:
    """Directed links that are alike."""

    kind: str
    bandwidth_bytes_per_s: float
    latency_ns: int
    num_links: int

    @property
    def text(self) -> str:
        """Bandwidth and latency for people: ``300 GB/s, 300 ns``."""
        latency = format_seconds(self.latency_ns / NS_PER_S)
        return f"{format_bandwidth(self.bandwidth_bytes_per_s)}, {latency}"


def link_classes(graph: DeviceGraph) -> list[LinkClass]:
    """Return the links counted by kind, bandwidth and latency, kinds in the order of the file."""
    links = graph.links
    columns = np.stack([links.kind, links.bandwidth_bytes_per_s, links.latency_ns], axis=1)
    rows, counts = np.unique(columns, axis=0, return_counts=True)
    return [
        LinkClass(links.link_kinds[int(kind)], float(bandwidth), int(latency), int(count))
        for (kind, bandwidth, latency), count in zip(rows, counts, strict=True)
    ]


def describe(graph: DeviceGraph) -> list[tuple[str, str]]:
    """Return labelled facts about a device graph, in the order of reading."""
    facts = [
        ("name", graph.name),
        ("title", graph.title),
        ("file", graph.source),
        ("hosts", f"{graph.num_hosts:,}"),
        ("devices", f"{graph.num_devices:,} ({_device_types(graph)})"),
        ("torus", _torus_text(graph)),
        ("switches and NICs", f"{graph.num_vertices - graph.num_devices:,}"),
        *((f"{each.kind} links", _links_text(each)) for each in link_classes(graph)),
        ("links out of a device", _degree_text(graph)),
        ("diameter", f"{diameter_hops(graph)} links on the longest route"),
        ("bandwidth out of a host", _egress_text(graph)),
        ("bisection bandwidth", _bisection_text(graph)),
    ]
    return [(label, text) for label, text in facts if text]


def host_egress_bytes_per_s(graph: DeviceGraph) -> NDArray[np.float64]:
    """Return for every host the summed bandwidth of the links that leave it."""
    links = graph.links
    source, target = graph.host_of_vertex[links.source], graph.host_of_vertex[links.target]
    leaving = (source != target) & (source >= 0)
    bandwidth = links.bandwidth_bytes_per_s[leaving]
    egress = np.zeros(graph.num_hosts)
    np.add.at(egress, source[leaving], bandwidth)
    return egress


def _device_types(graph: DeviceGraph) -> str:
    counts = Counter(graph.device_types)
    return ", ".join(f"{count:,} × {name}" for name, count in counts.items())


def _links_text(links: LinkClass) -> str:
    return f"{links.num_links:,} directed, {links.text} each"


def _degree_text(graph: DeviceGraph) -> str:
    degrees = np.bincount(graph.links.source, minlength=graph.num_vertices)[: graph.num_devices]
    fewest, most = int(degrees.min()), int(degrees.max())
    return str(most) if fewest == most else f"{fewest} to {most}"


def _egress_text(graph: DeviceGraph) -> str:
    if graph.num_hosts == 1:
        return ""
    least = host_egress_bytes_per_s(graph).min()
    return f"{format_bandwidth(float(least))} each way"


def _bisection_text(graph: DeviceGraph) -> str:
    if graph.num_devices == 1:
        return ""
    bandwidth, cut = bisection_bytes_per_s(graph)
    return f"{format_bandwidth(bandwidth)} each way, {cut}"


def _torus_text(graph: DeviceGraph) -> str:
    torus = torus_of(graph)
    if torus is None:
        return ""
    around = [f"{d + 1}" for d, is_ring in enumerate(torus.rings) if is_ring]
    wraps = f"wrap-around in dimensions {', '.join(around)}" if around else "no wrap-around"
    pods = graph.num_devices // torus.size
    parts = [" x ".join(map(str, torus.shape)), wraps, *(["twisted"] if torus.twisted else [])]
    return ", ".join([*parts, *([f"{pods} pods"] if pods > 1 else [])])
