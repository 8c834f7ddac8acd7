"""Flows before they are put in order: what an algorithm says, without who waits for whom.

Every flow belongs to a channel, a share of the message that goes its own way. It waits for
what has arrived at its source on this channel since the step that it names.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np

from flexsim.collectives.program import Int64, Program
from flexsim.ragged import Csr, offsets_of


@dataclass(frozen=True, eq=False)
class Flows:
    """Columns of flows, a row a flow; every column has the same length."""

    step: Int64
    """Place in the order of the channel; flows of one step do not wait for one another."""
    since: Int64
    """The first step whose arrivals at the source the flow waits for."""
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
    delay: Int64 | None = None
    """By channel: how many steps later than the first one it runs; none where None."""
    in_switch: bool = False


def flows(**columns: Int64 | int) -> Flows:
    """Return flows from columns that are broadcast against each other and laid flat."""
    names = [item.name for item in fields(Flows)]
    arrays = np.broadcast_arrays(*(np.asarray(columns[name], np.int64) for name in names))
    return Flows(**{name: a.ravel() for name, a in zip(names, arrays, strict=True)})


def joined(parts: Iterable[Flows]) -> Flows:
    """Return all flows of several."""
    rows = list(parts)
    names = [item.name for item in fields(Flows)]
    return Flows(**{name: np.concatenate([getattr(r, name) for r in rows]) for name in names})


def linked(plan: Plan, layout: tuple[int, ...]) -> Program:
    """Return the program of a plan: rows in order of step and channel, and who waits for whom."""
    delay = np.zeros(1, np.int64) if plan.delay is None else plan.delay
    late = delay[plan.flows.channel] if plan.delay is not None else 0
    slot = plan.flows.step + late
    order = np.lexsort((np.arange(len(slot)), slot))
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
        step=slot[order].astype(np.int32),
        owner=plan.owner.astype(np.int32),
        in_switch=plan.in_switch,
    )


def _after(rows: Flows, num_members: int) -> Csr:
    """Return for every flow the flows that arrived at its source from ``since`` on."""
    num_steps = int(rows.step.max(initial=0)) + 1
    arrived = _key(rows.channel, rows.target, rows.step, num_members, num_steps)
    order = np.argsort(arrived, kind="stable")
    arrived = arrived[order]
    here = (rows.channel, rows.source)
    first = np.searchsorted(arrived, _key(*here, rows.since, num_members, num_steps))
    last = np.searchsorted(arrived, _key(*here, rows.step, num_members, num_steps))
    offsets = offsets_of(last - first)
    inside = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - first, last - first)
    return Csr(offsets, order[inside].astype(np.int32))


def _key(channel: Int64, member: Int64, step: Int64, num_members: int, num_steps: int) -> Int64:
    return (channel * num_members + member) * num_steps + step
