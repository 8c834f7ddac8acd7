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


class Entry(NamedTuple):
    """What is written of a row; ``targets`` are those of transfers.

    ``channels`` are the numbers of their channels by source and target, -1 where there is none.
    """

    shape: int
    kind: int
    groups: Int32
    targets: Int32
    duration_ns: Int64
    channels: Int32


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
    for device in range(len(first) - 1):
        first[device + 1] += first[device]
    for member in range(num_members):
        source = groups[member, 0]
        contents.device[at + first[source]] = member
        first[source] += 1
    for device in range(len(first) - 1, 0, -1):
        first[device] = first[device - 1]
    first[0] = 0


@inlined
def _channel_of(channels: Int32, counts: Int64, source: int, target: int) -> int:
    """Return the number of a channel, a new one where it was never used."""
    if channels[source, target] < 0:
        channels[source, target] = counts[_CHANNELS]
        counts[_CHANNELS] += 1
    return int(channels[source, target])


@inlined
def _write_head(contents: Contents, counts: Int64, entry: Entry) -> None:
    head = contents.head[counts[_ROWS]]
    head[0], head[1], head[2] = entry.shape, entry.kind, len(entry.groups)
    head[3], head[4], head[5] = entry.groups.shape[1], counts[_DURATIONS], counts[_PLACES]
    head[6] = entry.duration_ns[0]
    for member in range(len(entry.groups)):
        head[6] = min(head[6], entry.duration_ns[member])


@inlined
def _write_ends(contents: Contents, counts: Int64, entry: Entry) -> None:
    """Write on which devices members are, and which channels they take."""
    at, (num_members, width) = counts[_PLACES], entry.groups.shape
    for member in range(num_members):
        for place in range(width):
            contents.device[at + member * width + place] = entry.groups[member, place]
    counts[_PLACES] += num_members * width
    if entry.shape != _TRANSFER:
        return
    for i in range(num_members):
        source, target = entry.groups[i, 0], entry.targets[i]
        contents.device[at + num_members + i] = target
        number = _channel_of(entry.channels, counts, source, target)
        contents.device[at + 2 * num_members + i] = number
    counts[_PLACES] += 3 * num_members


@kept_uncounted
def write_row(contents: Contents, counts: Int64, entry: Entry) -> None:
    """Append a row; ``counts`` tells how much there is of everything, room must be there."""
    row, at, num_members = counts[_ROWS], counts[_PLACES], len(entry.groups)
    _write_head(contents, counts, entry)
    _clear_row(contents, row)
    _write_ends(contents, counts, entry)
    if entry.shape == _TRANSFER:
        _write_transfers(contents, row, entry.groups, entry.targets, at + 3 * num_members)
    else:
        _write_groups(contents, row, entry.groups, entry.duration_ns)
    is_compute = entry.shape == _COMPUTE
    durations = contents.work_ns[row] if is_compute else entry.duration_ns
    for i in range(len(durations)):
        contents.duration_ns[counts[_DURATIONS] + i] = durations[i]
    counts[_DURATIONS] += len(durations)
    counts[_ROWS] += 1
