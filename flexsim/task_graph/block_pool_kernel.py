"""The compiled writing of rows' contents."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexsim.numba_cache import inlined, kept_uncounted
from flexsim.task_graph.columns import Int32, Int64

COMPUTE, COLLECTIVE, TRANSFER = range(3)
_COMPUTE, _TRANSFER = COMPUTE, TRANSFER
ROWS, DURATIONS, PLACES, CHANNELS = range(4)
_ROWS, _DURATIONS, _PLACES, _CHANNELS = ROWS, DURATIONS, PLACES, CHANNELS


class Contents(NamedTuple):
    """Distinct rows. ``head`` has a line a row: see the ``HEAD_`` numbers.

    A compute row has in ``duration_ns`` one value a device of the cluster, 0 where it does not
    run; the others have one a member. ``device`` lists the devices of members in turn, and
    behind the senders of a transfer the receivers, the numbers of the channels and the members
    by sender: those of device d from ``first[d]`` on. Of a collective ``first`` has the member
    that a device leads. ``devices``
    has the same as bits: where a row takes its data, and where it leaves them. By device,
    ``leader`` is the first device of a member's group, -1 where the row takes no data;
    ``num_left`` counts the members that leave data there; and ``work_ns`` is how long the row
    holds the stream of its kind.
    """

    head: Int64
    duration_ns: Int64
    device: Int32
    devices: NDArray[np.uint64]
    leader: Int32
    num_left: Int32
    work_ns: Int64
    first: Int32


HEAD_TYPE, HEAD_KIND, HEAD_MEMBERS, HEAD_WIDTH, HEAD_DURATION, HEAD_DEVICE, HEAD_LEAST = range(7)


@inlined
def _clear_row(contents: Contents, row: int) -> None:
    contents.devices[row] = 0
    contents.leader[row] = -1
    contents.num_left[row] = 0
    contents.work_ns[row] = 0
    contents.first[row] = 0


@inlined
def _add_bit(contents: Contents, row: int, base: int, device: int) -> None:
    contents.devices[row, base + (device >> 6)] |= np.uint64(1) << np.uint64(device & 63)


@inlined
def _write_groups(contents: Contents, row: int, groups: Int32, duration_ns: Int64) -> None:
    """Write what members do on the devices of their groups."""
    num_words = contents.devices.shape[1] // 2
    for member in range(len(groups)):
        contents.first[row, groups[member, 0]] = member
        for place in range(groups.shape[1]):
            device = groups[member, place]
            _add_bit(contents, row, 0, device)
            _add_bit(contents, row, num_words, device)
            contents.leader[row, device] = groups[member, 0]
            contents.num_left[row, device] = 1
            contents.work_ns[row, device] = duration_ns[member]


@inlined
def _write_transfers(contents: Contents, row: int, groups: Int32, targets: Int32, at: int) -> None:
    """Write who sends and who receives, and the members by sender."""
    num_words, num_members = contents.devices.shape[1] // 2, len(groups)
    first = contents.first[row]
    for member in range(num_members):
        source, target = groups[member, 0], targets[member]
        _add_bit(contents, row, 0, source)
        _add_bit(contents, row, num_words, target)
        contents.leader[row, source] = source
        contents.num_left[row, target] += 1
        first[source + 1] += 1
    for device in range(contents.leader.shape[1]):
        first[device + 1] += first[device]
    for member in range(num_members):
        source = groups[member, 0]
        contents.device[at + first[source]] = member
        first[source] += 1
    for device in range(contents.leader.shape[1], 0, -1):
        first[device] = first[device - 1]
    first[0] = 0


@inlined
def _channel_of(channels: Int32, counts: Int64, source: int, target: int) -> int:
    """Return the number of a channel, a new one where it was never used."""
    if channels[source, target] < 0:
        channels[source, target] = counts[_CHANNELS]
        counts[_CHANNELS] += 1
    return channels[source, target]


@kept_uncounted
def write_row(
    contents: Contents,
    counts: Int64,
    shape_and_kind: tuple[int, int],
    groups: Int32,
    targets: Int32,
    duration_ns: Int64,
    channels: Int32,
) -> None:
    """Append a row; ``counts`` tells how much there is of everything, room must be there.

    ``targets`` are those of transfers, and ``channels`` the numbers of their channels by source
    and target, -1 where there is none yet.
    """
    (shape, kind), row = shape_and_kind, counts[_ROWS]
    num_members, width, at = len(groups), groups.shape[1], counts[_PLACES]
    head = contents.head[row]
    head[0], head[1], head[2] = shape, kind, num_members
    head[3], head[4], head[5] = width, counts[_DURATIONS], at
    _clear_row(contents, row)
    for member in range(num_members):
        for place in range(width):
            contents.device[at + member * width + place] = groups[member, place]
    if shape == _TRANSFER:
        for i in range(num_members):
            number = _channel_of(channels, counts, groups[i, 0], targets[i])
            contents.device[at + num_members + i] = targets[i]
            contents.device[at + 2 * num_members + i] = number
        _write_transfers(contents, row, groups, targets, at + 3 * num_members)
        counts[_PLACES] += 4 * num_members
    else:
        _write_groups(contents, row, groups, duration_ns)
        counts[_PLACES] += num_members * width
    durations = contents.work_ns[row] if shape == _COMPUTE else duration_ns
    for i in range(len(durations)):
        contents.duration_ns[counts[_DURATIONS] + i] = durations[i]
    counts[_DURATIONS] += len(durations)
    head[6] = duration_ns.min()
    counts[_ROWS] += 1
