"""The compiled writing of one row's content by device."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexsim.numba_cache import kept_uncounted
from flexsim.task_graph.columns import Int32, Int64


class Content(NamedTuple):
    """What of one row is kept by device: see ``Contents``."""

    devices: NDArray[np.uint64]
    leader: Int32
    num_left: Int64
    work_ns: Int64
    first: Int32


@kept_uncounted
def write_content(groups: Int32, targets: Int32, duration_ns: Int64, content: Content) -> None:
    """Write a row's devices; ``targets`` is empty for what is no transfer."""
    num_words = len(content.devices) // 2
    one = np.uint64(1)
    content.devices[:] = 0
    content.leader[:] = -1
    content.num_left[:] = 0
    content.work_ns[:] = 0
    content.first[:] = 0
    is_transfer = len(targets) > 0
    for member in range(len(groups)):
        for place in range(groups.shape[1]):
            device = groups[member, place]
            content.devices[device >> 6] |= one << np.uint64(device & 63)
            content.leader[device] = groups[member, 0]
            if not is_transfer:
                content.devices[num_words + (device >> 6)] |= one << np.uint64(device & 63)
                content.num_left[device] = 1
                content.work_ns[device] = duration_ns[member]
        if not is_transfer:
            content.first[groups[member, 0]] = member
        if is_transfer:
            device = targets[member]
            content.devices[num_words + (device >> 6)] |= one << np.uint64(device & 63)
            content.num_left[device] += 1
            content.first[groups[member, 0] + 1] += 1
    if is_transfer:
        for device in range(len(content.leader)):
            content.first[device + 1] += content.first[device]
