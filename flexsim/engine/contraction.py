"""Contracted replay: a pipeline committed action by action instead of task by task, exactly.

Every resource of a forward or a backward belongs to one pipeline rank. So what happens inside
an action depends only on when its first tasks become ready and when its rank's resources become
free, both relative to the first of them: few such *entries* occur, and each is simulated once.

It is exact where on every resource all tasks of an action become ready before those of the next
action that uses it; this is looked at as the replay goes, and where it does not hold the replay
says so instead of giving a wrong time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np

from flexsim.engine.contraction_layout import (
    DONE,
    FAILED,
    MISSING,
    NEVER_NS,
    NUM_NEW,
    OVERTAKEN,
    RESOURCE,
    STUCK,
)
from flexsim.engine.contraction_outline import Outline, outline_of
from flexsim.engine.contraction_question import Question
from flexsim.engine.contraction_store import Store
from flexsim.engine.contraction_update import Update, update_of
from flexsim.engine.contraction_work import Lineup, Work, replay_steps
from flexsim.task_graph.columns import Int64
from flexsim.task_graph.kinds import ACTION_KINDS, NUM_COMPUTE_KINDS, TASK_KINDS
from flexsim.task_graph.places import ragged_ranges
from flexsim.task_graph.plan import Plan
from flexsim.task_graph.templates import Templates
from flexsim.timeline.spans import Timeline

_MOST_VALUES = 1 << 24


class Memo:
    """What replays of neighbouring plans share: contents of templates and simulated entries."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.store = Store()
        self._outlines: dict[bytes, Outline | str] = {}
        self._known: WeakKeyDictionary[Templates, dict[object, object]] = WeakKeyDictionary()

    def make_room(self) -> None:
        """Forget everything where too much is kept."""
        if self.store.num_values > _MOST_VALUES:
            self._clear()

    def outline(self, plan: Plan) -> Outline | str:
        """Return what is known of the plan's templates, or why they cannot be contracted."""
        schedule = plan.schedule
        key = (schedule.blocking_transfers, schedule.rank_of_stage.tobytes())
        known = self._known.setdefault(plan.templates, {})
        if key not in known:
            known[key] = self._outline(
                Question(plan.templates, schedule.rank_of_stage, schedule.blocking_transfers)
            )
        found: Outline | str = known[key]  # type: ignore[assignment]
        return found

    def _outline(self, question: Question) -> Outline | str:
        if question.templates.duration_ns.min(initial=1) < 1:
            return "a task lasts less than a nanosecond"
        if any(len(ends.fetches.members) for ends in question.templates.ends):
            return "weights are gathered ahead of the action that needs them"
        content = question.content()
        if content not in self._outlines:
            self._outlines[content] = outline_of(question, self.store)
        return self._outlines[content]

    def update(self, plan: Plan, last_template: Int64) -> Update:
        """Return the updates of a plan whose ranks end with actions of these templates."""
        overlap = plan.overlap_gradients
        key = (overlap, plan.schedule.blocking_transfers, last_template.tobytes())
        known = self._known.setdefault(plan.templates, {})
        if key not in known:
            known[key] = update_of(plan, last_template)
        found: Update = known[key]  # type: ignore[assignment]
        return found


@dataclass(frozen=True, eq=False)
class Spans:
    """Where the ends of all tasks are kept: three parts an action, and the updates."""

    sizes: Int64
    first: Int64
    base_ns: Int64
    values: Int64
    update_ns: Int64

    def end_ns(self, plan: Plan) -> Int64:
        """Return the end of every task of the plan's graph."""
        templates, template = plan.templates, plan.actions.template
        num_repeated = templates.num_passes
        updates = template >= num_repeated
        sizes = np.diff(templates.offsets)[template]
        late = np.repeat(updates, sizes)
        found = np.empty(len(late), np.int64)
        found[~late] = self.values[ragged_ranges(self.first, self.sizes)]
        found[~late] += np.repeat(self.base_ns, self.sizes)
        begin = templates.offsets[template[updates]] - templates.offsets[num_repeated]
        found[late] = self.update_ns[ragged_ranges(begin, sizes[updates])]
        return found


@dataclass(frozen=True, eq=False)
class Contracted:
    """The outcome of a contracted replay; arrays have a value an action of ``plan.actions``."""

    plan: Plan
    makespan_ns: int
    action_start_ns: Int64
    """Start of the action's first task; 0 for an action without tasks."""
    action_end_ns: Int64
    num_entries: int
    """Distinct schedules inside actions that were simulated for this replay."""
    num_replayed: int
    """Actions, and tasks of updates, that were committed instead of tasks."""
    spans: Spans

    def timeline(self) -> Timeline:
        """Return the spans of all tasks."""
        graph = self.plan.task_graph()
        end_ns = self.spans.end_ns(self.plan)
        return Timeline(graph, end_ns - graph.duration_ns, end_ns)

    @cached_property
    def compute_ns(self) -> Int64:
        """Compute on every device of ``plan.static_memory``, in its order."""
        templates, devices = self.plan.templates, self.plan.static_memory.device
        first = templates.held.values[templates.held.offsets[:-1]]
        device = templates.resource_table.device[first]
        times = np.bincount(self.plan.actions.template, minlength=templates.num_templates)
        total = templates.duration_ns * times[templates.template_of_member]
        chosen = (templates.kind < NUM_COMPUTE_KINDS) & np.isin(device, devices)
        busy_ns = np.zeros(len(devices), np.int64)
        np.add.at(busy_ns, np.searchsorted(devices, device[chosen]), total[chosen])
        return busy_ns


def replay_contracted(plan: Plan, memo: Memo | None = None) -> Contracted | str:
    """Return when every action of a plan runs, or a sentence on why contraction is not exact.

    ``memo`` keeps what was simulated for other plans with templates of the same content.
    """
    memo = memo or Memo()
    memo.make_room()
    schedule = plan.schedule
    together = (np.diff(schedule.step) == 0) & (np.diff(schedule.rank) == 0)
    if together.any():
        return "the schedule runs several actions of a rank at once"
    if not schedule.flushes:
        return "the schedule updates weights between passes"
    outline = memo.outline(plan)
    if isinstance(outline, str):
        return outline
    replay = _Replay(plan, memo, outline)
    return replay.run()


class _Replay:
    """One replay: the kernel's arrays and what is asked of them afterwards."""

    def __init__(self, plan: Plan, memo: Memo, outline: Outline) -> None:
        self.plan, self.memo, self.outline = plan, memo, outline
        self.work = Work.of(Lineup.of(plan), outline)

    def run(self) -> Contracted | str:
        """Commit all actions, then the updates."""
        code = replay_steps(self.memo.store, self.work)
        waiting = self.work.waiting
        return self._update() if code == DONE and not len(waiting) else self._reason(code)

    def _reason(self, code: int) -> str:
        if code == DONE:
            return f"{self._name(int(self.work.waiting[0]))} waits for an action after it"
        resource = self.work.values[RESOURCE]
        name = self._name(int(self.work.values[FAILED]))
        if code == OVERTAKEN:
            table = self.plan.templates.resource_table
            stream = TASK_KINDS[table.kind[resource]] if table.kind[resource] else "compute"
            return f"a {stream} task of {name} becomes ready before one of another action"
        return {
            STUCK: f"tasks of {name} wait for each other",
            MISSING: f"{name} takes data from an action that the schedule lacks",
        }.get(code, "too few actions are alike")

    def _name(self, action: int) -> str:
        table = self.plan.actions.table
        kind, microbatch = ACTION_KINDS[table.kind[action]], int(table.microbatch[action])
        return f"{table.stage[action]}{kind}{microbatch}"

    def _update(self) -> Contracted | str:
        work = self.work
        template = self.plan.actions.template
        update = self.memo.update(self.plan, template[np.maximum(work.last - 1, 0)])
        ready_ns = np.zeros(len(update.tasks.duration_ns), np.int64)
        action = work.where[update.source_template].max(1)
        there = action >= 0
        np.maximum.at(ready_ns, update.target[there], self._end_ns(action, update)[there])
        free_ns, last_ready_ns = work.holdings[:, 0], work.holdings[:, 1]
        replayed = update.tasks.replay(ready_ns, free_ns)
        if replayed is None:
            return "tasks of the update wait for each other or last too long"
        ready_ns, start_ns = replayed
        held = update.tasks.held
        if (ready_ns[held.rows] <= last_ready_ns[held.values]).any():
            return "a task of the update becomes ready before one of a backward"
        return self._outcome(start_ns)

    def _end_ns(self, action: Int64, update: Update) -> Int64:
        bounds, member = self.outline.bounds[update.source_template], update.source
        part = (member[:, None] >= bounds[:, 1:3]).sum(1)
        local = member - np.take_along_axis(bounds, part[:, None], 1)[:, 0]
        first, base_ns, _ = self.work.parts[3 * action + part].T
        end_ns: Int64 = base_ns + self.memo.store.values[first + local]
        return end_ns

    def _outcome(self, update_ns: Int64) -> Contracted:
        plan, entries = self.plan, self.memo.store.values
        template = plan.actions.template
        repeated = template < plan.templates.num_passes
        bounds = np.diff(self.outline.bounds, axis=1)
        sizes = np.zeros((len(template), 3), np.int64)
        sizes[repeated] = bounds[template[repeated]]
        parts = self.work.parts
        late_ns = plan.templates.duration_ns[plan.templates.offsets[plan.templates.num_passes] :]
        start_ns, end_ns = _action_spans_ns(parts, entries, sizes)
        start_ns[~repeated], end_ns[~repeated] = _update_spans_ns(plan, update_ns)
        return Contracted(
            plan,
            int(end_ns.max(initial=0)),
            start_ns,
            end_ns,
            int(self.work.values[NUM_NEW]),
            int(repeated.sum()) + len(update_ns),
            Spans(sizes.reshape(-1), parts[:, 0], parts[:, 1], entries, update_ns + late_ns),
        )


def _action_spans_ns(parts: Int64, entries: Int64, sizes: Int64) -> tuple[Int64, Int64]:
    """Return first start and last end of every action; 0 for those without tasks."""
    base_ns, span = parts[:, 1].reshape(-1, 3), parts[:, 2].reshape(-1, 3)
    there = sizes > 0
    start_ns = np.where(there, base_ns + entries[span], NEVER_NS).min(1)
    end_ns = np.where(there, base_ns + entries[span + 1], 0).max(1)
    return start_ns, end_ns


def _update_spans_ns(plan: Plan, update_ns: Int64) -> tuple[Int64, Int64]:
    """Return first start and last end of every update, in order of rank."""
    offsets = plan.templates.offsets[plan.templates.num_passes :]
    end_ns = update_ns + plan.templates.duration_ns[offsets[0] :]
    rank = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    first, last = np.full(len(offsets) - 1, NEVER_NS), np.zeros_like(offsets[1:])
    np.minimum.at(first, rank, update_ns)
    np.maximum.at(last, rank, end_ns)
    return np.where(last > 0, first, 0), last
