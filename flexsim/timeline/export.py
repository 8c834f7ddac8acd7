"""Results as files: timeline.csv and metrics.csv, written whole or not at all."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from flexsim.errors import FlexSimError, choices_text
from flexsim.files import whole_file
from flexsim.task_graph.kinds import ACTION_KINDS, TASK_KINDS
from flexsim.timeline.names import action_names
from flexsim.timeline.spans import Timeline, frame_of, of_action
from flexsim.timeline.text import Column, labelled, write_rows

if TYPE_CHECKING:
    import pandas as pd

    from flexsim.timeline.links import LinkFacts
    from flexsim.timeline.memory_series import MemorySeries

MOST_SPANS = 50_000
"""With more spans than this, files hold one row a block."""

_SEPARATOR = re.compile(r'[,"\r\n]')

DETAILS = ("auto", "operators", "blocks")


def chosen_detail(timeline: Timeline, detail: str) -> str:
    """Return "operators" (a row a span) or "blocks", which "auto" chooses by size."""
    if detail not in DETAILS:
        raise FlexSimError(f"detail = {detail!r} is unknown: {choices_text(detail, DETAILS)}")
    if detail != "auto":
        return detail
    return "operators" if timeline.task_graph.num_tasks <= MOST_SPANS else "blocks"


def write_timeline(path: Path, timeline: Timeline, detail: str = "auto") -> str:
    """Write ``timeline.csv`` and return the detail that it holds; a column says so too."""
    detail = chosen_detail(timeline, detail)
    columns = timeline.columns() if detail == "operators" else block_columns(timeline)
    with whole_file(path) as temporary, temporary.open("wb") as stream:
        stream.write((",".join(["detail", *columns]) + "\n").encode())
        pieces = [f"{detail},", *("," for _ in range(len(columns) - 1)), "\n"]
        write_rows(stream, pieces, [_quoted(column) for column in columns.values()])
    return detail


def _quoted(column: Column) -> Column:
    """Return a column whose labels are cells of a CSV file."""
    if column.labels is None or not _SEPARATOR.search("".join(column.labels)):
        return column
    return replace(column, labels=[_cell(label) for label in column.labels])


def _cell(label: str) -> str:
    """Return a label, in quotes where it holds what separates cells or rows."""
    return '"' + label.replace('"', '""') + '"' if _SEPARATOR.search(label) else label


def block_columns(timeline: Timeline) -> dict[str, Column]:
    """Return one row a block: device, action, kind, start, end, busy time, tasks, bytes.

    ``pass`` is the action's letter; ``kind`` that of its tasks, which for communication
    tells what is communicated.
    """
    blocks, actions = timeline.device_blocks, timeline.task_graph.actions
    return {
        "device": Column(blocks.place),
        "action": labelled(blocks.action, action_names(actions)),
        "stage": Column(of_action(blocks.action, actions.stage)),
        "microbatch": Column(of_action(blocks.action, actions.microbatch)),
        "pass": labelled(of_action(blocks.action, actions.kind), ACTION_KINDS),
        "kind": labelled(blocks.kind, TASK_KINDS),
        "start_ns": Column(blocks.start_ns),
        "end_ns": Column(blocks.end_ns),
        "busy_ns": Column(blocks.busy_ns),
        "num_tasks": Column(blocks.num_tasks),
        "num_bytes": Column(blocks.num_bytes),
    }


def block_frame(timeline: Timeline) -> pd.DataFrame:
    """Return :func:`block_columns` as a table."""
    return frame_of(block_columns(timeline))


def write_metrics(
    path: Path, scenario_keys: Mapping[str, object], metrics: Mapping[str, object]
) -> None:
    """Write ``metrics.csv``: a header and one row, the scenario's keys before the metrics.

    Nested values are flattened: ``exposed_communication_s.tensor``,
    ``peak_memory_bytes_per_stage.0.weights``. An unknown value is an empty cell.
    """
    cells = [*flattened(scenario_keys), *flattened(metrics)]
    with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([key for key, _ in cells])
        writer.writerow(["" if value is None else value for _, value in cells])


def write_memory(path: Path, series: MemorySeries) -> None:
    """Write ``memory.csv``: a row a moment at which something comes or goes, in bytes.

    Of every pipeline rank it tells the fullest device.
    """
    with whole_file(path) as temporary, temporary.open("wb") as stream:
        columns = series.columns()
        stream.write((",".join(columns) + "\n").encode())
        pieces = ["", *("," for _ in range(len(columns) - 1)), "\n"]
        write_rows(stream, pieces, list(columns.values()))


def write_links(path: Path, facts: LinkFacts) -> None:
    """Write ``links.csv``: the columns of :meth:`LinkFacts.to_frame`, the busiest link first."""
    with whole_file(path) as temporary:
        facts.to_frame().to_csv(temporary, index=False, lineterminator="\n")


def flattened(value: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield ("a.b.0", leaf) for every leaf of nested mappings and sequences."""
    if isinstance(value, Mapping):
        items = [(str(key), inner) for key, inner in value.items()]
    elif isinstance(value, Sequence) and not isinstance(value, str):
        items = [(str(i), inner) for i, inner in enumerate(value)]
    else:
        yield prefix, value
        return
    for key, inner in items:
        yield from flattened(inner, f"{prefix}.{key}" if prefix else key)
