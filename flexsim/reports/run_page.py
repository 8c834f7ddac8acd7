"""The page of a run, from the files that it wrote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flexsim.reports.files import read_table
from flexsim.reports.links import link_parts
from flexsim.reports.memory import device_series, memory_figures
from flexsim.reports.parts import (
    Code,
    Fact,
    Page,
    Part,
    Section,
    Table,
    Text,
    plain_cells,
)
from flexsim.reports.timeline import Frame, timeline_figure
from flexsim.reports.waterfall import waterfall_figure
from flexsim.scenario.report_cells import percent
from flexsim.timeline.memory import PARTS
from flexsim.timeline.waterfall import Waterfall, WaterfallStep
from flexsim.units import format_bytes

_BAR_COLUMNS = ("rank", "kind", "stage", "microbatch", "chunk", "start_ns", "end_ns")
_MEMORY_COLUMNS = ("device", "rank", "time_ns", *PARTS)
_OF_OTHER_SECTIONS = ("Communication", "Peak memory")


def run_page(folder: Path, summary: Mapping[str, Any]) -> Page:
    """Return the page of a run; ``summary`` is the content of its ``summary.json``."""
    metrics = summary["metrics"]
    sections = [
        Section("numbers", "Numbers", _numbers(summary)),
        Section("waterfall", "Where the time goes", [_waterfall(summary["waterfall"])]),
        Section("timeline", "Timeline", [_timeline(folder, summary)]),
        Section("memory", "Memory", _memory(folder, summary)),
        Section("communication", "Communication", _communication(folder, summary)),
        Section("scenario", "Scenario", _scenario(summary["scenario"])),
    ]
    subtitle = f"One simulated training iteration on {metrics['num_devices']:,} devices"
    shown = [section for section in sections if section.parts]
    return Page(summary["title"], subtitle, _facts(summary), shown)


def _facts(summary: Mapping[str, Any]) -> list[Fact]:
    metrics, capacity = summary["metrics"], summary["memory_capacity_bytes"]
    facts = [
        Fact(label, _first_number(summary, label))
        for label in ("iteration time", "model FLOP utilization (MFU)")
    ]
    facts.append(Fact("pipeline bubble", percent(metrics["bubble_fraction"])))
    if (peak := metrics.get("peak_memory_bytes")) is None:
        return facts
    return [*facts, Fact("peak memory", f"{format_bytes(peak)} of {format_bytes(capacity)}")]


def _first_number(summary: Mapping[str, Any], label: str) -> str:
    """Return what a printed row says first."""
    rows = [row for each in summary["tables"] for row in each["rows"]]
    return next(str(row[1]) for row in rows if row[0] == label)


def printed_table(content: Mapping[str, Any]) -> Table:
    """Return a table as the command prints it."""
    return Table(content["headers"], plain_cells(content["rows"]), content["notes"])


def _numbers(summary: Mapping[str, Any]) -> list[Part]:
    tables = [each for each in summary["tables"] if each["title"] not in _OF_OTHER_SECTIONS]
    sizes = [Text(line, "muted") for line in summary["sizes"]]
    return [*_verdict(summary), *map(printed_table, tables), *sizes]


def _verdict(summary: Mapping[str, Any]) -> list[Text]:
    """Return whether it fits in memory, where that is known."""
    fits = summary["metrics"].get("fits_memory")
    notes = [note for each in _named(summary, "Peak memory") for note in each["notes"]]
    return [] if fits is None else [Text(note, "good" if fits else "bad") for note in notes]


def _named(summary: Mapping[str, Any], title: str) -> list[Mapping[str, Any]]:
    return [each for each in summary["tables"] if each["title"] == title]


def _waterfall(content: Mapping[str, Any]) -> Part:
    steps = tuple(WaterfallStep(**step) for step in content["steps"])
    return waterfall_figure(Waterfall(content["iteration_ns"], content["num_devices"], steps))


def _timeline(folder: Path, summary: Mapping[str, Any]) -> Part:
    table = read_table(folder / "bubbles.csv", _BAR_COLUMNS)
    caption = (
        "One device a pipeline rank: a bar an action, numbered by its microbatch; later chunks of "
        "a rank are lighter. Communication is shown where it is not hidden behind computing."
    )
    frame = Frame("timeline-figure", "rank", summary["end_ns"])
    return timeline_figure(table.rename(columns={"rank": "row"}), frame, caption)


def _memory(folder: Path, summary: Mapping[str, Any]) -> list[Part]:
    tables = [printed_table(each) for each in _named(summary, "Peak memory")]
    if not tables or "memory.csv" not in summary["files"]:
        return [*tables]
    series = device_series(read_table(folder / "memory.csv", _MEMORY_COLUMNS))
    capacity_bytes = summary["memory_capacity_bytes"]
    return [*memory_figures(series, summary["end_ns"], capacity_bytes), *tables]


def _communication(folder: Path, summary: Mapping[str, Any]) -> list[Part]:
    tables = map(printed_table, _named(summary, "Communication"))
    return [*tables, *(link_parts(folder) if "links.csv" in summary["files"] else [])]


def _scenario(text: str) -> list[Part]:
    return [Code(text)] if text else []
