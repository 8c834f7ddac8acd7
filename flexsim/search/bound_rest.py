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

from flexsim.search.exhaustive_tables import NEVER, Bits, EdgeTable, UnitTable
from flexsim.search.prices import Int64

_MOST_POINTS = 64
"""Points of a frontier; where there are more, neighbours are joined to one below both."""


@dataclass(frozen=True, eq=False)
class Rest:
    """What comes after a unit: a frontier a first form, for each of the two measures.

    A frontier has columns way and sum, the sum from the first device that is ready: parts that
    are copies may be late though no one waits for them. ``loss_ns`` is the least way to the
    loss, also from the first device; ``load_ns`` the least that all devices together compute in
    the backward of the rest.
    """

    frontiers: tuple[list[Int64], list[Int64]]
    loss_ns: Int64
    load_ns: int


def rests(tables: list[UnitTable], edges: list[EdgeTable]) -> list[Rest]:
    """Return the rest after every unit of a chain, in the chain's order."""
    last = tables[-1]
    losses = [int(last.back_ns[row][last.uses[row]].min()) for row in last.first_forms]
    ends = [np.array([[0, loss]]) for loss in losses]
    found = [Rest((ends, ends), np.array(losses), 0)]
    for number in range(len(edges) - 1, -1, -1):
        found.append(_before(tables[number], tables[number + 1], edges[number], found[-1]))
    return found[::-1]


def _before(writer: UnitTable, reader: UnitTable, edge: EdgeTable, rest: Rest) -> Rest:
    """Return the rest after a unit from the rest after the next one."""
    frontiers: tuple[list[Int64], list[Int64]] = ([], [])
    losses: list[int] = []
    syncs = reader.sync_ns.sum((0, 2)) // writer.uses.shape[1]
    for form, row in enumerate(writer.first_forms):
        there = edge.forward_ns[form] + reader.forward_ns[:, None, :]
        back = _back(reader, edge, form)
        here = np.broadcast_to(writer.uses[row], reader.uses.shape)
        there_ns = [_least(there, (here, reader.uses), measure) for measure in (0, 1)]
        back_ns = [_least(back, (reader.uses, here), measure) for measure in (0, 1)]
        for measure in (0, 1):
            steps = np.stack([there_ns[measure] + back_ns[measure], there_ns[1] + syncs], 1)
            after = [rest.frontiers[measure][i] for i in reader.first_form_of]
            points = [more + step for more, step in zip(after, steps, strict=True)]
            frontiers[measure].append(_frontier(np.concatenate(points)))
        losses.append(int((rest.loss_ns[reader.first_form_of] + there_ns[1]).min()))
    load_ns = int(reader.block_ns.sum(1).min()) + rest.load_ns
    return Rest(frontiers, np.array(losses), load_ns)


def _back(reader: UnitTable, edge: EdgeTable, form: int) -> Int64:
    """Return the paths of the backward ``[config, from, to]``, through the reader's own rows."""
    paths: Int64 = reader.back_ns[:, :, None] + edge.backward_ns[form]
    follows = np.diagonal(edge.backward_ns[form], axis1=1, axis2=2) > NEVER // 2
    in_order = (reader.is_joint & edge.is_kept[form])[:, None] & follows
    own = np.where(in_order, reader.block_ns, NEVER)
    devices = np.arange(paths.shape[1])
    paths[:, devices, devices] = np.maximum(paths[:, devices, devices], own)
    return paths


def _least(paths: Int64, uses: tuple[Bits, Bits], measure: int) -> Int64:
    """Return by how much a way is longer at least: from all devices (0) or to all (1)."""
    sources, targets = uses
    if measure == 0:
        longest = np.where(targets[:, None, :], paths, NEVER).max(2)
        from_any: Int64 = np.where(sources, longest, -NEVER).min(1)
        return from_any
    longest = np.where(sources[:, :, None], paths, NEVER).max(1)
    to_any: Int64 = np.where(targets, longest, -NEVER).min(1)
    return to_any


def _frontier(points: Int64) -> Int64:
    """Return the points that no other one is below in both columns."""
    points = points[np.lexsort((points[:, 1], points[:, 0]))]
    before = np.minimum.accumulate(points[:, 1])
    kept: Int64 = points[np.concatenate([[True], points[1:, 1] < before[:-1]])]
    if len(kept) > _MOST_POINTS:
        kept = np.array([group.min(0) for group in np.array_split(kept, _MOST_POINTS)])
    return kept
