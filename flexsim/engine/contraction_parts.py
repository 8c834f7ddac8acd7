"""Where the early, main and late part of every template begin.

The choice decides only whether a replay can be contracted, never its times: that tasks commit in
the right order is looked at as the replay goes.
"""

from __future__ import annotations

import numpy as np

from flexsim.engine.contraction_question import Question
from flexsim.engine.contraction_small import Tasks
from flexsim.ragged import Csr, offsets_of
from flexsim.task_graph.columns import Int64
from flexsim.task_graph.kinds import NUM_COMPUTE_KINDS
from flexsim.task_graph.places import ragged_ranges


def bounds_of(question: Question) -> Int64:
    """Return, a row a template, the first member of its parts and one beyond the last."""
    offsets = question.templates.offsets[: question.num_templates + 1]
    essential = _essential(question)
    begin = _ends_of_early(question, essential)
    last = begin + 1
    np.maximum.at(last, question.place[essential], essential + 1)
    late = offsets[1:].copy()
    suspects = np.flatnonzero(last < late)
    if len(suspects):
        late[suspects] = _starts_of_late(question, suspects, last[suspects])
    return np.stack([offsets[:-1], begin, late, offsets[1:]], 1)


def _essential(question: Question) -> Int64:
    """Return the members that other actions wait for, or that wait for other actions."""
    found = [question.sides["exits"][1], question.sides["sends"][1]]
    return np.concatenate([*found, question.crossing[0], question.inputs[0]])


def _ends_of_early(question: Question, essential: Int64) -> Int64:
    """Return one beyond the last communication that waits for data alone, from the first on."""
    offsets, kind = question.templates.offsets, question.templates.kind
    free = kind[: question.num_members] >= NUM_COMPUTE_KINDS
    others = [question.sides["exits"][1], question.sides["sends"][1]]
    free[np.concatenate([*others, question.crossing[0], question.gates.waiting[0]])] = False
    waits = np.zeros(question.num_members, bool)
    waits[question.edges[1]] = True
    free &= waits
    end = offsets[: question.num_templates].copy()
    for template in np.flatnonzero(free[end]).tolist():
        while end[template] < offsets[template + 1] - 1 and free[end[template]]:
            end[template] += 1
    return end


def _starts_of_late(question: Question, suspects: Int64, first: Int64) -> Int64:
    """Return the first member of the late parts that begin at ``first`` or later.

    Where the template runs alone, no task of its late part becomes ready before its exits end
    or before any task of its other parts becomes ready.
    """
    offsets = question.templates.offsets
    ready_ns = _undisturbed_ready_ns(question, suspects)
    gate_ns = _gate_ns(question, ready_ns)
    found = []
    for template, begin in zip(suspects.tolist(), first.tolist(), strict=True):
        low, high = offsets[template], offsets[template + 1]
        before = np.maximum.accumulate(ready_ns[low:high])[begin - low - 1 : -1]
        after = np.minimum.accumulate(ready_ns[begin:high][::-1])[::-1]
        fits = after >= np.maximum(before, gate_ns[template])
        found.append(begin + int(np.argmax(fits)) if fits.any() else high)
    return np.array(found, np.int64)


def _gate_ns(question: Question, ready_ns: Int64) -> Int64:
    """Return about when the next action may begin, by template."""
    template, members, _ = question.sides["exits"]
    found = np.zeros(question.num_templates, np.int64)
    np.maximum.at(found, template, ready_ns[members] + question.templates.duration_ns[members])
    return found


def _undisturbed_ready_ns(question: Question, chosen: Int64) -> Int64:
    """Return when members of the chosen templates become ready where each runs alone from 0."""
    place, templates = question.place[: question.num_members], question.templates
    members = np.flatnonzero(np.isin(place, chosen))
    number = np.zeros(question.num_members, np.int64)
    number[members] = np.arange(len(members))
    sources, targets = question.edges
    inside = (place[sources] == place[targets]) & np.isin(place[targets], chosen)
    counts = templates.held.counts[members]
    held = templates.held.values[ragged_ranges(templates.held.offsets[members], counts)]
    _, own = np.unique(
        np.repeat(place[members], counts) * question.num_resources + held, return_inverse=True
    )
    own = own.reshape(-1).astype(np.int32)
    num_resources = int(own.max(initial=-1)) + 1
    tasks = Tasks.of(
        templates.duration_ns[members],
        Csr(offsets_of(counts), own),
        num_resources,
        (number[sources[inside]], number[targets[inside]]),
    )
    none = np.zeros(len(members), np.int64)
    found = np.zeros(question.num_members, np.int64)
    replayed = tasks.replay(none, np.zeros(num_resources, np.int64))
    if replayed is not None:
        found[members] = replayed[0]
    return found
