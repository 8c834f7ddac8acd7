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
    FIRST_READY,
    FREE,
    GROW,
    LAST_READY,
    MISSING,
    MOST_PARTS,
    OVERTAKEN,
    STUCK,
    Machine,
    Order,
    Progress,
    Scratch,
    replay_actions,
    simulate_alone,
)
from flexsim.engine.contraction_outline import Outline, outline_of
from flexsim.engine.contraction_question import Question
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
class Spans:
    """Where the starts of all tasks are kept: three parts an action, and the updates."""

    sizes: Int64
    first: Int64
    base_ns: Int64
    values: Int64
    update_ns: Int64

    def start_ns(self, plan: Plan) -> Int64:
        """Return the start of every task of the plan's graph."""
        templates, template = plan.templates, plan.actions.template
        num_repeated = 2 * templates.num_stages
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
        start_ns = self.spans.start_ns(self.plan)
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
        self.progress = _progress(plan, outline)
        self.scratch = _scratch(plan, outline)

    @property
    def machine(self) -> Machine:
        """All that the kernel works on."""
        store = self.memo.store
        pipeline = self.outline.pipeline
        return Machine(
            store.classes, store.entries, pipeline, self.order, self.progress, self.scratch
        )

    def run(self) -> Contracted | str:
        """Commit all actions, then the updates."""
        code = replay_actions(self.machine)
        while code == GROW:
            self.memo.store.grow()
            code = replay_actions(self.machine)
        left = self.progress.position != self.order.last
        if code == DONE and not left.any():
            return self._update()
        return self._reason(code, int(np.argmax(left)))

    def _reason(self, code: int, rank: int) -> str:
        if code == DONE:
            return f"{self._name(int(self.progress.position[rank]))} waits for an action after it"
        _, _, action, resource = self.progress.state[:4].tolist()
        name = self._name(action)
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
        order, progress, scratch = self.order, self.progress, self.scratch
        update = self.memo.update(self.plan, order.template[np.maximum(order.last - 1, 0)])
        machine = self.machine
        num_members = int(machine.classes.kinds[update.kind, 1])
        ready_ns = scratch.ready_ns[:num_members]
        ready_ns[:] = 0
        action = order.where[update.source_template].max(1)
        end_ns = self._end_ns(action, update)
        np.maximum.at(ready_ns, update.target[action >= 0], end_ns[action >= 0])
        results = scratch.results[:, : len(progress.free_ns)]
        results[FREE] = progress.free_ns
        if simulate_alone(machine, update.kind) < num_members:
            return "tasks of the update wait for each other"
        used = results[LAST_READY] >= 0
        if (results[FIRST_READY, used] <= progress.last_ready_ns[used]).any():
            return "a task of the update becomes ready before one of a backward"
        return self._outcome(scratch.start_ns[:num_members].copy())

    def _end_ns(self, action: Int64, update: Update) -> Int64:
        bounds, member = self.outline.bounds[update.source_template], update.source
        part = (member[:, None] >= bounds[:, 1:3]).sum(1)
        code = 3 * action + part
        local = member - np.take_along_axis(bounds, part[:, None], 1)[:, 0]
        start_ns = self.memo.store.entries.values[self.progress.start[code] + local]
        end_ns: Int64 = (
            self.progress.base_ns[code] + start_ns + self.plan.templates.duration_ns[member]
        )
        return end_ns

    def _outcome(self, update_ns: Int64) -> Contracted:
        plan, progress, values = self.plan, self.progress, self.memo.store.entries.values
        template = plan.actions.template
        num_repeated = 2 * plan.templates.num_stages
        repeated = template < num_repeated
        bounds = np.diff(self.outline.bounds, axis=1)
        sizes = np.zeros((len(template), 3), np.int64)
        sizes[repeated] = bounds[template[repeated]]
        start_ns, end_ns = _action_spans_ns(progress, values, sizes)
        late = _update_spans_ns(plan, update_ns)
        start_ns[~repeated], end_ns[~repeated] = late
        return Contracted(
            plan,
            int(end_ns.max(initial=0)),
            start_ns,
            end_ns,
            int(progress.state[1]),
            int(repeated.sum()) + len(update_ns),
            Spans(sizes.reshape(-1), progress.start, progress.base_ns, values, update_ns),
        )


def _action_spans_ns(progress: Progress, values: Int64, sizes: Int64) -> tuple[Int64, Int64]:
    """Return first start and last end of every action; 0 for those without tasks."""
    base_ns, span = progress.base_ns.reshape(-1, 3), progress.span.reshape(-1, 3)
    there = sizes > 0
    start_ns = np.where(there, base_ns + values[span], np.iinfo(np.int64).max).min(1)
    end_ns = np.where(there, base_ns + values[span + 1], 0).max(1)
    return start_ns, end_ns


def _update_spans_ns(plan: Plan, update_ns: Int64) -> tuple[Int64, Int64]:
    """Return first start and last end of every update, in order of rank."""
    offsets = plan.templates.offsets[2 * plan.templates.num_stages :]
    end_ns = update_ns + plan.templates.duration_ns[offsets[0] :]
    rank = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    first, last = np.full(len(offsets) - 1, np.iinfo(np.int64).max), np.zeros_like(offsets[1:])
    np.minimum.at(first, rank, update_ns)
    np.maximum.at(last, rank, end_ns)
    return np.where(last > 0, first, 0), last


def _order(plan: Plan) -> Order:
    actions, schedule = plan.actions, plan.schedule
    last = schedule.rank_offsets[1:] + np.arange(schedule.num_ranks)
    microbatch = np.maximum(actions.table.microbatch, 0).astype(np.int64)
    return Order(actions.template, microbatch, actions.where(plan.templates.num_templates), last)


def _progress(plan: Plan, outline: Outline) -> Progress:
    num_ranks, num_actions = plan.schedule.num_ranks, len(plan.actions.template)
    num_resources = len(plan.templates.resource_table.kind)
    first = plan.schedule.rank_offsets[:-1] + np.arange(num_ranks)
    steps = np.zeros((num_ranks, 4), np.int64)
    steps[:, 0] = -1
    return Progress(
        position=first,
        start=np.full(3 * num_actions, -1, np.int64),
        base_ns=np.zeros(3 * num_actions, np.int64),
        span=np.zeros(3 * num_actions, np.int64),
        gate_ns=np.zeros(outline.pipeline.gate_of_rank[-1], np.int64),
        free_ns=np.zeros(num_resources, np.int64),
        last_ready_ns=np.full(num_resources, -1, np.int64),
        last_code=np.zeros(num_resources, np.int64),
        pending=np.zeros(2 * num_actions, np.int64),
        pending_ns=np.zeros(2 * num_actions, np.int64),
        first_pending=np.stack([2 * first, 2 * first]),
        steps=steps,
        parts=np.zeros((num_ranks, MOST_PARTS), np.int64),
        lines=np.zeros((num_ranks, MOST_PARTS), np.int64),
        stack=np.arange(num_ranks)[::-1].copy(),
        first_waiting=np.full(num_actions, -1, np.int64),
        next_waiting=np.full(num_ranks, -1, np.int64),
        state=np.array([num_ranks, 0, -1, -1, max(_FEW_ENTRIES, num_actions // 4), -1], np.int64),
    )


def _scratch(plan: Plan, outline: Outline) -> Scratch:
    templates = plan.templates
    num_updates = int(templates.offsets[-1] - templates.offsets[2 * templates.num_stages])
    size = max(outline.most_members, num_updates) + 1
    most_held = MOST_PARTS * outline.most_held
    num_resources = len(templates.resource_table.kind)
    return Scratch(
        waits=np.zeros((MOST_PARTS, outline.most_groups + 1), np.int64),
        key=np.zeros(MOST_PARTS * (1 + outline.most_groups) + 2 * most_held + 2, np.int64),
        resources=np.zeros(most_held, np.int64),
        numbers=np.zeros((MOST_PARTS, max(outline.most_held, num_resources)), np.int64),
        tasks=np.zeros((size, 3), np.int64),
        ready_ns=np.zeros(size, np.int64),
        missing=np.zeros(size, np.int64),
        start_ns=np.zeros(size, np.int64),
        heap=np.zeros(size, np.int64),
        results=np.zeros((5, max(most_held, num_resources)), np.int64),
    )
