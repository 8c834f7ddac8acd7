"""Where the early, main and late part of every template begin.

The choice decides only whether a replay can be contracted, never its times: that tasks commit in
the right order is looked at as the replay goes.
"""

from __future__ import annotations

import numpy as np

from flexsim.engine.contraction_kernel import NUM_BEFORE, Classes, undisturbed_ready_ns
from flexsim.engine.contraction_question import Question
from flexsim.ragged import Csr
from flexsim.task_graph.columns import Int64
from flexsim.task_graph.kinds import NUM_COMPUTE_KINDS


def bounds_of(question: Question) -> Int64:
    """Return, a row a template, the first member of its parts and one beyond the last."""
    offsets = question.templates.offsets[: question.num_templates + 1]
    essential = _essential(question)
    begin = _ends_of_early(question, essential)
    last = offsets[:-1].copy()
    last = np.maximum(last, begin)
    np.maximum.at(last, question.place[essential], essential + 1)
    late = offsets[1:].copy()
    suspects = np.flatnonzero(last < late)
    if len(suspects):
        late[suspects] = _starts_of_late(question, suspects, last[suspects])
    return np.stack([offsets[:-1], begin, late, offsets[1:]], 1)


def _essential(question: Question) -> Int64:
    """Return the members that other actions wait for, or that wait for other actions."""
    found = [question.side("exits")[1], question.side("sends")[1]]
    return np.concatenate([*found, question.crossing[0], question.inputs[0]])


def _ends_of_early(question: Question, essential: Int64) -> Int64:
    """Return one beyond the last communication that waits for data alone, from the first on."""
    offsets, kind = question.templates.offsets, question.templates.kind
    free = kind[: question.num_members] >= NUM_COMPUTE_KINDS
    others = [question.side("exits")[1], question.side("sends")[1]]
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
    ranges = np.stack([offsets[suspects], offsets[suspects + 1]], 1)
    ready_ns = np.zeros(question.num_members, np.int64)
    classes, num_resources = _columns(question)
    undisturbed_ready_ns(classes, ranges, num_resources, ready_ns)
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
    template, members, _ = question.side("exits")
    found = np.zeros(question.num_templates, np.int64)
    np.maximum.at(found, template, ready_ns[members] + question.templates.duration_ns[members])
    return found


def _columns(question: Question) -> tuple[Classes, int]:
    """Return all templates as one part without shared resources."""
    sources, targets = question.edges
    inside = question.place[sources] == question.place[targets]
    following = Csr.from_pairs(question.num_members, sources[inside], targets[inside])
    members, resources = question.held
    code = question.place[members] * question.num_resources + resources
    rows = np.zeros((question.num_members, 7), np.int64)
    rows[:, 0] = question.templates.duration_ns[: question.num_members]
    rows[:, 1] = question.templates.held.offsets[: question.num_members]
    rows[:, 2] = question.templates.held.offsets[1 : question.num_members + 1]
    rows[:, 3], rows[:, 4] = following.offsets[:-1], following.offsets[1:]
    rows[:, NUM_BEFORE] = np.bincount(targets[inside], minlength=question.num_members)
    none = np.zeros((0, 4), np.int64)
    classes = Classes(none, rows, code, following.values.astype(np.int64))
    return classes, question.num_templates * question.num_resources
