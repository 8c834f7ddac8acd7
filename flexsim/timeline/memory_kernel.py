"""The compiled scan that finds the fullest moment of every device."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexsim.numba_cache import kept_on_disk

Int64 = NDArray[np.int64]


class Passes(NamedTuple):
    """What passes hold, a row a pass and device."""

    order: Int64
    """The rows by device, and then by their middles."""
    line: Int64
    """The device's number."""
    start_ns: Int64
    end_ns: Int64
    most: Int64
    """Bytes that a pass adds when it holds most, by part."""
    left: Int64
    """Bytes that are left when it ends, by part."""


@kept_on_disk
def scan_peaks(passes: Passes, num_lines: int) -> tuple[Int64, Int64]:
    """Return, of every device, what it holds at most, by part, and the pass that runs then.

    A pass that begins before the one before it ends is cut off where that ends, or at its own
    middle; one without any length left holds nothing. -1 where nothing is ever held.
    """
    num_parts = passes.most.shape[1]
    parts = np.zeros((num_lines, num_parts), np.int64)
    held = np.zeros(num_parts, np.int64)
    highest = np.zeros(num_lines, np.int64)
    top = np.full(num_lines, -1)
    num_passes = len(passes.line)
    begin_ns = np.int64(0)
    before = -1
    for number in range(num_passes):
        at = passes.order[number]
        line = passes.line[at]
        if line != before:
            held[:] = 0
            begin_ns, before = passes.start_ns[at], line
        end_ns, next_ns = passes.end_ns[at], np.int64(0)
        after = passes.order[min(number + 1, num_passes - 1)]
        if after != at and passes.line[after] == line:
            next_ns = passes.start_ns[after]
            if end_ns > next_ns:
                middle_ns = (next_ns + passes.end_ns[after]) // 2
                end_ns = next_ns = min(end_ns, middle_ns)
        if end_ns > begin_ns:
            total = np.int64(0)
            for part in range(num_parts):
                total += held[part] + passes.most[at, part]
            if total > highest[line]:
                highest[line], top[line] = total, at
                for part in range(num_parts):
                    parts[line, part] = held[part] + passes.most[at, part]
        for part in range(num_parts):
            held[part] += passes.left[at, part]
        begin_ns = next_ns
    return parts, top
