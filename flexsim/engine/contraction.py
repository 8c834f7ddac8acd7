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

from flexsim.engine.contraction_kernel import (
    DONE,
    DURATION,
    FIRST_MEMBER,
    FIRST_NS,
    GROW,
    KIND,
    LAST_NS,
    MISSING,
    OVERTAKEN,
    START,
    STUCK,
    Order,
    Progress,
    Scratch,
    replay_actions,
    simulate,
)
from flexsim.engine.contraction_outline import Outline, Question, outline_of
from flexsim.engine.contraction_store import Store
from flexsim.engine.contraction_update import Update, update_of
from flexsim.task_graph.columns import Int64
from flexsim.task_graph.kinds import ACTION_KINDS, NUM_COMPUTE_KINDS, TASK_KINDS
from flexsim.task_graph.places import ragged_ranges
from flexsim.task_graph.plan import Plan
from flexsim.task_graph.templates import Templates
from flexsim.timeline.spans import Timeline

_FEW_ENTRIES = 1_000
_MOST_VALUES = 1 << 25


class Memo:
    """What replays of neighbouring plans share: contents of templates and simulated entries."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.store = Store()
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
            question = Question(
                plan.templates, schedule.rank_of_stage, schedule.blocking_transfers
            )
            known[key] = outline_of(question, self.store)
        found: Outline | str = known[key]  # type: ignore[assignment]
        return found

    def update(self, plan: Plan, last_template: Int64) -> Update:
        """Return the updates of a plan whose ranks end with actions of these templates."""
        overlap = plan.overlap_gradients
        key = (overlap, plan.schedule.blocking_transfers, last_template.tobytes())
        known = self._known.setdefault(plan.templates, {})
        if key not in known:
            known[key] = update_of(plan, last_template, self.store)
        found: Update = known[key]  # type: ignore[assignment]
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
    starts: tuple[Int64, Int64, Int64, Int64]
    """Base and first row of every action but updates, the rows, the start of updates' tasks."""

    def timeline(self) -> Timeline:
        """Return the spans of all tasks."""
        graph, templates, actions = self.plan.task_graph(), self.plan.templates, self.plan.actions
        base_ns, first, values, update_ns = self.starts
        sizes = np.diff(templates.offsets)[actions.template]
        updates = actions.template >= 2 * templates.num_stages
        start_ns = np.empty(graph.num_tasks, np.int64)
        late = np.repeat(updates, sizes)
        rows = ragged_ranges(first[~updates], sizes[~updates])
        start_ns[~late] = np.repeat(base_ns[~updates], sizes[~updates]) + values[rows]
        begin = templates.offsets[actions.template] - templates.offsets[2 * templates.num_stages]
        start_ns[late] = update_ns[ragged_ranges(begin[updates], sizes[updates])]
        return Timeline(graph, start_ns, start_ns + graph.duration_ns)

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
    outline = memo.outline(plan)
    if isinstance(outline, str):
        return outline
    replay = _Replay(plan, memo, outline)
    return replay.run()


class _Replay:
    """One replay: the kernel's arrays and what is asked of them afterwards."""

    def __init__(self, plan: Plan, memo: Memo, outline: Outline) -> None:
        self.plan, self.memo, self.outline = plan, memo, outline
        self.order = _order(plan)
        self.progress = _progress(plan, self.order, outline)
        self.scratch = _scratch(plan, outline)

    def run(self) -> Contracted | str:
        """Commit all actions, then the updates."""
        store, code = self.memo.store, GROW
        while code == GROW:
            code = replay_actions(
                store.classes,
                store.entries,
                self.outline.pipeline,
                (self.order, self.progress),
                self.scratch,
            )
            if code == GROW:
                store.grow()
        left = self.progress.position != self.order.last
        if code == DONE and not left.any():
            return self._update()
        return self._reason(code, int(np.argmax(left)))

    def _reason(self, code: int, rank: int) -> str:
        _, _, action, resource = self.progress.state[:4].tolist()
        if code == DONE:
            return f"{self._name(int(self.progress.position[rank]))} waits for actions after it"
        name = self._name(action)
        if code == OVERTAKEN:
            table = self.plan.templates.resource_table
            stream = TASK_KINDS[table.kind[resource]] if table.kind[resource] else "compute"
            return f"a {stream} task of {name} becomes ready before one of the action before it"
        return {
            STUCK: f"tasks of {name} wait for each other",
            MISSING: f"{name} takes data from an action that the schedule lacks",
        }.get(code, "too few actions are alike")

    def _name(self, action: int) -> str:
        table = self.plan.actions.table
        kind, microbatch = ACTION_KINDS[table.kind[action]], int(table.microbatch[action])
        return f"{table.stage[action]}{kind}{microbatch if microbatch >= 0 else ''}"

    def _update(self) -> Contracted | str:
        order, progress, scratch = self.order, self.progress, self.scratch
        last = np.maximum(order.last - 1, 0)
        update = self.memo.update(self.plan, order.template[last])
        store = self.memo.store
        num_members = int(store.classes.kinds[update.kind, 1])
        ready_ns = scratch.ready_ns[:num_members]
        ready_ns[:] = 0
        action = order.where[update.source_template].max(1)
        end_ns = self._end_ns(action, update.source_template, update.source_local)
        np.maximum.at(ready_ns, update.target[action >= 0], end_ns[action >= 0])
        results = scratch.results
        results[0] = progress.free_ns
        if simulate(store.classes, update.kind, scratch) < num_members:
            return "tasks of the update wait for each other"
        used = results[2] >= 0
        if (results[1][used] <= progress.last_ready_ns[used]).any():
            return "a task of the update becomes ready before one of a backward"
        return self._outcome(scratch.start_ns[:num_members].copy())

    def _end_ns(self, action: Int64, template: Int64, local: Int64) -> Int64:
        entries, classes = self.memo.store.entries, self.memo.store.classes
        kind = self.outline.pipeline.templates[template, KIND]
        first = entries.rows[self.progress.entry[action], START]
        start_ns = self.progress.base_ns[action] + entries.values[first + local]
        end_ns: Int64 = start_ns + classes.members[classes.kinds[kind, FIRST_MEMBER] + local, DURATION]
        return end_ns

    def _outcome(self, update_ns: Int64) -> Contracted:
        plan, rows = self.plan, self.memo.store.entries.rows
        templates, actions = plan.templates, plan.actions
        entry, base_ns = self.progress.entry, self.progress.base_ns
        action_start_ns, action_end_ns = base_ns + rows[entry, FIRST_NS], base_ns + rows[entry, LAST_NS]
        updates = np.flatnonzero(actions.template >= 2 * templates.num_stages)
        offsets = templates.offsets[2 * templates.num_stages :]
        sizes = np.diff(offsets)[actions.template[updates] - 2 * templates.num_stages]
        begin = offsets[actions.template[updates] - 2 * templates.num_stages] - offsets[0]
        duration_ns = templates.duration_ns[offsets[0] :]
        action_start_ns[updates] = action_end_ns[updates] = 0
        for action, low, size in zip(updates.tolist(), begin.tolist(), sizes.tolist(), strict=True):
            if size:
                spans = slice(low, low + size)
                action_start_ns[action] = update_ns[spans].min()
                action_end_ns[action] = (update_ns[spans] + duration_ns[spans]).max()
        return Contracted(
            plan,
            int(action_end_ns.max(initial=0)),
            action_start_ns,
            action_end_ns,
            int(self.progress.state[1]),
            len(entry) - len(updates) + len(update_ns),
            (base_ns, rows[entry, START], self.memo.store.entries.values, update_ns),
        )


def _order(plan: Plan) -> Order:
    actions, schedule = plan.actions, plan.schedule
    last = schedule.rank_offsets[1:] + np.arange(schedule.num_ranks)
    microbatch = actions.table.microbatch.astype(np.int64)
    return Order(actions.template, microbatch, actions.where(plan.templates.num_templates), last)


def _progress(plan: Plan, order: Order, outline: Outline) -> Progress:
    num_ranks, num_actions = len(order.last), len(order.template)
    num_resources = len(plan.templates.resource_table.kind)
    num_gates = outline.pipeline.gate_of_rank[-1]
    stack = np.arange(num_ranks)[::-1].copy()
    most = max(_FEW_ENTRIES, num_actions // 4)
    return Progress(
        position=plan.schedule.rank_offsets[:-1] + np.arange(num_ranks),
        entry=np.full(num_actions, -1, np.int64),
        base_ns=np.zeros(num_actions, np.int64),
        gate_ns=np.zeros(num_gates, np.int64),
        free_ns=np.zeros(num_resources, np.int64),
        last_ready_ns=np.full(num_resources, -1, np.int64),
        stack=stack,
        first_waiting=np.full(num_actions, -1, np.int64),
        next_waiting=np.full(num_ranks, -1, np.int64),
        state=np.array([num_ranks, 0, -1, -1, most], np.int64),
    )


def _scratch(plan: Plan, outline: Outline) -> Scratch:
    templates = plan.templates
    num_updates = int(templates.offsets[-1] - templates.offsets[2 * templates.num_stages])
    size = max(outline.most_members, num_updates) + 1
    return Scratch(
        key=np.zeros(outline.most_key, np.int64),
        ready_ns=np.zeros(size, np.int64),
        missing=np.zeros(size, np.int64),
        start_ns=np.zeros(size, np.int64),
        heap=np.zeros(size, np.int64),
        results=np.zeros((3, len(templates.resource_table.kind)), np.int64),
    )
