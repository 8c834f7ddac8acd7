"""Reading what a run, a search or a sweep wrote, with a sentence where something is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexsim.errors import FlexSimError
from flexsim.files import is_file, reason_of
from flexsim.scenario.summary import SUMMARY

if TYPE_CHECKING:
    import pandas as pd


class ReportError(FlexSimError):
    """There is nothing to report, or a file of it is missing or malformed."""


def read_summary(path: Path) -> dict[str, Any]:
    """Return the content of ``summary.json``."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise ReportError(f"{path}: cannot be read: {reason_of(problem)}") from problem
    if not isinstance(content, dict) or content.get("kind") not in ("run", "search"):
        raise ReportError(f"{path}: is not the summary of a flexsim run or search")
    return content


def check_files(folder: Path, sizes: Mapping[str, int]) -> None:
    """Raise :class:`ReportError` where a file was written again since, or is missing."""
    for name, num_bytes in sizes.items():
        path = folder / name
        if not is_file(path):
            raise ReportError(f"{path}: there is no such file, though {SUMMARY} names it")
        if path.stat().st_size != num_bytes:
            raise ReportError(
                f"{path}: is of another run than {SUMMARY} beside it, which names a file of"
                f" {num_bytes:,} bytes; do the run again"
            )


def read_table(path: Path, columns: Sequence[str], may_lack: bool = False) -> pd.DataFrame:
    """Return a CSV file that must have ``columns``.

    Cells of nanoseconds are empty only where they ``may_lack``.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path, usecols=lambda name: name in columns)
    except (OSError, ValueError) as problem:
        raise ReportError(f"{path}: cannot be read: {reason_of(problem)}") from problem
    _check_columns(path, table, columns, "if" if may_lack else "i")
    return table


def _check_columns(path: Path, table: pd.DataFrame, columns: Sequence[str], kinds: str) -> None:
    """Raise :class:`ReportError` where a table lacks a column, or a number in one of ``_ns``."""
    for name in columns:
        if name not in table.columns:
            found = ", ".join(map(str, table.columns)) or "none of them"
            raise ReportError(f"{path}: has no column {name!r}; it has {found}")
        if name.endswith("_ns") and len(table) and table[name].dtype.kind not in kinds:
            raise ReportError(f"{path}: column {name!r} should hold numbers only")
