"""Flows before they are put in order: what an algorithm says, without who waits for whom.

Every flow belongs to a channel, a share of the message that goes its own way. It waits for
what arrives at its source on this channel in the steps ``since .. until - 1`` and in the step
``also``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

import numpy as np

from flexsim.collectives.program import Int32, Int64, Program
from flexsim.ragged import Csr, offsets_of

NO_STEP = -1


@dataclass(frozen=True, eq=False)
class Flows:
    """Columns of flows, a row a flow; every column has the same length."""

    step: Int64
    """Place in the order of the channel; flows of one step do not wait for one another."""
    since: Int64
    until: Int64
    also: Int64
    channel: Int64
    source: Int64
    target: Int64
    first_part: Int64
    part_stride: Int64
    parts: Int64
    sums: Int64
    """1 where the receiver adds, 0 where it replaces."""

    def __len__(self) -> int:
        return len(self.step)


@dataclass(frozen=True, eq=False)
class Plan:
    """The flows of an algorithm and how the message is cut."""

    flows: Flows
    num_parts: int
    owner: Int64
    """The member that each part belongs to."""
    num_pieces: int = 1
    """In how many pieces every flow travels."""
    in_switch: bool = False


def flows(**columns: Int64 | int) -> Flows:
    """Return flows from columns that are broadcast against each other and laid flat.

    Without ``since`` and ``until`` a flow waits for the arrivals of the step before its own.
    """
    step = columns["step"]
    given = {"since": np.maximum(step - 1, 0), "until": step, "also": NO_STEP} | columns
    names = [item.name for item in fields(Flows)]
    arrays = np.broadcast_arrays(*(np.asarray(given[name], np.int64) for name in names))
    return Flows(**{name: a.ravel() for name, a in zip(names, arrays, strict=True)})


def in_turn(legs: Iterable[Flows]) -> Flows:
    """Return the flows of legs one after the other, each of which counts its steps from 0.

    A flow that waits for what arrived since step 0 waits for all earlier legs, too; one that
    adds, in any case for the last arrival of each, for until then its source has less to add.
    """
    later, ends = [], [0]
    for leg in legs:
        later.append(_later(leg, ends))
        ends.append(ends[-1] + int(leg.step.max(initial=-1)) + 1)
    return joined(later)


def _later(leg: Flows, ends: list[int]) -> Flows:
    steps, num_legs = ends[-1], len(set(ends)) - 1
    everything = (leg.since == 0) | ((leg.sums > 0) & (num_legs > 1))
    since = np.where(everything, 0, leg.since + steps)
    also = np.where((leg.sums > 0) & (since > 0), steps - 1, leg.also)
    return replace(leg, step=leg.step + steps, since=since, until=leg.until + steps, also=also)


def joined(parts: Iterable[Flows]) -> Flows:
    """Return all flows of several."""
    rows = list(parts)
    names = [item.name for item in fields(Flows)]
    return Flows(**{name: np.concatenate([getattr(r, name) for r in rows]) for name in names})


def linked(plan: Plan, layout: tuple[int, ...]) -> Program:
    """Return the program of a plan: rows in order of step and channel, and who waits for whom."""
    rows = _in_order(plan.flows)
    return Program(
        num_members=math.prod(layout),
        num_parts=plan.num_parts,
        source=rows.source.astype(np.int32),
        target=rows.target.astype(np.int32),
        parts=rows.parts,
        first_part=rows.first_part,
        part_stride=rows.part_stride,
        sums=rows.sums.astype(np.bool_),
        after=_after(rows, math.prod(layout)),
        step=rows.step.astype(np.int32),
        owner=plan.owner.astype(np.int32),
        num_pieces=plan.num_pieces,
        in_switch=plan.in_switch,
    )


def _in_order(rows: Flows) -> Flows:
    """Return flows by step; those of one step stay as they are."""
    if (np.diff(rows.step) >= 0).all():
        return rows
    order = np.argsort(rows.step, kind="stable")
    return Flows(**{item.name: getattr(rows, item.name)[order] for item in fields(Flows)})


def _after(rows: Flows, num_members: int) -> Csr:
    """Return for every flow the flows that it waits for, ascending."""
    arrivals = _Arrivals(rows, num_members)
    waits = [_spread(arrivals.before(rows.since), arrivals.before(rows.until))]
    if (rows.also != NO_STEP).any():
        first = arrivals.before(np.maximum(rows.also, 0))
        last = np.where(rows.also == NO_STEP, first, arrivals.before(rows.also + 1))
        waits.insert(0, _spread(first, last))
    flow, place = (np.concatenate(column) for column in zip(*waits, strict=True))
    if len(waits) == 1:
        counts = np.bincount(flow, minlength=len(rows))
        return Csr(offsets_of(counts), arrivals.flows[place])
    return Csr.from_pairs(len(rows), flow, arrivals.flows[place])


class _Arrivals:
    """All flows in order of channel, target and step: where each of these begins is looked up."""

    def __init__(self, rows: Flows, num_members: int) -> None:
        self._rows, self._num_members = rows, num_members
        self._num_steps = int(rows.step.max(initial=0)) + 1
        keys = self._key(rows.target, rows.step)
        num_channels = int(rows.channel.max(initial=0)) + 1
        size = num_channels * num_members * self._num_steps + 1
        self._first = offsets_of(np.bincount(keys, minlength=size))
        self.flows: Int32 = _sorted(keys, self._first)

    def before(self, step: Int64) -> Int64:
        """Return where arrivals at each flow's source begin that come at ``step`` or later."""
        return self._first[self._key(self._rows.source, step)]

    def _key(self, member: Int64, step: Int64) -> Int64:
        return (self._rows.channel * self._num_members + member) * self._num_steps + step


def _sorted(keys: Int64, first: Int64) -> Int32:
    """Return the rows in the order of their keys, of which ``first`` says where each begins."""
    if np.diff(first).max(initial=0) > 1:
        return np.argsort(keys, kind="stable").astype(np.int32)
    order = np.empty(len(keys), np.int32)
    order[first[keys]] = np.arange(len(keys), dtype=np.int32)
    return order


def _spread(first: Int64, last: Int64) -> tuple[Int64, Int64]:
    """Return all pairs of a row and a number from its ``first`` up to its ``last``."""
    counts = np.maximum(last - first, 0)
    row = np.repeat(np.arange(len(first)), counts)
    inside = np.arange(len(row)) - np.repeat(offsets_of(counts)[:-1], counts)
    return row, first[row] + inside
