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
    order = np.argsort(plan.flows.step, kind="stable")
    rows = Flows(**{f.name: getattr(plan.flows, f.name)[order] for f in fields(Flows)})
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


def _after(rows: Flows, num_members: int) -> Csr:
    """Return for every flow the flows that it waits for, ascending."""
    num_steps = int(rows.step.max(initial=0)) + 1
    arrived = _key(rows.channel, rows.target, rows.step, num_members, num_steps)
    order = np.argsort(arrived, kind="stable")
    arrived = arrived[order]

    def position(step: Int64) -> Int64:
        key = _key(rows.channel, rows.source, step, num_members, num_steps)
        return np.asarray(np.searchsorted(arrived, key), np.int64)

    waits = [_spread(position(rows.since), position(rows.until))]
    if (rows.also != NO_STEP).any():
        first = position(np.maximum(rows.also, 0))
        last = np.where(rows.also == NO_STEP, first, position(rows.also + 1))
        waits.insert(0, _spread(first, last))
    flow, place = (np.concatenate(column) for column in zip(*waits, strict=True))
    if len(waits) == 1:
        return Csr(offsets_of(np.bincount(flow, minlength=len(rows))), _ids(order[place]))
    return Csr.from_pairs(len(rows), flow, _ids(order[place]))


def _spread(first: Int64, last: Int64) -> tuple[Int64, Int64]:
    """Return all pairs of a row and a number from its ``first`` up to its ``last``."""
    counts = np.maximum(last - first, 0)
    row = np.repeat(np.arange(len(first)), counts)
    inside = np.arange(len(row)) - np.repeat(offsets_of(counts)[:-1], counts)
    return row, first[row] + inside


def _ids(values: Int64) -> Int32:
    return values.astype(np.int32)


def _key(channel: Int64, member: Int64, step: Int64, num_members: int, num_steps: int) -> Int64:
    return (channel * num_members + member) * num_steps + step
