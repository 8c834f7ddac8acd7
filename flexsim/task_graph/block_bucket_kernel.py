"""The compiled inner loop of the update: weights' collectives joined in buckets."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexsim.numba_cache import inlined, kept_uncounted
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


_KEY, _CONTENT, _SLOT, _SLOTS, _FIRST, _LAST = range(6)


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


@inlined
def _join_lines(lines: Lines, order: Int64, limit_bytes: float, buckets: Buckets) -> int:
    """Give every line a bucket and count the needs; return the number of buckets."""
    count = 0
    for line in order:
        key = lines.numbers[line, _KEY]
        buckets.of_line[line] = -1
        if key < 0:
            continue
        bucket = buckets.filling[key]
        if bucket < 0 or buckets.num_bytes[bucket] >= limit_bytes:
            bucket = count
            buckets.filling[key], buckets.key[bucket] = bucket, key
            buckets.content[bucket] = lines.numbers[line, _CONTENT]
            buckets.num_bytes[bucket] = 0.0
            count += 1
        else:
            buckets.content[bucket] = -1
        buckets.num_bytes[bucket] += lines.num_bytes[line]
        buckets.offsets[bucket + 1] += lines.numbers[line, _SLOTS]
        buckets.of_line[line] = bucket
        first = lines.numbers[line, _FIRST]
        buckets.ready[first] = max(buckets.ready[first], bucket)
    return count


@inlined
def _write_needs(lines: Lines, order: Int64, buckets: Buckets) -> None:
    """Write the needs of buckets; offsets end one bucket further than they began."""
    for line in order:
        bucket, first = buckets.of_line[line], lines.numbers[line, _SLOT]
        for i in range(first, first + lines.numbers[line, _SLOTS] if bucket >= 0 else first):
            buckets.needs[buckets.offsets[bucket]] = lines.slots[i]
            buckets.offsets[bucket] += 1


@inlined
def _write_waits(lines: Lines, order: Int64, num_slots: int, buckets: Buckets) -> int:
    """Write what the optimizer waits for and return how much."""
    count = 0
    for line in order:
        if lines.numbers[line, _LAST] == 0:
            continue
        slot, first = lines.numbers[line, _SLOT], lines.numbers[line, _FIRST]
        ready = buckets.ready[first]
        for i in range(slot, slot + lines.numbers[line, _SLOTS] if ready < 0 else slot):
            buckets.waits[count] = lines.slots[i]
            count += 1
        if ready >= 0 and first == line:
            buckets.waits[count] = num_slots + ready
            count += 1
    return count


@kept_uncounted
def fill_buckets(
    lines: Lines, order: Int64, limit_bytes: float, num_slots: int, buckets: Buckets
) -> None:
    """Join lines, taken in ``order``, until a bucket has ``limit_bytes``."""
    buckets.filling[:] = -1
    buckets.ready[:] = -1
    buckets.offsets[:] = 0
    count = _join_lines(lines, order, limit_bytes, buckets)
    for bucket in range(count):
        buckets.offsets[bucket + 1] += buckets.offsets[bucket]
    _write_needs(lines, order, buckets)
    for bucket in range(count, 0, -1):
        buckets.offsets[bucket] = buckets.offsets[bucket - 1]
    buckets.offsets[0] = 0
    buckets.counts[0] = count
    buckets.counts[1] = _write_waits(lines, order, num_slots, buckets)
