"""The compiled writer of rows of text: digits and labels between fixed pieces."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexsim.numba_cache import inlined, kept_on_disk
from flexsim.task_graph.columns import Int64, UInt8

Bool = NDArray[np.bool_]


class Pieces(NamedTuple):
    """Texts one behind the other: text i is ``letters[first[i]:first[i + 1]]``."""

    first: Int64
    letters: UInt8


class Layout(NamedTuple):
    """How a row is written: column c stands behind piece c, the last piece ends the row.

    A value is a label where ``first_label`` of its column is not -1, counted from there, else
    digits; thousandths, with a point, where ``is_thousandths``.
    """

    pieces: Pieces
    labels: Pieces
    first_label: Int64
    is_thousandths: Bool


@inlined
def _put(first: Int64, letters: UInt8, which: int, text: UInt8, end: int) -> int:
    """Add one of several texts at ``end`` and return the new end."""
    for place in range(first[which], first[which + 1]):
        text[end] = letters[place]
        end += 1
    return end


@inlined
def _put_digits(number: int, text: UInt8, end: int) -> int:
    """Add a whole number at ``end`` and return the new end."""
    if number < 0:
        text[end] = 45  # "-"
        end, number = end + 1, -number
    length, rest = 1, number
    while rest >= 10:
        length, rest = length + 1, rest // 10
    for place in range(end + length - 1, end - 1, -1):
        text[place] = 48 + number % 10  # "0"
        number //= 10
    return end + length


@inlined
def _put_thousandths(number: int, text: UInt8, end: int) -> int:
    """Add ``number / 1000`` as Python writes it, and return the new end."""
    end = _put_digits(number // 1000, text, end)
    rest = number % 1000
    text[end] = 46  # "."
    text[end + 1] = 48 + rest // 100
    text[end + 2] = 48 + rest // 10 % 10
    text[end + 3] = 48 + rest % 10
    if rest % 10:
        return end + 4
    return end + 3 if rest % 100 else end + 2


@kept_on_disk
def put_rows(layout: Layout, values: Int64, text: UInt8) -> int:
    """Write rows of ``values`` (row, column) into ``text``; return how many letters they take."""
    (first_piece, pieces), (first_text, labels), first_label, is_thousandths = layout
    end, num_columns = 0, values.shape[1]
    for row in range(len(values)):
        for column in range(num_columns):
            end = _put(first_piece, pieces, column, text, end)
            value = values[row, column]
            if first_label[column] >= 0:
                end = _put(first_text, labels, first_label[column] + value, text, end)
            elif is_thousandths[column]:
                end = _put_thousandths(value, text, end)
            else:
                end = _put_digits(value, text, end)
        end = _put(first_piece, pieces, num_columns, text, end)
    return end
