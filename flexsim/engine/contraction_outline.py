"""What a contracted replay knows of templates before any schedule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flexsim.engine.contraction_layout import MOST_PARTS, TEMPLATE_SIZE, TEMPLATES, UNIT_SIZE
from flexsim.engine.contraction_parts import bounds_of
from flexsim.engine.contraction_question import Question
from flexsim.engine.contraction_store import Store
from flexsim.engine.contraction_units import Units, units_of
from flexsim.ragged import Csr
from flexsim.task_graph.columns import Int64


@dataclass(frozen=True, eq=False)
class Outline:
    """Templates as the kernel takes them, with the kinds of their parts in a store."""

    pipeline: Int64
    """The kernel's tables, one behind the other."""
    bounds: Int64
    """First member of every part of every template, and one beyond the last."""
    first_template: int
    """Where templates are in the pipeline."""
    num_gates: int
    most_members: int
    """Of one step, at most."""
    most_held: int
    """Resources of one part, at most."""
    most_groups: int


def outline_of(question: Question, store: Store) -> Outline | str:
    """Return the outline of templates, or why they cannot be contracted, in a sentence."""
    reason = _why_not(question)
    if reason:
        return reason
    bounds = bounds_of(question)
    parts = units_of(question, bounds[:, :3].reshape(-1), bounds[:, 1:].reshape(-1), store)
    both = np.where(bounds[:, 1] > bounds[:, 0], bounds[:, 2], bounds[:, 0])
    joined = units_of(question, bounds[:, 0], both, store)
    if isinstance(parts, str):
        return parts
    if isinstance(joined, str):
        return joined
    pipeline = _tables(question, bounds, parts, joined)
    return Outline(
        pipeline,
        bounds,
        int(pipeline[TEMPLATES]),
        int(question.gates.first_of_rank[-1]),
        MOST_PARTS * int((bounds[:, 3] - bounds[:, 0]).max()),
        int(max(np.diff(parts.first_resource).max(), np.diff(joined.first_resource).max())),
        int(max(np.diff(parts.first_group).max(), np.diff(joined.first_group).max())),
    )


def _why_not(question: Question) -> str:
    templates, (sources, _) = question.templates, question.edges
    if (sources >= question.num_members).any():
        return "an update feeds a forward or a backward"
    if templates.duration_ns.min(initial=1) < 1:
        return "a task lasts less than a nanosecond"
    if np.diff(templates.offsets[: question.num_templates + 1]).min(initial=1) < 1:
        return "an action has no tasks"
    held = templates.held
    codes = held.rows * question.num_resources + held.values
    if len(np.unique(codes)) < len(codes):
        return "a task holds a resource twice"
    members, resource = question.held
    rank = question.rank[question.place[members]]
    owner = np.full(question.num_resources, -1, np.int64)
    owner[resource] = rank
    if (owner[resource] != rank).any():
        return "two pipeline ranks share a resource"
    return ""


def _tables(question: Question, bounds: Int64, parts: Units, joined: Units) -> Int64:
    """Return the tables that templates are looked up in; addresses are of the whole."""
    head = 3
    kinds = np.concatenate([parts.kind, joined.kind])
    num_groups = len(parts.first_source) + len(joined.first_source) - 2
    num_ranks = len(question.gates.first_of_rank) - 1
    units_at = head
    templates_at = units_at + UNIT_SIZE * len(kinds)
    ranks_at = templates_at + TEMPLATE_SIZE * question.num_templates
    groups_at = ranks_at + 3 * num_ranks
    exit_rows_at = groups_at + 4 * num_groups
    resources_at = exit_rows_at + 2 * (len(question.gates.first_exit) - 1)
    first_resource = _chained(parts.first_resource, joined.first_resource)
    sources_at = resources_at + int(first_resource[-1])
    sources = _sources(question, bounds, np.concatenate([parts.sources, joined.sources]))
    gates = np.concatenate([parts.gates, joined.gates])
    gates_at = sources_at + sources.size
    exits_at = gates_at + len(gates)
    exits = _sources(question, bounds, question.gates.exits)[:, 2:]
    dependents_at = exits_at + exits.size
    first_dependent, dependents = _dependents(question, bounds)
    first_group = _chained(parts.first_group, joined.first_group)[:-1]
    units = [kinds, resources_at + first_resource[:-1], groups_at + 4 * first_group]
    groups = [
        *_spans(sources_at, 4, _chained(parts.first_source, joined.first_source)),
        *_spans(gates_at, 1, _chained(parts.first_gate, joined.first_gate)),
    ]
    number = np.arange(question.num_templates)
    joined_at = units_at + UNIT_SIZE * len(parts.kind)
    templates = [
        units_at + 3 * UNIT_SIZE * number,
        joined_at + UNIT_SIZE * number,
        bounds[:, 1] - bounds[:, 0],
        bounds[:, 3] - bounds[:, 2],
        question.rank,
        exit_rows_at + 2 * question.gates.first_of_template[:-1],
        *_spans(dependents_at, 1, first_dependent),
    ]
    return np.concatenate(
        [
            np.array([templates_at, ranks_at, joined_at]),
            *(_rows(columns) for columns in (units, templates, _ranks(question, bounds), groups)),
            _rows(_spans(exits_at, 2, question.gates.first_exit)),
            np.concatenate([parts.resources, joined.resources]),
            sources.reshape(-1),
            gates,
            exits.reshape(-1),
            dependents,
        ]
    )


def _rows(columns: list[Int64]) -> Int64:
    return np.stack(columns, 1).reshape(-1)


def _spans(begin: int, width: int, offsets: Int64) -> list[Int64]:
    """Return where ragged rows begin and end in a table at ``begin``."""
    return [begin + width * offsets[:-1], begin + width * offsets[1:]]


def _chained(first: Int64, second: Int64) -> Int64:
    """Return the offsets of two ragged tables put one below the other."""
    return np.concatenate([first, second[1:] + first[-1]])


def _ranks(question: Question, bounds: Int64) -> list[Int64]:
    first = question.gates.first_of_rank
    hurries = np.zeros(len(first) - 1, np.int64)
    np.maximum.at(hurries, question.rank, bounds[:, 1] - bounds[:, 0])
    return [first[:-1], np.diff(first), hurries]


def _sources(question: Question, bounds: Int64, members: Int64) -> Int64:
    """Return template, part, number inside the part and duration of members."""
    template = question.place[members]
    part = (members[:, None] >= bounds[template, 1:3]).sum(1)
    local = members - bounds[template, part]
    return np.stack([template, part, local, question.templates.duration_ns[members]], 1)


def _dependents(question: Question, bounds: Int64) -> tuple[Int64, Int64]:
    """Return the templates whose early part waits for each template."""
    sources, targets = question.crossing
    place = question.place
    early = targets < bounds[place[targets], 1]
    pairs = np.unique(np.stack([place[sources[early]], place[targets[early]]], 1), axis=0)
    found = Csr.from_pairs(question.num_templates, pairs[:, 0], pairs[:, 1])
    return found.offsets, found.values.astype(np.int64)
