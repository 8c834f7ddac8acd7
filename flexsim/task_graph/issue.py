"""A host that runs ahead of its devices: kernels wait for their issue, and for nothing else.

Kernels are queued. While a device is busy with a long one its host issues the next ones, so a
pass takes about as long as the longer of all issuing and all computing, and not the sum of the
longer of both for each kernel. A pass begins with nothing issued and lasts until all is issued.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from flexsim.cost.profiles import SoftwareProfile
from flexsim.ragged import Csr
from flexsim.task_graph.columns import Int64
from flexsim.task_graph.kinds import NUM_COMPUTE_KINDS
from flexsim.task_graph.rows import Row
from flexsim.task_graph.strips import Strip


def issued_rows(rows: Sequence[Row], software: SoftwareProfile) -> Sequence[Row]:
    """Return rows whose kernels last longer by what they wait for the host, where it runs ahead.

    Rows are issued in the order in which they stand, each action by itself. Members of a row
    wait equally: for the host of the one that is slowest.
    """
    if not software.host_runs_ahead:
        return rows
    waits = [0] * len(rows)
    for action in _actions(rows):
        queue = _Queue(rows, round(software.host_time_per_kernel_ns))
        for index in action:
            waits[index] += queue.put(index)
        for index, wait_ns in queue.last_waits():
            waits[index] += wait_ns
    return [_longer(row, wait_ns) for row, wait_ns in zip(rows, waits, strict=True)]


def issuing_rows(rows: Sequence[Row], software: SoftwareProfile) -> Sequence[Row] | None:
    """Return rows with what the host takes for each that issues the kernels of its action.

    It issues messages among all of its devices, too, and no others. None where several sets of
    devices work on one action.
    """
    if not software.host_runs_ahead:
        return rows
    message_ns = round(software.host_time_per_kernel_ns)
    host: dict[tuple[int, int], bytes] = {}
    for row in rows:
        if row.is_compute:
            devices = row.places.devices.tobytes()
            if host.setdefault((row.stage, row.action), devices) != devices:
                return None
    return [
        row if row.is_compute else row._replace(issue_ns=message_ns * _is_on(row, host))
        for row in rows
    ]


def _is_on(row: Row, host: dict[tuple[int, int], bytes]) -> bool:
    return host.get((row.stage, row.action)) == row.places.devices.tobytes()


def issued_ns(strip: Strip, duration_ns: Int64) -> Int64:
    """Return what the tasks of a strip last where kernels wait for their issue.

    ``duration_ns`` is what they last without.
    """
    if not strip.issue_ns.any():
        return duration_ns
    columns = duration_ns, strip.kind < NUM_COMPUTE_KINDS, strip.issue_ns
    return duration_ns + waits_of_actions(columns, strip.needs, np.zeros(1, np.int64))


def waits_of_actions(
    columns: tuple[Int64, NDArray[np.bool_], Int64], needs: Csr, first: Int64
) -> Int64:
    """Return how long each task waits for its issue; an action begins at each of ``first``.

    ``columns`` are durations, what is a kernel, and what the host takes for it; ``needs`` are
    tasks of the same action. Each action has one host.
    """
    from flexsim.task_graph.issue_kernel import waits_ns

    found: Int64 = waits_ns(*columns, needs.offsets, needs.values, first)
    return found


def _actions(rows: Sequence[Row]) -> Iterator[list[int]]:
    """Yield the rows of every action."""
    found: dict[tuple[int, int], list[int]] = {}
    for index, row in enumerate(rows):
        found.setdefault((row.action, row.stage), []).append(index)
    yield from found.values()


def _longer(row: Row, wait_ns: int) -> Row:
    return row._replace(duration_ns=row.duration_ns + wait_ns) if wait_ns else row


@dataclass
class _Host:
    """The hosts of one set of devices: how far they have issued, and what their kernels did."""

    issued_ns: int = 0
    end_ns: int = 0
    last: int = -1
    """The last kernel; none yet below 0."""


@dataclass
class _Queue:
    """One action in the making, from time 0."""

    rows: Sequence[Row]
    issue_ns: int
    """Of what is not a kernel: a collective, a transfer."""
    hosts: dict[bytes, _Host] = field(default_factory=dict)
    ends_ns: dict[int, int] = field(default_factory=dict)

    def put(self, index: int) -> int:
        """Return how long a row waits for its issue once all else that it needs is there."""
        row = self.rows[index]
        host = self.hosts.setdefault(row.places.devices.tobytes(), _Host())
        needed_ns = max((self.ends_ns.get(need, 0) for need in row.needs), default=0)
        if row.is_compute:
            needed_ns = max(needed_ns, host.end_ns)
        wait_ns = max(0, host.issued_ns - needed_ns) if row.is_compute else 0
        host.issued_ns += row.issue_ns if row.is_compute else self.issue_ns
        end_ns = needed_ns + wait_ns + int(row.duration_ns.max(initial=0))
        self.ends_ns[index] = end_ns
        if row.is_compute:
            host.end_ns, host.last = end_ns, index
        return wait_ns

    def last_waits(self) -> Iterator[tuple[int, int]]:
        """Yield by how much the last kernels last until all is issued."""
        for host in self.hosts.values():
            if host.last >= 0 and host.issued_ns > host.end_ns:
                yield host.last, host.issued_ns - host.end_ns
