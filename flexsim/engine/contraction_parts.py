"""Where the early, main and late part of every template begin.

The choice decides only whether a replay can be contracted, never its times: that tasks commit in
the right order is looked at as the replay goes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from flexsim.engine.contraction_question import Question
from flexsim.engine.contraction_small import Tasks
from flexsim.ragged import Csr, offsets_of
from flexsim.task_graph.columns import Int64
from flexsim.task_graph.kinds import NUM_COMPUTE_KINDS
from flexsim.task_graph.places import ragged_ranges


def bounds_of(question: Question) -> Int64:
    """Return, a row a template, the first member of its parts and one beyond the last."""
    return Parting.of(question).bounds(question.templates.duration_ns)


@dataclass(frozen=True, eq=False)
class Parting:
    """Where the parts of templates may begin, whatever tasks last.

    ``main`` is the first member of the main parts; none of the late parts begins before ``late``.
    """

    offsets: Int64
    main: Int64
    late: Int64
    suspects: Int64
    """Templates that may have a late part."""
    exits: tuple[Int64, Int64]
    """Templates and the members that the next action waits for."""
    alone: tuple[Int64, Tasks]
    """Members of the suspects, and these as tasks that run from 0."""

    @classmethod
    def of(cls, question: Question) -> Parting:
        """Ask templates for all but what their tasks last."""
        offsets = question.templates.offsets[: question.num_templates + 1]
        essential = _essential(question)
        main = _ends_of_early(question, essential)
        late = main + 1
        np.maximum.at(late, question.place[essential], essential + 1)
        suspects = np.flatnonzero(late < offsets[1:])
        template, members, _ = question.sides["exits"]
        return cls(offsets, main, late, suspects, (template, members), _alone(question, suspects))

    def bounds(self, duration_ns: Int64) -> Int64:
        """Return, a row a template, the first member of its parts and one beyond the last.

        ``duration_ns`` is what every member lasts.
        """
        late = self.offsets[1:].copy()
        if len(self.suspects):
            late[self.suspects] = self._starts_of_late(duration_ns)
        return np.stack([self.offsets[:-1], self.main, late, self.offsets[1:]], 1)

    def _starts_of_late(self, duration_ns: Int64) -> Int64:
        """Return the first member of the late parts of the suspects.

        Where the template runs alone, no task of its late part becomes ready before its exits end
        or before any task of its other parts becomes ready.
        """
        ready_ns = self._undisturbed_ready_ns(duration_ns)
        gate_ns = self._gate_ns(ready_ns + duration_ns[: len(ready_ns)])
        found = []
        for template in self.suspects.tolist():
            low, high = self.offsets[template : template + 2].tolist()
            begin = int(self.late[template])
            before = np.maximum.accumulate(ready_ns[low:high])[begin - low - 1 : -1]
            after = np.minimum.accumulate(ready_ns[begin:high][::-1])[::-1]
            fits = after >= np.maximum(before, gate_ns[template])
            found.append(begin + int(np.argmax(fits)) if fits.any() else high)
        return np.array(found, np.int64)

    def _gate_ns(self, end_ns: Int64) -> Int64:
        """Return about when the next action may begin, by template."""
        template, members = self.exits
        found = np.zeros(len(self.offsets) - 1, np.int64)
        np.maximum.at(found, template, end_ns[members])
        return found

    def _undisturbed_ready_ns(self, duration_ns: Int64) -> Int64:
        """Return when members of the suspects become ready where each runs alone from 0."""
        members, tasks = self.alone
        own = replace(tasks, duration_ns=duration_ns[members])
        none, free_ns = np.zeros(len(members), np.int64), np.zeros(tasks.num_resources, np.int64)
        found = np.zeros(int(self.offsets[-1]), np.int64)
        replayed = own.replay(none, free_ns)
        if replayed is not None:
            found[members] = replayed[0]
        return found


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


def _alone(question: Question, chosen: Int64) -> tuple[Int64, Tasks]:
    """Return the members of the chosen templates, and these as tasks, each template by itself."""
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
    tasks = Tasks.of(
        templates.duration_ns[members],
        Csr(offsets_of(counts), own),
        int(own.max(initial=-1)) + 1,
        (number[sources[inside]], number[targets[inside]]),
    )
    return members, tasks
