"""Tables written as text, millions of rows: whole numbers and labels between fixed pieces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from flexsim.ragged import offsets_of
from flexsim.task_graph.columns import Int64, UInt8

if TYPE_CHECKING:
    from flexsim.timeline.text_kernel import Layout, Pieces

_NUM_ROWS_AT_ONCE = 8192
_MOST_DIGITS = 24
_MOST_EXACT_THOUSANDTHS = 10**15
"""Below, a float has at most 15 digits before and behind the point, all of them its own."""


@dataclass(frozen=True, eq=False)
class Column:
    """Whole numbers, or positions in ``labels``, or thousandths written with a point."""

    values: Int64
    labels: Sequence[str] | None = None
    is_thousandths: bool = False


def labelled(codes: NDArray[np.integer], names: Sequence[str]) -> Column:
    """Return ``names[codes]``; the empty text for code -1."""
    values = codes.astype(np.int64)
    return Column(np.where(values < 0, len(names), values), [*names, ""])


def thousandths(values: Int64) -> Column:
    """Return ``values / 1000`` as Python writes floats."""
    if values.max(initial=0) < _MOST_EXACT_THOUSANDTHS:
        return Column(values, is_thousandths=True)
    return Column(np.arange(len(values)), [repr(value / 1000) for value in values.tolist()])


def write_rows(stream: BinaryIO, pieces: Sequence[str], columns: Sequence[Column]) -> None:
    """Write a line a row: each column behind a piece of text, the last piece at the end."""
    from flexsim.timeline.text_kernel import put_rows

    layout = _layout(pieces, columns)
    text = np.empty(_NUM_ROWS_AT_ONCE * _longest_row(layout), np.uint8)
    for values in _chunks(columns):
        stream.write(text[: put_rows(layout, values, text)].data)


def _chunks(columns: Sequence[Column]) -> Iterator[Int64]:
    for first in range(0, len(columns[0].values), _NUM_ROWS_AT_ONCE):
        rows = slice(first, first + _NUM_ROWS_AT_ONCE)
        yield np.stack([column.values[rows] for column in columns], axis=1)


def _layout(pieces: Sequence[str], columns: Sequence[Column]) -> Layout:
    from flexsim.timeline.text_kernel import Layout

    num_labels = [len(column.labels or ()) for column in columns]
    has_labels = [column.labels is not None for column in columns]
    return Layout(
        _pieces(pieces),
        _pieces([label for column in columns for label in column.labels or ()]),
        np.where(has_labels, offsets_of(np.array(num_labels))[:-1], -1),
        np.array([column.is_thousandths for column in columns]),
    )


def _pieces(texts: Sequence[str]) -> Pieces:
    from flexsim.timeline.text_kernel import Pieces

    encoded = [text.encode() for text in texts]
    lengths = np.array([len(text) for text in encoded], np.int64)
    return Pieces(offsets_of(lengths), _letters(b"".join(encoded)))


def _letters(text: bytes) -> UInt8:
    return np.frombuffer(text, np.uint8).copy()


def _longest_row(layout: Layout) -> int:
    longest_label = int(np.diff(layout.labels.first).max(initial=0))
    longest_value = max(longest_label, _MOST_DIGITS)
    return len(layout.pieces.letters) + len(layout.first_label) * longest_value
