"""What a contracted replay knows of templates before any schedule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flexsim.engine.contraction_layout import (
    EXIT_ROW_SIZE,
    GROUP_SIZE,
    MOST_PARTS,
    SOURCE_SIZE,
    UNIT_SIZE,
)
from flexsim.engine.contraction_parts import bounds_of
from flexsim.engine.contraction_question import Question
from flexsim.engine.contraction_store import Store
from flexsim.engine.contraction_units import Units, units_of
from flexsim.ragged import Csr
from flexsim.task_graph.columns import Int64


@dataclass(frozen=True, eq=False)
class Outline:
    """Templates as the kernel takes them, in a store."""

    bounds: Int64
    """First member of every part of every template, and one beyond the last."""
    first_template: int
    """Where templates and ranks are in the store."""
    first_rank: int
    num_gates: int
    most_members: int
    """Of one step, at most."""
    most_held: int
    """Resources of one part, at most."""
    most_groups: int


def outline_of(question: Question, store: Store, bounds: Int64 | None = None) -> Outline | str:
    """Return the outline of templates, or why they cannot be contracted, in a sentence.

    ``bounds`` are those of the templates' parts, where they are known.
    """
    reason = _why_not(question)
    if reason:
        return reason
    bounds = bounds_of(question) if bounds is None else bounds
    parts = units_of(question, bounds[:, :3].reshape(-1), bounds[:, 1:].reshape(-1), store)
    joined: Units | str | None = None
    if (bounds[:, 1] > bounds[:, 0]).any():
        both = np.where(bounds[:, 1] > bounds[:, 0], bounds[:, 2], bounds[:, 0])
        joined = units_of(question, bounds[:, 0], both, store)
    if isinstance(parts, str):
        return parts
    if isinstance(joined, str):
        return joined
    tables = _write_tables(question, bounds, parts, joined, store)
    return Outline(
        bounds,
        *tables,
        int(question.gates.first_of_rank[-1]),
        MOST_PARTS * int((bounds[:, 3] - bounds[:, 0]).max()),
        max(int(np.diff(units.first_resource).max()) for units in (parts, joined) if units),
        max(int(np.diff(units.first_group).max()) for units in (parts, joined) if units),
    )


def _why_not(question: Question) -> str:
    templates, (sources, _) = question.templates, question.edges
    if (sources >= question.num_members).any():
        return "an update feeds a forward or a backward"
    if np.diff(templates.offsets[: question.num_templates + 1]).min(initial=1) < 1:
        return "an action has no tasks"
    members, resource = question.held
    codes = members * question.num_resources + resource
    if len(np.unique(codes)) < len(codes):
        return "a task holds a resource twice"
    rank = question.rank[question.place[members]]
    owner = np.full(question.num_resources, -1, np.int64)
    owner[resource] = rank
    if (owner[resource] != rank).any():
        return "two pipeline ranks share a resource"
    return ""


def _write_tables(
    question: Question, bounds: Int64, parts: Units, joined: Units | None, store: Store
) -> tuple[int, int]:
    """Write all tables to the store; return where templates and ranks are."""
    gates = question.gates
    exits_at = store.write(_located(question, bounds, gates.exits)[:, 2])
    exit_rows_at = store.write(_spans(exits_at, 1, gates.first_exit))
    first_dependent, dependents = _dependents(question, bounds)
    dependents_at = store.write(dependents)
    first = gates.first_of_rank
    ranks_at = store.write(np.stack([first[:-1], np.diff(first), _hurries(question, bounds)], 1))
    units_at = _write_units(question, bounds, parts, store)
    joined_at = _write_units(question, bounds, joined, store) if joined else 0
    number = np.arange(question.num_templates)
    rows = [
        units_at + 3 * UNIT_SIZE * number,
        joined_at + UNIT_SIZE * number,
        bounds[:, 1] - bounds[:, 0],
        bounds[:, 3] - bounds[:, 2],
        question.rank,
        number,
        exit_rows_at + EXIT_ROW_SIZE * gates.first_of_template[:-1],
        *_spans(dependents_at, 1, first_dependent).T,
    ]
    return store.write(np.stack(rows, 1)), ranks_at


def _write_units(question: Question, bounds: Int64, units: Units, store: Store) -> int:
    """Write units with all that they point to; return where they are."""
    own = _template_of_unit(question, units)
    sources = _located(question, bounds, units.sources)
    sources[:, 0] -= np.repeat(own, _counts(units, units.first_source))
    sources_at = store.write(sources)
    first_gate = question.gates.first_of_rank[question.rank[own]]
    gates_at = store.write(units.gates - np.repeat(first_gate, _counts(units, units.first_gate)))
    spans = [
        _spans(sources_at, SOURCE_SIZE, units.first_source),
        _spans(gates_at, 1, units.first_gate),
    ]
    groups_at = store.write(np.concatenate(spans, 1))
    in_rank = question.resource_in_rank
    resources_at = store.write(units.resources if in_rank is None else in_rank[units.resources])
    resources = resources_at + units.first_resource[:-1]
    groups = groups_at + GROUP_SIZE * units.first_group[:-1]
    joined = np.full(len(own), int(len(own) == question.num_templates))
    return store.write(np.stack([units.kind, resources, groups, joined], 1))


def _template_of_unit(question: Question, units: Units) -> Int64:
    """Return the template of every unit: each has three, or one of early and main together."""
    parts = len(units.kind) // question.num_templates
    return np.repeat(np.arange(question.num_templates), parts)


def _counts(units: Units, offsets: Int64) -> Int64:
    """Return how many rows of a table, ragged by groups, every unit has."""
    return np.diff(offsets[units.first_group])


def _spans(begin: int, width: int, offsets: Int64) -> Int64:
    """Return where ragged rows begin and end in a table at ``begin``."""
    return begin + width * np.stack([offsets[:-1], offsets[1:]], 1)


def _hurries(question: Question, bounds: Int64) -> Int64:
    """Return by rank whether any of its templates has an early part."""
    found = np.zeros(len(question.gates.first_of_rank) - 1, np.int64)
    np.maximum.at(found, question.rank, bounds[:, 1] - bounds[:, 0])
    return found


def _located(question: Question, bounds: Int64, members: Int64) -> Int64:
    """Return template, part and number inside the part of members."""
    template = question.place[members]
    part = (members[:, None] >= bounds[template, 1:3]).sum(1)
    local = members - bounds[template, part]
    return np.stack([template, part, local], 1)


def _dependents(question: Question, bounds: Int64) -> tuple[Int64, Int64]:
    """Return the templates, numbered from it, whose early part waits for each template."""
    sources, targets = question.crossing
    place = question.place
    early = targets < bounds[place[targets], 1]
    pairs = np.unique(np.stack([place[sources[early]], place[targets[early]]], 1), axis=0)
    found = Csr.from_pairs(question.num_templates, pairs[:, 0], pairs[:, 1])
    return found.offsets, found.values.astype(np.int64) - found.rows
