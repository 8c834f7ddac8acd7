"""Uniform pipelines without a plan: stages that are alike are one, ranks that are alike too.

What a scenario needs is put together from pieces, each kept by what it follows from: a small
pipeline by tensor degree and recomputation, prices by placement, kits of templates by both, the
update by the degrees, an order by schedule and shape, the replayed passes by all but the update
and the windows left out of them. Nothing grows with layers, and only the replay with ranks and
microbatches.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np

from flexsim.cost.collectives import Communication
from flexsim.engine.contraction_jump import jump_of
from flexsim.engine.contraction_kit import Kit, Pattern, pattern_of
from flexsim.engine.contraction_store import Store
from flexsim.engine.contraction_uniform import (
    Held,
    Order,
    Passes,
    Ranks,
    closing_of,
    makespan_of,
    order_of,
    replay_passes,
)
from flexsim.models import build_model
from flexsim.scenario.checks import Sizes, in_file, in_schedule
from flexsim.scenario.express_metrics import grown_anywhere, measured
from flexsim.scenario.express_task import End, Task, Whole
from flexsim.scenario.kept import Kept
from flexsim.scenario.limits import check_magnitude
from flexsim.scenario.prepare import Setting, degrees_of
from flexsim.scenario.schema import Scenario
from flexsim.scenario.uniform import (
    Small,
    is_regular,
    may_grow,
    order_key,
    schedule_of,
    seed_of,
    setting_key,
    small_of,
)
from flexsim.strategy import Degrees
from flexsim.strategy.baselines import check_degrees, ranks_of_devices, sharding_of
from flexsim.task_graph.columns import Int64
from flexsim.task_graph.growth import Grown
from flexsim.task_graph.merged_update import build_merged_update, names_on_several
from flexsim.task_graph.schedules import Schedule
from flexsim.task_graph.short import (
    RESOURCES_A_RANK,
    Short,
    durations_of,
    num_short,
    places_in_short,
    resources_in_rank,
)
from flexsim.task_graph.short_pieces import Load, anchors_of, load_of, shared_of
from flexsim.task_graph.site import Site
from flexsim.task_graph.uniform import Seed, priced

_ROOM, _LEAST_ROOM = 1 << 22, 1 << 18
"""Numbers in the store for kits, and what is left of them when all are forgotten."""
_MOST_KITS = 100_000
_MOST_VALUES = 1 << 23
"""Numbers in the store before all entries are forgotten."""


class Express:
    """Simulates uniform pipelines and remembers their pieces."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._numbers: dict[Hashable, int] = {}
        self._kept = Kept(100_000)
        self._seeds = Kept(600)
        self._orders = Kept(1_000)
        self._replayed = Kept(6_000)
        self._forget_kits()

    def _forget_kits(self) -> None:
        self._store, self._kits = Store(_ROOM), Kept(_MOST_KITS)
        self._patterns = Kept(_MOST_KITS)

    def metrics(self, scenario: Scenario, setting: Setting, sizes: Sizes) -> dict[str, Any] | None:
        """Return the metrics of a scenario, or None where it has to take the long way.

        Raise the :class:`FlexSimError` that building in full would raise.
        """
        if not may_grow(scenario, setting, most_zero=1) or scenario.strategy.shard is not None:
            return None
        with in_file(scenario.source, "strategy"), in_schedule(scenario, sizes):
            task = self._prepared(scenario, setting, sizes)
            if task is None:
                return None
            return self._simulated(task)

    def _prepared(self, scenario: Scenario, setting: Setting, sizes: Sizes) -> Task | None:
        device_type = setting.devices.device_types[0]
        training = scenario.training
        model = (
            scenario.source,
            scenario.model,
            (training.precision, training.software, training.optimizer),
            scenario.simulation.collective_algorithm,
            device_type,
        )
        whole = self._kept.once(("whole", model), lambda: _whole(scenario, setting))
        if not whole.is_regular:
            return None
        self._check_magnitude(scenario, whole, model)
        degrees = degrees_of(scenario, sizes, setting.costs.software)
        check_degrees(scenario.strategy.name or "", degrees)
        if degrees.overlap_gradients or degrees.blocking_transfers:
            return None
        small = small_of(scenario, setting, replace(degrees, zero=0))
        if small is None:
            return None
        kind, cluster = self._number((model, small)), self._number(setting_key(scenario))
        return Task(scenario, setting, sizes, degrees, small, model, kind, cluster, whole)

    def _number(self, key: Hashable) -> int:
        """Return a number that stands for a long key."""
        return self._numbers.setdefault(key, len(self._numbers))

    def _check_magnitude(self, scenario: Scenario, whole: Whole, model: Hashable) -> None:
        batch = scenario.training.global_batch
        self._kept.once(
            ("magnitude", model, batch),
            lambda: check_magnitude(scenario.source, whole.graph, batch),
        )

    def _seed(self, task: Task) -> Seed | str:
        return self._seeds.once(("seed", task.kind), lambda: seed_of(task.setting, task.small))

    def _simulated(self, task: Task) -> dict[str, Any] | None:
        plain = self._seed(task)
        if not isinstance(plain, Seed):
            return None
        end, prices = self._end(task), self._prices(task, plain)
        if end is None:
            return None
        load = self._load(task, plain)
        order, num_windows = self._order(task)
        found = self._followed(task, (plain, load, prices), (order, num_windows), end)
        if found is None and order.jump is not None:
            key = order_key(task.degrees), "in full"
            whole = self._orders.once(key, lambda: _ordered(task.degrees, jumps=False))
            found = self._followed(task, (plain, load, prices), (whole, 0), end)
        return None if found is None else measured(task, (plain, load, end), *found)

    def _followed(
        self, task: Task, built: tuple[Seed, Load, Prices], order: tuple[Order, int], end: End
    ) -> tuple[Passes, int] | None:
        """Return the passes and when all ends; None where contraction is not exact."""
        passes = self._passes(task, built, order[0])
        if isinstance(passes, str):
            return None
        makespan_ns = makespan_of(passes, end.closing, order[1])
        return None if isinstance(makespan_ns, str) else (passes, makespan_ns)

    def _load(self, task: Task, plain: Seed) -> Load:
        key = "load", task.kind, task.layers
        return self._seeds.once(key, lambda: load_of(grown_anywhere(plain, task.layers)))

    def _order(self, task: Task) -> tuple[Order, int]:
        """Return the order of a task's passes, and how many windows it leaves out.

        Iterations that differ in windows left out have one order in common.
        """
        key = order_key(task.degrees)
        return self._orders.once(key, lambda: self._made_order(task.degrees))

    def _made_order(self, degrees: Degrees) -> tuple[Order, int]:
        order = _ordered(degrees)
        if order.jump is None:
            return order, 0
        shown = order_key(replace(degrees, num_microbatches=order.schedule.num_microbatches))
        return self._orders.once((shown, "jump"), lambda: order), order.jump.num_windows

    def _passes(self, task: Task, built: tuple[Seed, Load, Prices], order: Order) -> Passes | str:
        """Return the passes of a task, which data, the batch and the update hardly change."""
        prices, degrees = built[2], task.degrees
        shape = degrees.pipeline, degrees.chunks, order.schedule.num_microbatches
        key = (
            task.kind,
            task.times,
            prices.key,
            degrees.schedule,
            shape,
            order.jump is None,
        )
        return self._replayed.once(key, lambda: self._made_passes(task, built, order))

    def _made_passes(
        self, task: Task, built: tuple[Seed, Load, Prices], order: Order
    ) -> Passes | str:
        plain, load, prices = built
        rows = load.of_templates(task.num_stages, plain)
        parts, left = load.parts[rows] * task.times, load.left[rows] * task.times
        held = Held(parts.sum(axis=1), parts, left)
        if held.most.min() <= 0:
            return "an action holds nothing"
        ranks = self._ranks(task, plain, prices)
        if ranks is None:
            return "templates of stages cannot be contracted"
        return replay_passes(ranks, order, held, self._store)

    def _end(self, task: Task) -> End | None:
        """Return the update, for which chunks and recomputation make no difference."""
        like = self._kept.once(("like", task.kind), lambda: self._like(task.small))
        key = "end", task.ranks, like, sharding_of(task.degrees)
        return self._kept.once(key, lambda: self._made_end(task))

    def _like(self, small: Small) -> int:
        return self._number(("like", replace(small.degrees, recompute="none")))

    def _made_end(self, task: Task) -> End | None:
        degrees, setting = replace(task.degrees, chunks=1), task.setting
        small = small_of(task.scenario, setting, replace(degrees, zero=0))
        if small is None:
            return None
        kind = self._number((task.model, small))
        plain = self._seed(replace(task, small=small, kind=kind))
        if not isinstance(plain, Seed):
            return None
        site = _site(setting, degrees)
        grown = Grown(plain, site, setting.config.layers // degrees.pipeline)
        whole, sharing = task.whole.graph, sharding_of(degrees)
        found = build_merged_update(grown, whole, setting.devices, setting.costs, sharing)
        if isinstance(found, str):
            return None
        closing = closing_of(found, site.representatives)
        if isinstance(closing, str):
            return None
        num_tasks = len(closing.rank)
        return End(closing, found.static_memory, num_tasks, found.num_tasks_unfolded)

    def _ranks(self, task: Task, plain: Seed, prices: Prices) -> Ranks | None:
        """Return the ranks put together from kits, made now or before."""
        if self._store.room < _LEAST_ROOM:
            self._forget_kits()
        elif self._store.num_values > _MOST_VALUES:
            self._store.forget_entries()
            self._kits = Kept(_MOST_KITS)
        degrees, num_stages = task.degrees, task.num_stages
        is_pair = degrees.pipeline == 2 and degrees.chunks > 1
        shape = num_short(num_stages), is_pair
        kits = [self._kit(task, plain, shape, column) for column in prices.distinct]
        if any(isinstance(kit, str) for kit in kits):
            return None
        rank = np.arange(num_stages) % degrees.pipeline
        places = places_in_short(num_stages)
        found = cast(list[Kit], kits)
        return Ranks(tuple(found), prices.of_rank[rank], places, degrees.pipeline, RESOURCES_A_RANK)

    def _kit(self, task: Task, plain: Seed, shape: tuple[int, bool], prices: Int64) -> Kit | str:
        key = task.kind, task.times, task.layers, shape, prices.tobytes()
        return self._kits.once(key, lambda: self._made_kit(task, plain, shape, prices))

    def _made_kit(
        self, task: Task, plain: Seed, shape: tuple[int, bool], prices: Int64
    ) -> Kit | str:
        seed = self._priced(task, plain)
        key = "pattern", task.kind, task.layers, shape
        pattern = self._patterns.once(
            key, lambda: self._made_pattern(Short(seed, task.layers, shape[0], prices), shape[1])
        )
        if isinstance(pattern, str):
            return pattern
        duration_ns = durations_of(seed, task.layers, shape[0], prices)
        if duration_ns.min(initial=1) < 1:
            return "a message has no price"
        return pattern.kit(duration_ns, self._store)

    def _made_pattern(self, short: Short, is_pair: bool) -> Pattern | str:
        templates, count = short.templates(), short.site.num_stages
        in_rank = resources_in_rank(templates.resource_table, is_pair)
        stages = np.array([short.like(stage) for stage in range(count)])
        shared = shared_of(short, names_on_several(short.seed)) if count > 1 else []
        at = [(0 if stage == 0 else count - 1, rows) for stage, rows in shared]
        watched = anchors_of(short, stages), at
        return pattern_of(templates, short.labels, in_rank, watched, self._store)

    def _priced(self, task: Task, plain: Seed) -> Seed:
        key = ("priced", task.kind, task.times)
        return self._seeds.once(key, lambda: priced(plain, task.times))

    def _prices(self, task: Task, plain: Seed) -> Prices:
        return self._kept.once(
            ("prices", task.ranks, task.kind, task.times),
            lambda: self._made_prices(task, plain),
        )

    def _made_prices(self, task: Task, plain: Seed) -> Prices:
        site = self._kept.once(("site", task.ranks), lambda: _site(task.setting, task.degrees))
        messages = [m._replace(num_bytes=m.num_bytes * task.times) for m in plain.messages]
        table = np.array([site.prices_ns(message, plain) for message in messages], np.int64)
        table = table.reshape(len(messages), task.degrees.pipeline)
        distinct, number = np.unique(table, axis=1, return_inverse=True)
        return Prices(np.ascontiguousarray(distinct.T), number.reshape(-1), table.tobytes())


@dataclass(frozen=True, eq=False)
class Prices:
    """Prices of all messages."""

    distinct: Int64
    """Those that differ, a row each."""
    of_rank: Int64
    """Which row a rank has."""
    key: bytes
    """Equal for equal prices on as many ranks."""


def _whole(scenario: Scenario, setting: Setting) -> Whole:
    with in_file(scenario.source, "model"):
        graph = build_model(setting.config, 1, scenario.training.precision)
    names = tuple(operator.name for operator in graph.operators)
    return Whole(graph, is_regular(graph, setting.config.layers), graph.flops, names)


def _ordered(degrees: Degrees, jumps: bool = True) -> Order:
    """Return the actions of a pipeline's schedule as a replay takes them."""
    schedule, jump = schedule_of(degrees), None
    if jumps and degrees.schedule in STEPS:
        shorter = partial(_shorter, degrees)
        jump = jump_of(schedule, shorter, STEPS[degrees.schedule](degrees.pipeline))
    return order_of(schedule, jump, RESOURCES_A_RANK)


def _shorter(degrees: Degrees, num_microbatches: int) -> Schedule:
    return schedule_of(replace(degrees, num_microbatches=num_microbatches))


STEPS: Mapping[str, Callable[[int], int]] = {
    "1f1b": lambda num_ranks: 1,
    "interleaved-1f1b": lambda num_ranks: num_ranks,
}
"""Schedules that repeat, and with how many microbatches."""


def _site(setting: Setting, degrees: Degrees) -> Site:
    """Return where ranks stand, each with one stage."""
    devices = ranks_of_devices(degrees).reshape(degrees.pipeline, -1)
    return Site(devices, 1, degrees.data, cast(Communication, setting.costs.communication))
