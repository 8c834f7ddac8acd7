"""The page of a sweep, from its results file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from flexsim.reports.parts import Cell, Fact, Page, Part, Section, Table, Text
from flexsim.reports.sweep_figures import front_figure, map_figures, scatter_figure
from flexsim.reports.sweep_table import (
    MEMORY,
    MFU,
    TIME,
    Results,
    fronts_of,
    read_results,
    short_names,
)
from flexsim.scenario.report_cells import percent
from flexsim.sweep.columns import COST, ERROR, OK, OUT_OF_MEMORY, REASON, SKIPPED, STATUS
from flexsim.sweep.equal_work import keys_of_work
from flexsim.sweep.fronts import has_equals
from flexsim.sweep.tally import pattern
from flexsim.units import format_bytes, format_seconds

_WHOLE_RATE = 1000.0
MOST_ROWS = 1000
"""Rows of the table of configurations; the results file has all."""


def _rate_text(number: float) -> str:
    return f"{number:,.0f}" if number >= _WHOLE_RATE else f"{number:.4g}"


_SHOWN = {
    TIME: ("iteration time", format_seconds),
    MFU: ("MFU", percent),
    "tokens_per_s": ("tokens a second", lambda number: f"{number:,.0f}"),
    "samples_per_s": ("{} a second", _rate_text),
    "bubble_fraction": ("bubble", percent),
    MEMORY: ("peak memory", format_bytes),
    "num_devices": ("devices", lambda number: f"{number:,.0f}"),
    COST: ("cost an iteration", lambda number: f"{number:,.4g}"),
}
"""Metrics of the tables: header and wording, where the results have them."""
_TOO_LARGE = "needs more memory than a device has"


def sweep_page(path: Path) -> Page:
    """Return the page of a sweep; ``path`` is its results file."""
    results = read_results(path)
    sections = [
        Section("configurations", "Configurations", _configurations(results)),
        Section("front", "Time against memory", _front(results)),
        Section("utilization", "Time against utilization", scatter_figure(results)),
        Section("maps", "Best of each split", map_figures(results)),
        Section("left-out", "Skipped, and why", _left_out(results)),
    ]
    shown = [section for section in sections if section.parts]
    subtitle = f"Sweep of {len(results.rows):,} configurations over {_told(results.varying())}"
    return Page(results.name, subtitle, _facts(results), shown)


def _told(keys: Sequence[str]) -> str:
    return ", ".join(keys) or "no key: all are alike"


def _facts(results: Results) -> list[Fact]:
    counts = Counter(status.partition(":")[0] for status in results.rows[STATUS].astype(str))
    known = [status for status in (OK, OUT_OF_MEMORY, SKIPPED, ERROR) if status in counts]
    facts = [Fact(status, f"{counts[status]:,}") for status in known]
    best = results.fitting
    if not len(best):
        return facts
    if not keys_of_work(results.varying()):
        facts.append(Fact("shortest iteration", format_seconds(float(best[TIME].min()))))
    if MFU in best and best[MFU].notna().any():
        facts.append(Fact("highest MFU", percent(float(best[MFU].max()))))
    return facts


def _configurations(results: Results) -> list[Part]:
    rows = results.simulated
    if not len(rows):
        return [Text("No configuration could be simulated.", "bad")]
    note = f"The first {MOST_ROWS:,} of {len(rows):,}; the file has all."
    notes = [note] if len(rows) > MOST_ROWS else []
    return [_table(results, rows.head(MOST_ROWS), notes)]


def _table(results: Results, rows: pd.DataFrame, notes: Sequence[str]) -> Table:
    """Return rows by keys, status and metrics; of the rates the one that suits the samples."""
    keys = results.varying() or list(results.keys)
    other = "samples_per_s" if results.samples == "sequences" else "tokens_per_s"
    known = [name for name in _SHOWN if name in rows and rows[name].notna().any()]
    metrics = [name for name in known if name != other]
    labels = [_SHOWN[name][0].format(results.samples) for name in metrics]
    headers = [*short_names(keys), STATUS, *labels]
    cells = [
        [
            *(key_cell(row[key]) for key in keys),
            Cell(str(row[STATUS])),
            *(_metric_cell(name, row[name]) for name in metrics),
        ]
        for row in rows[[*keys, STATUS, *metrics]].to_dict("records")
    ]
    return Table(headers, cells, notes, num_labels=len(keys) + 1)


def key_cell(value: Any) -> Cell:
    """Return the value of a key; empty where the configuration has none."""
    if pd.isna(value):
        return Cell("")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    number = float(value) if isinstance(value, int | float) else None
    return Cell(str(value), number)


def _metric_cell(name: str, value: Any) -> Cell:
    return Cell("") if pd.isna(value) else Cell(_SHOWN[name][1](value), float(value))


def _front(results: Results) -> list[Part]:
    rows = results.fitting
    if not len(rows) or MEMORY not in rows or not rows[MEMORY].notna().any():
        return []
    work = keys_of_work(results.varying())
    if not has_equals(rows, results.varying()):
        told = f"No two configurations that fit agree in {', '.join(work)}: there is no front."
        return [front_figure(results, []), Text(told, "muted")]
    fronts = fronts_of(rows, results.varying())
    each = f"; one for each {' and '.join(work)}" if work else ""
    note = (
        "The Pareto front: of configurations that fit, those that no other one beats in both "
        f"iteration time and peak memory{each}."
    )
    front = pd.concat([own for _, own in fronts])
    return [front_figure(results, fronts), _table(results, front, [note])]


def _left_out(results: Results) -> list[Part]:
    """Return how many rows were left out for which reason, the most frequent first."""
    rows = results.rows[results.rows[STATUS] != OK]
    if not len(rows):
        return []
    reasons = rows[REASON] if REASON in rows else pd.Series("", index=rows.index)
    counts = Counter(map(_why, rows[STATUS].astype(str), reasons))
    cells = [
        [Cell(status), Cell(reason), Cell(f"{count:,}", count)]
        for (status, reason), count in counts.most_common()
    ]
    note = "Numbers in reasons are left out, so that alike ones count together."
    return [Table(("status", "why", "configurations"), cells, [note], num_labels=2)]


def _why(status: str, reason: Any) -> tuple[str, str]:
    """Return a row's status and why; an error tells why in its status."""
    name, _, told = status.partition(": ")
    if not told and pd.isna(reason):
        return name, _TOO_LARGE if name == OUT_OF_MEMORY else ""
    return name, pattern(told or str(reason))
