"""What links carried: a table of the busiest, and the picture of them against time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flexsim.files import is_file
from flexsim.reports.files import read_table
from flexsim.reports.parts import Cell, Part, Picture, Table
from flexsim.units import NS_PER_S, format_bandwidth, format_bytes, format_seconds

if TYPE_CHECKING:
    import pandas as pd

MOST_LINKS = 200
_COLUMNS = (
    "source", "target", "kind", "bandwidth_bytes_per_s", "num_bytes", "busy_ns",
    "busy_fraction", "utilization",
)  # fmt: skip
_HEADERS = ("from", "to", "kind", "bandwidth", "carried", "busy", "busy share", "utilization")


def link_parts(folder: Path) -> list[Part]:
    """Return table and picture of the links of a run that followed them."""
    table = read_table(folder / "links.csv", _COLUMNS)
    rows = [_cells(row) for _, row in table.head(MOST_LINKS).iterrows()]
    left_out = f"The {MOST_LINKS} busiest of {len(table):,}; links.csv has all."
    notes = [left_out] if len(table) > MOST_LINKS else []
    return [Table(_HEADERS, rows, notes, num_labels=3), *_picture(folder / "links.png")]


def _cells(row: pd.Series[float]) -> list[Cell]:
    busy_s = row["busy_ns"] / NS_PER_S
    return [
        *(Cell(str(row[name])) for name in _COLUMNS[:3]),
        Cell(format_bandwidth(row["bandwidth_bytes_per_s"]), row["bandwidth_bytes_per_s"]),
        Cell(format_bytes(row["num_bytes"]), row["num_bytes"]),
        Cell(format_seconds(busy_s), busy_s),
        *(Cell(f"{100 * row[name]:.1f} %", row[name]) for name in _COLUMNS[-2:]),
    ]


def _picture(path: Path) -> list[Part]:
    if not is_file(path):
        return []
    caption = "Utilization of links against time, the busiest of each kind."
    return [Picture(caption, path.read_bytes(), caption)]
