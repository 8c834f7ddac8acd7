"""Kits: the templates of a short pipeline as tables in a store, priced anew in no time.

What tasks wait for and hold does not depend on prices. So tables are written once for each
pattern of templates, and for each set of prices no more than what has durations in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from flexsim.engine.contraction_ends import Watches
from flexsim.engine.contraction_layout import (
    BOTH,
    DURATION,
    IS_JOINED,
    KIND,
    MEMBER_SIZE,
    MEMBERS,
    NUM_EARLY,
    TEMPLATE_SIZE,
    UNIT_SIZE,
    UNITS,
)
from flexsim.engine.contraction_outline import Outline, outline_of
from flexsim.engine.contraction_parts import Parting
from flexsim.engine.contraction_question import Question
from flexsim.engine.contraction_store import Store
from flexsim.task_graph.columns import Int64
from flexsim.task_graph.rows import B
from flexsim.task_graph.templates import Templates


class Watched(NamedTuple):
    """Members of one template, by part and number inside the part."""

    part: Int64
    local: Int64


@dataclass(frozen=True, eq=False)
class Pattern:
    """Templates of a short pipeline in a store, whose durations are open."""

    outline: Outline
    rows: Int64
    """Templates as the kernel takes them; their units have no kinds yet."""
    units: Int64
    """All units, those of early and main parts together last; kinds by place in ``kinds``."""
    kinds: Int64
    first_of_kind: Int64
    durations_at: Int64
    """Where durations are in ``kinds``."""
    members: Int64
    """Of what member of the templates they are."""
    counts: Int64
    """Members by template and part."""
    tails: tuple[Watched, ...]
    """What the update waits for, by stage."""
    anchors: tuple[Watched, ...]
    """What completes gradients, by stage."""
    shared: tuple[tuple[int, Watched], ...]
    """Stages that share a weight with another, and what completes their gradient of it."""
    sends: tuple[Watched, ...]
    """By stage, what an update waits for where transfers block; without a stage where not."""

    @cached_property
    def watches(self) -> Watches:
        """Tails, sends and anchors, a row a stage each, and then shared weights."""
        shared = [watched for _, watched in self.shared]
        return Watches.of([*self.tails, *self.sends, *self.anchors, *shared])

    def kit(self, duration_ns: Int64, store: Store) -> Kit:
        """Return the kit with a duration for every member of the templates."""
        kinds = self.kinds.copy()
        kinds[self.durations_at] = duration_ns[self.members]
        kinds_at = store.append(kinds)
        units = self.units.copy()
        units[:, KIND] = kinds_at + self.first_of_kind[units[:, KIND]]
        units_at = store.append(units)
        rows, number = self.rows.copy(), np.arange(len(self.rows))
        rows[:, UNITS] = units_at + 3 * UNIT_SIZE * number
        rows[:, BOTH] = units_at + UNIT_SIZE * (3 * len(rows) + number)
        return Kit(self, rows)


@dataclass(frozen=True, eq=False)
class Kit:
    """The templates of a short pipeline in a store, ready to be repeated."""

    pattern: Pattern
    rows: Int64
    """Templates as the kernel takes them."""


@dataclass(frozen=True, eq=False)
class Draft:
    """The templates of a short pipeline before anything is known of what they last.

    Members that have equal durations in them last equally long at all prices.
    """

    question: Question
    anchors: Sequence[Int64]
    """Members of every stage's backward that complete gradients."""
    shared: Sequence[tuple[int, Int64]]
    """Stages that share a weight with another, and what completes their gradient of it."""
    parting: Parting

    @classmethod
    def of(
        cls,
        templates: Templates,
        in_rank: Int64,
        watched: tuple[Sequence[Int64], Sequence[tuple[int, Int64]]],
        blocking: bool = False,
    ) -> Draft:
        """Ask templates where their parts may begin.

        ``in_rank`` is the number of every resource within its rank; where transfers are
        ``blocking`` a stage goes on only after what it sends has arrived.
        """
        stages = np.arange(templates.num_stages, dtype=np.int32)
        question = Question(templates, stages, blocking, in_rank)
        return cls(question, *watched, Parting.of(question))

    def pattern(self, bounds: Int64, store: Store) -> Pattern | str:
        """Return the pattern whose parts have ``bounds``, or why they cannot be contracted."""
        outline, templates = outline_of(self.question, store, bounds), self.question.templates
        if isinstance(outline, str):
            return outline
        stages = range(templates.num_stages)
        ends = [templates.ends[2 * stage + B] for stage in stages]
        sends = [each.sends.members for each in ends if self.question.blocking]
        begin, count = outline.first_template, 2 * len(stages)
        rows = store.values[begin : begin + TEMPLATE_SIZE * count].reshape(count, -1).copy()
        units, first = _units(rows, bounds, store)
        kinds, first_of_kind, durations_at, members = _kinds(units, first, store)
        return Pattern(
            outline,
            rows,
            units,
            kinds,
            first_of_kind,
            durations_at,
            members,
            np.diff(bounds, axis=1),
            tuple(_watched(outline, s, each.tails.members) for s, each in enumerate(ends)),
            tuple(_watched(outline, stage, some) for stage, some in enumerate(self.anchors)),
            tuple((stage, _watched(outline, stage, some)) for stage, some in self.shared),
            tuple(_watched(outline, stage, some) for stage, some in enumerate(sends)),
        )


def _watched(outline: Outline, stage: int, members: Int64) -> Watched:
    bounds = outline.bounds[2 * stage + B]
    number = members + bounds[0]
    part = (number[:, None] >= bounds[1:3]).sum(1)
    return Watched(part, number - bounds[part])


def _units(rows: Int64, bounds: Int64, store: Store) -> tuple[Int64, Int64]:
    """Return all units, three a template and one of early and main, and their first members."""
    begin, count = int(rows[0, UNITS]), 3 * len(rows)
    parts = store.values[begin : begin + UNIT_SIZE * count].reshape(-1, UNIT_SIZE)
    first = bounds[:, :3].reshape(-1)
    if not rows[:, NUM_EARLY].any():
        return parts.copy(), first
    begin = int(rows[0, BOTH])
    joined = store.values[begin : begin + UNIT_SIZE * len(rows)].reshape(-1, UNIT_SIZE)
    assert joined[:, IS_JOINED].all()
    return np.concatenate([parts, joined]), np.concatenate([first, bounds[:, 0]])


def _kinds(units: Int64, first: Int64, store: Store) -> tuple[Int64, Int64, Int64, Int64]:
    """Return the kinds of units in one array, where each begins, and of what durations are.

    In ``units`` the place among kinds takes the place of the address.
    """
    addresses, which, number = np.unique(units[:, KIND], return_index=True, return_inverse=True)
    units[:, KIND] = number.reshape(-1)
    tables, durations_at, members, begin = [], [], [], [0]
    for address, unit in zip(addresses.tolist(), which.tolist(), strict=True):
        table = store.kind_at(address)
        own = np.arange(table[0])
        durations_at.append(begin[-1] + MEMBERS + MEMBER_SIZE * own + DURATION)
        members.append(first[unit] + own)
        tables.append(table)
        begin.append(begin[-1] + len(table))
    return (
        np.concatenate(tables),
        np.array(begin[:-1]),
        np.concatenate(durations_at),
        np.concatenate(members),
    )
