"""The compiled inner loop of the update: weights' collectives joined in buckets."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexsim.numba_cache import kept_uncounted
from flexsim.task_graph.columns import Int32, Int64

Float64 = NDArray[np.float64]


class Lines(NamedTuple):
    """What every part of every weight needs, a line a collective; -1 in ``order``: no line.

    ``numbers`` has, a line: the collective's key (-1: none is needed), its content if it stays
    alone, first and number of the part's ``slots``, the first line of the same weight on the
    same mesh, and whether the optimizer waits for it (0: something else does first).
    """

    order: Int64
    num_bytes: Float64
    numbers: Int32
    slots: Int32


LINE_KEY, LINE_CONTENT, LINE_SLOT, LINE_SLOTS, LINE_FIRST, LINE_LAST = range(6)


class Buckets(NamedTuple):
    """Buckets in the order of their first lines: contents (-1: to be found), bytes and keys.

    The needs of bucket b are ``needs[offsets[b]:offsets[b + 1]]``, slots all; ``waits`` is what
    the optimizer waits for: slots, or buckets by number behind the number of slots. ``of_line``
    is the bucket of every line, ``ready`` the last of every first line, -1: none. ``counts``
    are the numbers of buckets, and of waits. ``filling`` is work space, a value a key.
    """

    content: Int32
    num_bytes: Float64
    key: Int32
    offsets: Int64
    needs: Int32
    waits: Int32
    of_line: Int32
    ready: Int32
    counts: Int64
    filling: Int32


@kept_uncounted
def fill_buckets(
    lines: Lines, order: Int64, limit_bytes: float, num_slots: int, buckets: Buckets
) -> None:
    """Join lines, taken in ``order``, until a bucket has ``limit_bytes``."""
    buckets.filling[:] = -1
    buckets.ready[:] = -1
    buckets.offsets[:] = 0
    count = 0
    for line in order:
        key = lines.numbers[line, 0]
        if key < 0:
            buckets.of_line[line] = -1
            continue
        bucket = buckets.filling[key]
        if bucket < 0 or buckets.num_bytes[bucket] >= limit_bytes:
            bucket = count
            buckets.filling[key] = bucket
            buckets.content[bucket], buckets.key[bucket] = lines.numbers[line, 1], key
            buckets.num_bytes[bucket] = 0.0
            count += 1
        else:
            buckets.content[bucket] = -1
        buckets.num_bytes[bucket] += lines.num_bytes[line]
        buckets.offsets[bucket + 1] += lines.numbers[line, 3]
        buckets.of_line[line] = bucket
        first = lines.numbers[line, 4]
        buckets.ready[first] = max(buckets.ready[first], bucket)
    for bucket in range(count):
        buckets.offsets[bucket + 1] += buckets.offsets[bucket]
    num_waits = 0
    for line in order:
        first_slot, num_of_line = lines.numbers[line, 2], lines.numbers[line, 3]
        bucket = buckets.of_line[line]
        if bucket >= 0:
            for i in range(first_slot, first_slot + num_of_line):
                buckets.needs[buckets.offsets[bucket]] = lines.slots[i]
                buckets.offsets[bucket] += 1
        if lines.numbers[line, 5] == 0:
            continue
        first = lines.numbers[line, 4]
        ready = buckets.ready[first]
        if ready < 0:
            for i in range(first_slot, first_slot + num_of_line):
                buckets.waits[num_waits] = lines.slots[i]
                num_waits += 1
        elif first == line:
            buckets.waits[num_waits] = num_slots + ready
            num_waits += 1
    for bucket in range(count, 0, -1):
        buckets.offsets[bucket] = buckets.offsets[bucket - 1]
    buckets.offsets[0] = 0
    buckets.counts[0], buckets.counts[1] = count, num_waits
