"""What a page is made of: sections of texts, tables, interactive figures and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

Spec = dict[str, Any]
"""A figure as Plotly's JSON, or what the page's own script makes one of."""


class Cell(NamedTuple):
    """A cell of a table: what is read, and the number that it is sorted by (None: the text)."""

    text: str
    key: float | None = None


class Fact(NamedTuple):
    """One of the few numbers at the top of a page."""

    label: str
    text: str


class Swatch(NamedTuple):
    """An entry of a legend."""

    label: str
    color: str


@dataclass(frozen=True)
class Text:
    """A paragraph; ``tone`` is "", "good", "bad" or "muted"."""

    kind: ClassVar[str] = "text"
    text: str
    tone: str = ""


@dataclass(frozen=True)
class Table:
    """A table that a click on a header sorts."""

    kind: ClassVar[str] = "table"
    headers: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()
    num_labels: int = 1
    """The first so many columns are labels, flush left unless they are numbers like the others."""

    @property
    def are_numbers(self) -> list[bool]:
        """Which columns are flush right."""
        return [
            column >= self.num_labels or any(row[column].key is not None for row in self.rows)
            for column in range(len(self.headers))
        ]


@dataclass(frozen=True)
class Figure:
    """A figure that can be zoomed; ``drawer`` is "plot" or "timeline"."""

    kind: ClassVar[str] = "figure"
    name: str
    """Its id on the page."""
    label: str
    """What it shows, for those who cannot see it."""
    spec: Spec
    height_px: int
    caption: str = ""
    legend: Sequence[Swatch] = ()
    drawer: str = "plot"
    min_width_px: int = 0
    """On a narrower screen the figure can be scrolled sideways."""


@dataclass(frozen=True)
class Picture:
    """A PNG file, inlined."""

    kind: ClassVar[str] = "picture"
    label: str
    png: bytes
    caption: str = ""


@dataclass(frozen=True)
class Code:
    """Text in a font of one width, each line as it is."""

    kind: ClassVar[str] = "code"
    text: str


Part = Text | Table | Figure | Picture | Code


@dataclass(frozen=True)
class Section:
    """A part of a page with a title, and an entry in its table of contents."""

    name: str
    """Its id on the page."""
    title: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Page:
    """A whole page."""

    title: str
    subtitle: str
    facts: Sequence[Fact]
    sections: Sequence[Section]


def plain_cells(rows: Sequence[Sequence[str]]) -> list[list[Cell]]:
    """Return texts as cells that are sorted by the number which they begin with, if any."""
    return [[Cell(text, number_in(text)) for text in row] for row in rows]


_SCALES = {
    "ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0,
    "B": 1.0, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30, "TiB": 2.0**40,
}  # fmt: skip


def number_in(text: str) -> float | None:
    """Return the quantity that a text such as "54.1 GiB", "67.6 %" or "1,024" tells, if it does."""
    number, _, unit = text.replace(",", "").removeprefix("<").partition(" ")
    try:
        return float(number) * _SCALES.get(unit, 1.0)
    except ValueError:
        return None
