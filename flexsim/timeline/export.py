"""Results as files: timeline.csv and metrics.csv, written whole or not at all."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flexsim.errors import FlexSimError, choices_text
from flexsim.files import whole_file
from flexsim.task_graph.kinds import ACTION_KINDS, TASK_KINDS
from flexsim.timeline.blocks import device_blocks
from flexsim.timeline.names import action_names
from flexsim.timeline.spans import Timeline, categorical, of_action

if TYPE_CHECKING:
    import pandas as pd

MOST_SPANS = 50_000
"""With more spans than this, files hold one row a block."""

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
    frame = timeline.to_frame() if detail == "operators" else block_frame(timeline)
    frame.insert(0, "detail", detail)
    with whole_file(path) as temporary:
        frame.to_csv(temporary, index=False)
    return detail


def block_frame(timeline: Timeline) -> pd.DataFrame:
    """Return one row a block: device, action, kind, start, end, busy time, tasks, bytes.

    ``pass`` is the action's letter; ``kind`` that of its tasks, which for communication
    tells what is communicated.
    """
    import pandas as pd

    blocks, actions = device_blocks(timeline), timeline.task_graph.actions
    passes = categorical(of_action(blocks.action, actions.kind, len(ACTION_KINDS)), _PASSES)
    return pd.DataFrame(
        {
            "device": blocks.place,
            "action": categorical(blocks.action, action_names(actions)),
            "stage": of_action(blocks.action, actions.stage),
            "microbatch": of_action(blocks.action, actions.microbatch),
            "pass": passes,
            "kind": categorical(blocks.kind, TASK_KINDS),
            "start_ns": blocks.start_ns,
            "end_ns": blocks.end_ns,
            "busy_ns": blocks.busy_ns,
            "num_tasks": blocks.num_tasks,
            "num_bytes": blocks.num_bytes,
        }
    )


_PASSES = (*ACTION_KINDS, "")


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
