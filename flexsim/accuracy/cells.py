"""Reading a table of runs from CSV: one row of texts a run, numbers where they are asked for."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flexsim.accuracy.columns import RunsError, check_header
from flexsim.accuracy.spellings import spelled

_DELIMITERS = (",", ";", "\t")
_EMPTY = {"", "-", "–", "—", "nan", "n/a", "na", "null", "?"}


class UnsimulatableError(RunsError):
    """One run cannot be simulated; the message says why, without naming the run."""


@dataclass(frozen=True)
class Cells:
    """The texts of one row by column; a column that the table lacks is empty."""

    source: str
    """The file."""
    line: int
    """Of the file, counted from 1."""
    texts: Mapping[str, str]
    problem: str = ""
    """Why the row cannot be read."""

    def text(self, column: str) -> str:
        """Return a cell without blanks around it; "" where it is empty or says so."""
        text = self.texts.get(column, "").strip()
        return "" if text.lower() in _EMPTY else text

    def words(self, *columns: str) -> str:
        """Return some cells as one text in lower case, to look for words in."""
        return " ".join(self.text(column) for column in columns).lower()

    def number(self, column: str) -> float | None:
        """Return a number above zero, None where the cell is empty."""
        text = self.text(column)
        if not text:
            return None
        value = _parsed(text)
        if value is None or not math.isfinite(value) or value <= 0:
            raise UnsimulatableError(f"{column} = {text!r} is not a number above zero")
        return value

    def count(self, column: str) -> int | None:
        """Return a whole number of at least 1, None where the cell is empty."""
        value = self.number(column)
        if value is not None and value != round(value):
            raise UnsimulatableError(f"{column} = {self.text(column)!r} is not a whole number")
        return None if value is None else round(value)

    def needed(self, column: str) -> int:
        """Return a whole number that the run cannot do without."""
        value = self.count(column)
        if value is None:
            raise UnsimulatableError(f"{column} is empty")
        return value

    def known(self, column: str, table: Sequence[tuple[str, str]]) -> str:
        """Return what a cell is called here, by a table of spellings that has a line for it."""
        found = spelled(self.text(column), table)
        if found is None:
            choices = ", ".join(dict.fromkeys(name for _, name in table if name))
            raise UnsimulatableError(f"{column} = {self.text(column)!r} is none of {choices}")
        return found

    @property
    def facts(self) -> dict[str, float]:
        """Numbers that ``other_metric`` gives as ``key=value``."""
        pairs = re.findall(
            r"(\w+)\s*=\s*~?([-+]?[\d.]+(?:[eE][-+]?\d+)?)", self.text("other_metric")
        )
        found = ((key, _parsed(value)) for key, value in pairs)
        return {key: value for key, value in found if value is not None}


def read_cells(path: Path) -> list[Cells]:
    """Return the rows of a CSV file; raise :class:`RunsError` where it is not a table of runs."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "it is not UTF-8 text"
        raise RunsError(f"{path}: cannot be read: {reason}") from problem
    first = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter)
    try:
        rows = [(reader.line_num, row) for row in reader if any(map(str.strip, row))]
    except csv.Error as problem:
        raise RunsError(f"{path}, line {reader.line_num}: {problem}") from problem
    return _with_header(path, rows)


def _with_header(path: Path, rows: list[tuple[int, list[str]]]) -> list[Cells]:
    if not rows:
        raise RunsError(f"{path}: the file is empty; its first line must name the columns")
    header = [name.strip().lower() for name in rows[0][1]]
    check_header(str(path), header)
    return [_cells(str(path), line, header, row) for line, row in rows[1:]]


def _cells(source: str, line: int, header: list[str], row: list[str]) -> Cells:
    extra = [text for text in row[len(header) :] if text.strip()]
    problem = f"line {line} has more cells than the {len(header)} columns" if extra else ""
    return Cells(source, line, dict(zip(header, row, strict=False)), problem)


def _parsed(text: str) -> float | None:
    """Return a number: thousands may be set apart, a remark in parentheses may follow."""
    bare = re.sub(r"\s*\([^()]*\)$", "", text).lstrip("~≈ ")
    try:
        return float(re.sub(r"(?<=\d)[,_ ](?=\d{3}\b)", "", bare))
    except ValueError:
        return None
