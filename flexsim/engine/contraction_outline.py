"""What a contracted replay knows of templates before any schedule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flexsim.engine.contraction_kernel import MOST_PARTS, Pipeline
from flexsim.engine.contraction_parts import bounds_of
from flexsim.engine.contraction_question import Question
from flexsim.engine.contraction_store import Store
from flexsim.engine.contraction_units import Units, units_of
from flexsim.ragged import Csr
from flexsim.task_graph.columns import Int64


@dataclass(frozen=True, eq=False)
class Outline:
    """Templates as the kernel takes them, with the kinds of their parts in a store."""

    pipeline: Pipeline
    bounds: Int64
    """First member of every part of every template, and one beyond the last."""
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
    return Outline(
        _pipeline(question, bounds, parts, joined),
        bounds,
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


def _pipeline(question: Question, bounds: Int64, parts: Units, joined: Units) -> Pipeline:
    gates, duration_ns = question.gates, question.templates.duration_ns
    exits = gates.exits
    first_dependent, dependents = _dependents(question, bounds)
    hurries = np.zeros(len(gates.first_of_rank) - 1, np.int64)
    np.maximum.at(hurries, question.rank, bounds[:, 1] - bounds[:, 0])
    sources = np.concatenate([parts.sources, joined.sources])
    template, part, local = _located(question, bounds, sources)
    exit_part = _located(question, bounds, exits)
    return Pipeline(
        units=_unit_rows(parts, joined),
        templates=_template_rows(question, bounds),
        resources=np.concatenate([parts.resources, joined.resources]),
        first_source=_chained(parts.first_source, joined.first_source),
        sources=np.stack([template, part, local, duration_ns[sources]], 1),
        first_gate=_chained(parts.first_gate, joined.first_gate),
        gates=np.concatenate([parts.gates, joined.gates]),
        first_exit=gates.first_exit,
        exits=np.stack([exit_part[2], duration_ns[exits]], 1),
        gate_of_rank=gates.first_of_rank,
        first_dependent=first_dependent,
        dependents=dependents,
        hurries=hurries,
    )


def _chained(first: Int64, second: Int64) -> Int64:
    """Return the offsets of two ragged tables put one below the other."""
    return np.concatenate([first, second[1:] + first[-1]])


def _unit_rows(parts: Units, joined: Units) -> Int64:
    """Return the units of parts, a few empty ones, and those of early and main together."""
    columns = []
    for one, other in (
        (parts.first_resource, joined.first_resource),
        (parts.first_group, joined.first_group),
    ):
        empty = np.full(3, one[-1])
        columns.append(np.concatenate([one[:-1], empty, other + one[-1]]))
    none = np.zeros(3, np.int64)
    kind = np.concatenate([parts.kind, none, joined.kind, none[:1]])
    return np.stack([kind, *columns], 1)


def _template_rows(question: Question, bounds: Int64) -> Int64:
    rows = np.zeros((question.num_templates + 1, 4), np.int64)
    rows[:-1, 0] = bounds[:, 1] - bounds[:, 0]
    rows[:-1, 1] = bounds[:, 3] - bounds[:, 2]
    rows[:, 2] = question.gates.first_of_template
    rows[:-1, 3] = question.rank
    return rows


def _located(question: Question, bounds: Int64, members: Int64) -> tuple[Int64, Int64, Int64]:
    """Return template, part and number inside the part of members."""
    template = question.place[members]
    part = (members[:, None] >= bounds[template, 1:3]).sum(1)
    return template, part, members - bounds[template, part]


def _dependents(question: Question, bounds: Int64) -> tuple[Int64, Int64]:
    """Return the templates whose early part waits for each template."""
    sources, targets = question.crossing
    place = question.place
    early = targets < bounds[place[targets], 1]
    pairs = np.unique(np.stack([place[sources[early]], place[targets[early]]], 1), axis=0)
    found = Csr.from_pairs(question.num_templates, pairs[:, 0], pairs[:, 1])
    return found.offsets, found.values.astype(np.int64)
