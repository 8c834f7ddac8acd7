"""``bubbles.csv``: the table behind the bubble picture as a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from flexsim.files import whole_file
from flexsim.plotting.bars import BAR_KINDS, Bars
from flexsim.plotting.bubble_table import bubble_bars
from flexsim.timeline.spans import Timeline
from flexsim.timeline.text import Column, labelled, write_rows
from flexsim.units import NS_PER_S


def write_bubbles(path: Path, timeline: Timeline) -> Path:
    """Write the bars in order of (rank, start), -1 where there is nothing to say; return the path.

    Columns: ``rank, kind, stage, microbatch, chunk, start_ns, end_ns``.
    """
    columns = _columns(bubble_bars(timeline))
    pieces = ["", *("," for _ in range(len(columns) - 1)), "\n"]
    with whole_file(path) as temporary, temporary.open("wb") as stream:
        stream.write((",".join(columns) + "\n").encode())
        write_rows(stream, pieces, list(columns.values()))
    return path


def _columns(bars: Bars) -> dict[str, Column]:
    return {
        "rank": Column(bars.rank),
        "kind": labelled(bars.kind, BAR_KINDS),
        "stage": Column(bars.stage),
        "microbatch": Column(bars.microbatch),
        "chunk": Column(bars.chunk),
        "start_ns": Column(np.round(bars.start_s * NS_PER_S).astype(np.int64)),
        "end_ns": Column(np.round(bars.end_s * NS_PER_S).astype(np.int64)),
    }
