"""The part of a report that tells about communication."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from rich.table import Table
from rich.text import Text

from flexsim.scenario.report_cells import percent, report_table
from flexsim.timeline.communication import communication_by_kind
from flexsim.timeline.links import LinkFacts
from flexsim.timeline.spans import Timeline
from flexsim.units import format_bytes, format_seconds


class Communicates(Protocol):
    """What the part needs of a result."""

    @property
    def metrics(self) -> Mapping[str, Any]:
        """The numbers by name."""

    @property
    def timeline(self) -> Timeline:
        """When each task ran."""

    @property
    def links(self) -> LinkFacts | str:
        """What the links did, or why that was not followed."""


def communication_parts(result: Communicates) -> list[Table | Text]:
    """Return the table of communication and what is known of links; nothing where there is none."""
    kinds = communication_by_kind(result.timeline)
    if not kinds:
        return []
    exposed_s = result.metrics["exposed_communication_s"]
    table = report_table("Communication", "bytes a device", "time a device", "of it exposed")
    for each in kinds:
        share = exposed_s.get(each.kind, 0.0) / each.time_s
        table.add_row(each.kind, *_sizes(each.num_bytes, each.time_s), percent(share))
    if len(kinds) > 1:
        time_s = sum(each.time_s for each in kinds)
        sizes = _sizes(sum(each.num_bytes for each in kinds), time_s)
        table.add_row("all", *sizes, percent(sum(exposed_s.values()) / time_s))
    return [table, Text(f"{links_sentence(result.links)}\n", style="dim")]


def links_sentence(links: LinkFacts | str) -> str:
    """Return which link was the busiest, or why links were not followed."""
    if isinstance(links, str):
        return f"links: {links}"
    if not links.is_used.any():
        return "links: nothing crossed any"
    link = int(links.busiest_first[0])
    graph = links.device_graph
    bandwidth = graph.links.bandwidth_bytes_per_s[link] / 1e9
    return (
        f"busiest link: {links.name(link)} ({graph.link_kinds[graph.links.kind[link]]}), "
        f"{percent(links.utilization[link])} of its {bandwidth:,.4g} GB/s used, busy "
        f"{percent(links.busy_fraction[link])} of the time"
    )


def _sizes(num_bytes: float, time_s: float) -> tuple[str, str]:
    return format_bytes(num_bytes), format_seconds(time_s)
