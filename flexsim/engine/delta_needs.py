"""Needs that follow from others are left out, compiled: a replay visits what is left only.

A compute row waits on each of its devices for all that its needs leave there. Whatever waits for
that row on no other devices waits for those needs as well, and need not be told of them again.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexsim.numba_cache import inlined, kept_uncounted
from flexsim.task_graph.block_kernel import Linked
from flexsim.task_graph.block_pool import COMPUTE, HEAD_TYPE, Contents
from flexsim.task_graph.columns import Int32, Int64

_COMPUTE, _TYPE = COMPUTE, HEAD_TYPE
_NONE, _ONE = np.uint64(0), np.uint64(1)


class Needs(NamedTuple):
    """The needs that are left, and work space: ``known`` has a bit a row and row.

    Bit b of line r: row r waits on each of its devices for all that row b leaves there.
    """

    offsets: Int64
    rows: Int32
    known: NDArray[np.uint64]


def room_for_needs(num_rows: int, num_needs: int) -> Needs:
    """Return room for so many."""
    num_words = -(-num_rows // 64)
    known = np.empty((num_rows, num_words), np.uint64)
    return Needs(np.zeros(num_rows + 1, np.int64), np.empty(num_needs, np.int32), known)


@inlined
def _is_within(contents: Contents, row: int, other: int) -> bool:
    """Whether a content takes data on no other devices than ``other``, which computes."""
    if contents.head[other, _TYPE] != _COMPUTE:
        return False
    for word in range(contents.devices.shape[1] // 2):
        if contents.devices[row, word] & ~contents.devices[other, word] != _NONE:
            return False
    return True


@kept_uncounted
def reduce_needs(contents: Contents, linked: Linked, num_rows: int, needs: Needs) -> int:
    """Write the needs that do not follow from others, each once; return how many there are."""
    count = 0
    for row in range(num_rows):
        known, num_words = needs.known[row], (row >> 6) + 1
        known[:num_words] = 0
        first, last = linked.need_offsets[row], linked.need_offsets[row + 1]
        for i in range(first, last):
            need = linked.needs[i]
            if _is_within(contents, linked.content[row], linked.content[need]):
                for word in range((need >> 6) + 1):
                    known[word] |= needs.known[need, word]
        needs.offsets[row] = count
        for i in range(first, last):
            need = linked.needs[i]
            bit = _ONE << np.uint64(need & 63)
            if known[need >> 6] & bit == _NONE:
                known[need >> 6] |= bit
                needs.rows[count] = need
                count += 1
    needs.offsets[num_rows] = count
    return count
