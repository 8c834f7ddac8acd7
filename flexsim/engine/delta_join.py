"""Where forward, backward and update are joined on every device, compiled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexsim.numba_cache import inlined, kept_uncounted
from flexsim.task_graph.block_kernel import Linked
from flexsim.task_graph.block_pool import COMPUTE, HEAD_KIND, HEAD_TYPE, Contents
from flexsim.task_graph.columns import Int32, Int64
from flexsim.task_graph.kinds import TASK_CODE

_INPUT = TASK_CODE["input-gradient"]
_COMPUTE, _HEAD_TYPE, _HEAD_KIND = COMPUTE, HEAD_TYPE, HEAD_KIND


class Joints(NamedTuple):
    """On which device a row also waits for another one.

    The waits of row r are lines ``offsets[r]:offsets[r + 1]`` of ``waits``: device and row.
    ``exits`` (a line an action, a value a device) and ``before`` (bits a row) are work space.
    """

    offsets: Int64
    waits: Int32
    exits: Int32
    before: NDArray[np.uint64]


@inlined
def _find_exits(
    contents: Contents, linked: Linked, rows: tuple[int, int], wanted: int, exits: Int32
) -> None:
    """Write the last row of the wanted kind on every device; the last of any where none is."""
    num_devices = len(exits)
    exits[:] = -1
    for preferred in (True, False):
        for row in range(rows[1] - 1, rows[0] - 1, -1):
            content = linked.content[row]
            kind = contents.head[content, _HEAD_KIND]
            if contents.head[content, _HEAD_TYPE] != _COMPUTE or (preferred and kind != wanted):
                continue
            for device in range(num_devices):
                inside = contents.devices[content, device >> 6] >> np.uint64(device & 63)
                if inside & np.uint64(1) and exits[device] < 0:
                    exits[device] = row


@kept_uncounted
def join_actions(
    contents: Contents, linked: Linked, firsts: Int64, overlap: bool, joints: Joints
) -> int:
    """Find which rows wait for the exits of the action before theirs; return how many waits.

    ``firsts`` are the first rows of backward and update, and the number of rows. Without
    ``overlap`` all rows that begin the update wait, otherwise its first compute rows.
    """
    num_words = contents.devices.shape[1] // 2
    num_devices = joints.exits.shape[1]
    _find_exits(contents, linked, (0, firsts[0]), -1, joints.exits[0])
    _find_exits(contents, linked, (firsts[0], firsts[1]), _INPUT, joints.exits[1])
    count = 0
    joints.offsets[: firsts[0] + 1] = 0
    for row in range(firsts[0], firsts[2]):
        action = 0 if row < firsts[1] else 1
        content = linked.content[row]
        computes = contents.head[content, _HEAD_TYPE] == _COMPUTE
        starts = True
        joints.before[row] = 0
        for i in range(linked.need_offsets[row], linked.need_offsets[row + 1]):
            need = linked.needs[i]
            if need >= firsts[action]:
                starts = False
                for word in range(num_words):
                    joints.before[row, word] |= joints.before[need, word]
        waits = starts if action == 1 and not overlap else computes
        for word in range(num_words):
            here = contents.devices[content, word]
            left = here
            if computes:
                left = here & ~joints.before[row, word]
                joints.before[row, word] |= here
            device = 64 * word
            while waits and left and device < num_devices:
                if left & np.uint64(1) and joints.exits[action, device] >= 0:
                    if count < len(joints.waits):
                        joints.waits[count, 0] = device
                        joints.waits[count, 1] = joints.exits[action, device]
                    count += 1
                left >>= np.uint64(1)
                device += 1
        joints.offsets[row + 1] = count
    return count
