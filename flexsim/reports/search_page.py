"""The page of a search, from the files that it wrote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from flexsim.reports.files import read_table
from flexsim.reports.parts import Cell, Code, Fact, Figure, Page, Part, Section, Table, Text
from flexsim.reports.search_trace import improvements, trace_figure
from flexsim.reports.timeline import Frame, timeline_figure
from flexsim.units import NS_PER_S, format_bytes, format_seconds

_TRACE_COLUMNS = (
    "chain", "proposal", "kind", "letters", "makespan_ns", "outcome", "current_ns", "best_ns",
)  # fmt: skip
_SPAN_COLUMNS = ("strategy", "device", "kind", "start_ns", "end_ns")
MOST_DEVICES = 16
"""Devices of a timeline; of more, so many spread over all are shown."""
_BEST = "best found"


def search_page(folder: Path, summary: Mapping[str, Any]) -> Page:
    """Return the page of a search; ``summary`` is the content of its ``summary.json``."""
    trace = read_table(folder / "search.csv", _TRACE_COLUMNS, may_lack=True)
    sections = [
        Section("numbers", "Numbers", [_numbers(summary["numbers"]), *_words(summary)]),
        Section("trace", "Best so far", [trace_figure(trace), _improvements(trace)]),
        Section("strategies", "Strategies", _strategies(summary)),
        Section("timelines", "Timelines", _timelines(folder)),
        Section("refusals", "Infeasible proposals", _refusals(summary["refusals"])),
        Section("scenario", "Scenario", [Code(summary["scenario"])] * bool(summary["scenario"])),
    ]
    subtitle = f"Search for a faster strategy on {summary['num_devices']:,} devices"
    shown = [section for section in sections if section.parts]
    return Page(summary["title"], subtitle, _facts(summary["numbers"]), shown)


def _facts(numbers: Mapping[str, Any]) -> list[Fact]:
    best_s, base_s = numbers["best_iteration_time_s"], numbers["baseline_iteration_time_s"]
    return [
        Fact("best iteration", format_seconds(best_s)),
        Fact("data parallelism", format_seconds(base_s)),
        Fact("times as fast as data parallelism", f"{base_s / best_s:.3g}"),
        Fact("proposals", f"{numbers['proposals']:,}"),
    ]


def _numbers(numbers: Mapping[str, Any]) -> Table:
    """Return what the command prints of a search, but for what depends on the machine."""
    own_s = numbers["expert_iteration_time_s"]
    rows = [
        ("method", numbers["method"] + (", interrupted" if numbers["interrupted"] else "")),
        ("best iteration", format_seconds(numbers["best_iteration_time_s"])),
        ("data parallelism", format_seconds(numbers["baseline_iteration_time_s"])),
        *([("the scenario's own", format_seconds(own_s))] if own_s is not None else []),
        ("proposals", f"{numbers['proposals']:,}"),
        ("accepted", f"{numbers['acceptance_rate']:.1%}".replace("%", " %")),
        ("cut off", f"{numbers['cut_off']:,}"),
        ("infeasible", f"{numbers['infeasible']:,}"),
        ("proven optimal", "yes" if numbers["proven_optimal"] else "no"),
    ]
    return Table(("Search", ""), [[Cell(label), Cell(text)] for label, text in rows])


def _words(summary: Mapping[str, Any]) -> list[Text]:
    return [Text(sentence) for sentence in summary["words"]]


def _improvements(trace: pd.DataFrame) -> Table:
    """Return the proposals that were better than all before them in their chain."""
    headers = ("chain", "proposal", "kind", "letters", "iteration time")
    rows = [
        [
            Cell(str(row["chain"]), row["chain"]),
            Cell(f"{row['proposal']:,}", row["proposal"]),
            Cell(str(row["kind"])),
            Cell("" if pd.isna(row["letters"]) else row["letters"]),
            Cell(format_seconds(row["best_ns"] / NS_PER_S), row["best_ns"]),
        ]
        for row in improvements(trace).to_dict("records")
    ]
    note = "Proposals that were better than all before them in their chain; letters of SOAP."
    return Table(headers, rows, [note], num_labels=4)


def _strategies(summary: Mapping[str, Any]) -> list[Part]:
    headers = ("Strategy", "iteration time", "sent by all", "computing time of all")
    rows = [
        [
            Cell(each["name"]),
            Cell(format_seconds(each["iteration_time_s"]), each["iteration_time_s"]),
            Cell(format_bytes(each["communication_bytes"]), each["communication_bytes"]),
            Cell(format_seconds(each["compute_time_s"]), each["compute_time_s"]),
        ]
        for each in summary["strategies"]
    ]
    return [Table(headers, rows), _operators(summary["operators"])]


def _operators(lines: list[Mapping[str, str]]) -> Table:
    """Return the best strategy, a row a group of operators that are cut alike."""
    columns = ("operators", "letters", "degrees", "devices")
    rows = [[Cell(line[column]) for column in columns] for line in lines]
    note = "The best strategy: which dimensions are cut into how many parts, on which devices."
    return Table(("Operator", "letters", "degrees", "devices"), rows, [note], num_labels=4)


def _timelines(folder: Path) -> list[Part]:
    """Return a timeline a strategy, the best first, all on axes of one length."""
    table = read_table(folder / "timelines.csv", _SPAN_COLUMNS)
    end_ns = int(table["end_ns"].max()) if len(table) else 0
    names = sorted(table["strategy"].unique(), key=lambda name: name != _BEST)
    parts: list[Part] = []
    for number, name in enumerate(names):
        own = table[table["strategy"] == name]
        took = format_seconds(int(own["end_ns"].max()) / NS_PER_S)
        parts += [Text(f"{name}: {took}"), _timeline(own, f"timeline-{number}", end_ns)]
    return parts


def _timeline(table: pd.DataFrame, name: str, end_ns: int) -> Figure:
    devices = np.unique(table["device"].to_numpy())
    shown = devices[:: max(1, -(-len(devices) // MOST_DEVICES))]
    rows = table[table["device"].isin(shown)].rename(columns={"device": "row"})
    rows = rows.assign(stage=-1, microbatch=-1, chunk=-1)
    few = f" {len(shown)} of {len(devices)} devices are shown." if len(shown) < len(devices) else ""
    caption = f"Computing above, communication as low bars below it.{few}"
    return timeline_figure(rows, Frame(name, "device", end_ns, ("communication",)), caption)


def _refusals(refusals: Mapping[str, int]) -> list[Part]:
    rows = [[Cell(reason), Cell(f"{times:,}", times)] for reason, times in refusals.items()]
    return [Table(("Why", "times"), rows)] if rows else []
