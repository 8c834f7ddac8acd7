"""What the rest of a chain takes at least, after a unit with a given config.

Two sums are to be kept apart: the *way* to the loss and back to the unit, and the *sum* of the
way to the loss and of all synchronizations of the rest, spread evenly over the devices. A config
has a frontier: pairs of both of which no one is the least in both. Ways are measured twice: from
the last device that is ready to the last that may begin its backward, and from the first to the
first. Neither is always the longer one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flexsim.search.exhaustive_tables import NEVER, EdgeTable, UnitTable
from flexsim.search.prices import Int64

_MOST_POINTS = 64
"""Points of a frontier; where there are more, neighbours are joined to one below both."""


@dataclass(frozen=True, eq=False)
class Rest:
    """What comes after a unit: a frontier a first form, for each of the two measures.

    A frontier has columns way and sum. ``load_ns`` is the least that the devices together
    compute in the backward of the rest.
    """

    frontiers: tuple[list[Int64], list[Int64]]
    load_ns: Int64


def rests(tables: list[UnitTable], edges: list[EdgeTable]) -> list[Rest]:
    """Return the rest after every unit of a chain, in the chain's order."""
    last = tables[-1]
    num_forms = len(last.first_forms)
    ends = [np.array([[0, last.back_ns[row][last.uses[row]].min()]]) for row in last.first_forms]
    found = [Rest((ends, ends), np.zeros(num_forms, np.int64))]
    for number in range(len(edges) - 1, -1, -1):
        found.append(_before(tables[number], tables[number + 1], edges[number], found[-1]))
    return found[::-1]


def _before(writer: UnitTable, reader: UnitTable, edge: EdgeTable, rest: Rest) -> Rest:
    """Return the rest after a unit from the rest after the next one."""
    size = writer.uses.shape[1]
    form_of = reader.first_form_of
    syncs = -(-reader.sync_ns.sum((0, 2)) // size)
    computes = reader.block_ns.sum(1) + rest.load_ns[form_of]
    frontiers: tuple[list[Int64], list[Int64]] = ([], [])
    for form, row in enumerate(writer.first_forms):
        there = edge.forward_ns[form] + reader.forward_ns[:, None, :]
        back = _back(reader, edge, form)
        for measure, frontier in enumerate(frontiers):
            ways = [_least(m, u, measure) for m, u in _ends(writer, reader, row, there, back)]
            points = [
                rest.frontiers[measure][form_of[j]]
                + (ways[0][j] + ways[1][j], ways[0][j] + syncs[j])
                for j in range(len(form_of))
            ]
            frontier.append(_frontier(np.concatenate(points)))
    return Rest(frontiers, np.full(len(writer.first_forms), computes.min()))


def _back(reader: UnitTable, edge: EdgeTable, form: int) -> Int64:
    """Return the paths of the backward ``[config, from, to]``, through the reader's own rows."""
    paths = reader.back_ns[:, :, None] + edge.backward_ns[form]
    follows = np.diagonal(edge.backward_ns[form], axis1=1, axis2=2) > NEVER // 2
    in_order = (reader.is_joint & edge.is_kept[form])[:, None] & follows
    own = np.where(in_order, reader.block_ns, NEVER)
    devices = np.arange(paths.shape[1])
    paths[:, devices, devices] = np.maximum(paths[:, devices, devices], own)
    return paths


def _ends(writer, reader, row, there, back):  # type: ignore[no-untyped-def]
    """Return both ways with the devices that they lead from and to."""
    here = np.broadcast_to(writer.uses[row], reader.uses.shape)
    return [(there, (here, reader.uses)), (back, (reader.uses, here))]


def _least(paths, uses, measure):  # type: ignore[no-untyped-def]
    """Return the least by which a way is longer: over devices from (0) or to (1) which it leads."""
    sources, targets = uses
    if measure == 0:
        longest = np.where(targets[:, None, :], paths, NEVER).max(2)
        return np.where(sources, longest, -NEVER).min(1)
    longest = np.where(sources[:, :, None], paths, NEVER).max(1)
    return np.where(targets, longest, -NEVER).min(1)


def _frontier(points: Int64) -> Int64:
    """Return the points that no other one is below in both columns."""
    points = points[np.lexsort((points[:, 1], points[:, 0]))]
    before = np.minimum.accumulate(points[:, 1])
    kept = points[np.concatenate([[True], points[1:, 1] < before[:-1]])]
    if len(kept) <= _MOST_POINTS:
        return kept
    groups = np.array_split(kept, _MOST_POINTS)
    return np.array([group.min(0) for group in groups])
