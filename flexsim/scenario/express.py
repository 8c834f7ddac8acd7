"""Uniform pipelines without a plan: stages that are alike are one, ranks that are alike too.

What a scenario needs is put together from pieces, each kept by what it follows from: a small
pipeline by tensor degree and recomputation, prices by placement, kits of templates by both, the
update by the degrees, an order by schedule and shape, the replayed passes by all but the update
and the windows left out of them. Nothing grows with layers, and only the replay with ranks and
microbatches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from flexsim.cost.collectives import Communication
from flexsim.engine.contraction_kit import Kit
from flexsim.engine.contraction_passes import Course, Held, Passes, makespan_of, replay_passes
from flexsim.engine.contraction_uniform import Order, Ranks, closing_of
from flexsim.kept import Kept
from flexsim.models import build_model
from flexsim.operator_graph import OperatorGraph
from flexsim.scenario.checks import Sizes, in_file, in_schedule
from flexsim.scenario.express_kits import Kits
from flexsim.scenario.express_metrics import Figures, Measures, Sums, grown_anywhere
from flexsim.scenario.express_orders import Orders
from flexsim.scenario.express_task import End, Task, Whole
from flexsim.scenario.forms import Form
from flexsim.scenario.limits import check_magnitude
from flexsim.scenario.prepare import Setting, degrees_of
from flexsim.scenario.schema import Scenario
from flexsim.scenario.uniform import (
    Small,
    is_regular,
    may_grow,
    order_key,
    seed_of,
    setting_key,
    small_of,
)
from flexsim.strategy import Degrees
from flexsim.strategy.baselines import check_degrees, ranks_of_devices, sharding_of
from flexsim.task_graph.columns import Int64
from flexsim.task_graph.merged_update import UpdateLayout, lay_out_update
from flexsim.task_graph.short import (
    RESOURCES_A_RANK,
    num_short,
    places_in_short,
)
from flexsim.task_graph.short_pieces import Load, load_of
from flexsim.task_graph.site import Site
from flexsim.task_graph.uniform import Seed
from flexsim.task_graph.update_sketch import num_sketched, sketch_update

_MOST_SEEDS = 200
"""About a megabyte each, with what a stage of theirs holds."""
_LEAST_ROOM = 1 << 18
"""Numbers that are left in the store for kits when all are forgotten."""
_MOST_IN_VAIN = 2
"""Times that windows of like pipelines did not become steady before it is tried no more."""
_MOST_VALUES = 1 << 23
"""Numbers in the store before all entries are forgotten."""


class Express:
    """Simulates uniform pipelines and remembers their pieces."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._numbers: dict[Hashable, int] = {}
        self._kept, self._graphs, self._seeds = Kept(10_000), Kept(4), Kept(_MOST_SEEDS)
        self._sites, self._layouts, self._ends = Kept(1_000), Kept(100), Kept(600)
        self._priced, self._loads = Kept(3_000), Kept(2_000)
        self._orders = Orders()
        self._in_vain: Counter[Hashable] = Counter()
        self._replayed, self._followed_on = Kept(6_000), Kept(1_000)
        self._common, self._built = Kept(600), Kept(600)
        self._measures = Measures(self._seed)
        self._kits = Kits()

    def metrics(self, scenario: Scenario, form: Form, sizes: Sizes) -> dict[str, Any] | None:
        """Return the metrics of a scenario, or None where it has to take the long way.

        Raise the :class:`FlexSimError` that building in full would raise.
        """
        with in_file(scenario.source, "strategy"), in_schedule(scenario, sizes):
            is_single = sizes.num_microbatches == 1
            key = form.number, is_single, scenario.training.micro_batch
            built = self._built.once(key, lambda: self._made(scenario, form, is_single))
            if built is None:
                return None
            task = built.figures.task
            self._check_magnitude(scenario, task.whole, task.model)
            return self._simulated(built, sizes.num_microbatches)

    def _made(self, scenario: Scenario, form: Form, is_single: bool) -> Built | None:
        """Return all that scenarios of a form have in common that have one micro-batch too."""
        key = form.number, is_single
        found = self._common.once(key, lambda: self._made_common(scenario, form, is_single))
        if found is None:
            return None
        task, end, sums = found
        task = replace(task, times=scenario.training.micro_batch)
        prices = self._prices(task)
        return Built(prices, end, Figures.of(task, sums))

    def _made_common(
        self, scenario: Scenario, form: Form, is_single: bool
    ) -> tuple[Task, End, Sums] | None:
        """Return all that scenarios of a form have in common that have one microbatch, or more."""
        task = self._prepared(scenario, form, is_single)
        plain = None if task is None else self._seed(task)
        if task is None or not isinstance(plain, Seed):
            return None
        end = self._end(task)
        if end is None:
            return None
        load = self._load(task, plain)
        return task, end, Sums.of(task, (plain, load, end))

    def _prepared(self, scenario: Scenario, form: Form, is_single: bool) -> Task | None:
        setting = form.setting
        if not may_grow(scenario, setting, most_zero=1) or scenario.strategy.shard is not None:
            return None
        model = self._number((_origin(scenario, setting), scenario.model))
        whole = self._kept.once(("whole", model), lambda: self._whole(scenario, setting))
        if not whole.is_regular:
            return None
        self._check_magnitude(scenario, whole, model)
        degrees = degrees_of(scenario, form.sizes, setting.costs.software)
        degrees = replace(degrees, num_microbatches=1 if is_single else 2)
        check_degrees(scenario.strategy.name or "", degrees)
        if degrees.overlap_gradients:
            return None
        small = small_of(scenario, setting, replace(degrees, zero=0))
        if small is None:
            return None
        kind = self._kind(model, small, scenario, setting)
        cluster, turns = self._number(setting_key(scenario)), self._number(order_key(degrees))
        return Task(scenario, setting, degrees, small, model, kind, cluster, turns, whole)

    def _kind(self, model: Hashable, small: Small, scenario: Scenario, setting: Setting) -> int:
        """Return the number of a small pipeline, which models that differ in layers share."""

        def made() -> int:
            config = replace(setting.config, layers=small.layers)
            return self._number((_origin(scenario, setting), config, small))

        return self._kept.once(("kind", model, small), made)

    def _number(self, key: Hashable) -> int:
        """Return a number that stands for a long key."""
        return self._numbers.setdefault(key, len(self._numbers))

    def _check_magnitude(self, scenario: Scenario, whole: Whole, model: Hashable) -> None:
        batch = scenario.training.global_batch
        self._kept.once(
            ("magnitude", model, batch),
            lambda: check_magnitude(scenario.source, whole, batch),
        )

    def _whole(self, scenario: Scenario, setting: Setting) -> Whole:
        return _whole(self._graph(scenario, setting), setting.config.layers)

    def _graph(self, scenario: Scenario, setting: Setting) -> OperatorGraph:
        """Return the model with one sequence, which is large and hardly asked for."""
        precision = scenario.training.precision
        with in_file(scenario.source, "model"):
            return self._graphs.once(
                (setting.config, precision), lambda: build_model(setting.config, 1, precision)
            )

    def _seed(self, task: Task) -> Seed | str:
        return self._seeds.once(task.kind, lambda: seed_of(task.setting, task.small))

    def _simulated(self, built: Built, num_microbatches: int) -> dict[str, Any] | None:
        task, last = built.figures.task, self._orders.num_attempts - 1
        for attempt in range(last + 1):
            key = task.kind, task.turns, attempt
            if attempt < last and self._in_vain[key] >= _MOST_IN_VAIN:
                continue
            order, num_windows = self._orders.order(task, num_microbatches, attempt)
            found = self._followed(built, order, num_windows)
            if found is not None:
                return self._measures.measured(built.figures, found[0], num_microbatches, found[1])
            if order.jump is None:
                return None
            self._in_vain[key] += 1
        return None

    def _followed(self, built: Built, order: Order, num_windows: int) -> tuple[Passes, int] | None:
        """Return the passes and when all ends; None where contraction is not exact."""
        passes = self._passes(built.figures.task, built.prices, (order, num_windows))
        if isinstance(passes, str):
            return None
        makespan_ns = makespan_of(passes, built.end.closing)
        return None if isinstance(makespan_ns, str) else (passes, makespan_ns)

    def _load(self, task: Task, plain: Seed) -> Load:
        key = task.kind, task.layers
        return self._loads.once(key, lambda: load_of(grown_anywhere(plain, task.layers)))

    def _passes(self, task: Task, prices: Prices, order: tuple[Order, int]) -> Passes | str:
        """Return the passes of a task, which data, the batch and the update hardly change."""
        shown, num_windows = order
        num_microbatches = shown.schedule.num_microbatches
        turns = task.turns, num_microbatches, shown.leaves_out
        key = task.kind, task.layers, task.times, prices.key, *turns
        course = self._replayed.once(key, lambda: self._made_passes(task, prices, shown))
        if isinstance(course, str):
            return course
        return self._followed_on.once((*key, num_windows), lambda: course.passes(num_windows))

    def _made_passes(self, task: Task, prices: Prices, order: Order) -> Course | str:
        plain = cast(Seed, self._seed(task))
        load = self._load(task, plain)
        rows = load.of_templates(task.num_stages, plain)
        parts, left = load.parts[rows] * task.times, load.left[rows] * task.times
        held = Held(parts.sum(axis=1), parts, left)
        if held.most.min() <= 0:
            return "an action holds nothing"
        ranks = self._ranks(task, plain, prices)
        if ranks is None:
            return "templates of stages cannot be contracted"
        return replay_passes(ranks, order, held, self._kits.store)

    def _end(self, task: Task) -> End | None:
        """Return the update, for which chunks and recomputation make no difference."""
        like = self._kept.once(("like", task.kind), lambda: self._like(task.small))
        key = task.ranks, like, sharding_of(task.degrees)
        return self._ends.once(key, lambda: self._made_end(task))

    def _like(self, small: Small) -> int:
        return self._number(("like", replace(small.degrees, recompute="none")))

    def _made_end(self, task: Task) -> End | None:
        degrees, setting = replace(task.degrees, chunks=1), task.setting
        small = small_of(task.scenario, setting, replace(degrees, zero=0))
        if small is None:
            return None
        kind = self._kind(task.model, small, task.scenario, setting)
        plain = self._seed(replace(task, small=small, kind=kind))
        if not isinstance(plain, Seed):
            return None
        layout = self._layout(task, plain, degrees)
        found = layout if isinstance(layout, str) else layout.on(self._site(task))
        if isinstance(found, str):
            return None
        closing = closing_of(found)
        num_tasks = len(closing.rank)
        return End(closing, found.static_memory, num_tasks, found.num_tasks_unfolded)

    def _layout(self, task: Task, plain: Seed, degrees: Degrees) -> UpdateLayout | str:
        """Return the update apart from prices, which many sites have in common."""
        sharing, layers = sharding_of(degrees), task.setting.config.layers // degrees.pipeline
        shape = num_sketched((degrees.pipeline, degrees.data, layers), sharing)
        key = task.model, self._like(task.small), degrees.pipeline, shape, sharing
        return self._layouts.once(
            key, lambda: _layout(task, plain, self._graph(task.scenario, task.setting), shape)
        )

    def _site(self, task: Task) -> Site:
        return self._sites.once(task.ranks, lambda: _site(task.setting, task.degrees))

    def _ranks(self, task: Task, plain: Seed, prices: Prices) -> Ranks | None:
        """Return the ranks put together from kits, made now or before."""
        if self._kits.store.room < _LEAST_ROOM:
            self._kits.forget()
        elif self._kits.store.num_values > _MOST_VALUES:
            self._kits.forget_entries()
        degrees, num_stages = task.degrees, task.num_stages
        is_pair = degrees.pipeline == 2 and degrees.chunks > 1
        shape = num_short(num_stages), is_pair
        kits = [self._kits.kit(task, plain, shape, column) for column in prices.distinct]
        if any(isinstance(kit, str) for kit in kits):
            return None
        rank = np.arange(num_stages) % degrees.pipeline
        places = places_in_short(num_stages)
        found = cast(list[Kit], kits)
        return Ranks(tuple(found), prices.of_rank[rank], places, degrees.pipeline, RESOURCES_A_RANK)

    def _prices(self, task: Task) -> Prices:
        key = task.ranks, task.kind, task.times
        return self._priced.once(key, lambda: self._made_prices(task))

    def _made_prices(self, task: Task) -> Prices:
        key, plain = ("tariff", task.ranks, task.kind), cast(Seed, self._seed(task))
        tariff = self._sites.once(key, lambda: self._site(task).tariff(plain))
        distinct, of_rank = tariff.prices_ns(task.times)
        return Prices(distinct, of_rank, distinct.tobytes() + of_rank.tobytes())


@dataclass(frozen=True, eq=False)
class Built:
    """What scenarios have in common that differ in their batch alone."""

    prices: Prices
    end: End
    figures: Figures


@dataclass(frozen=True, eq=False)
class Prices:
    """Prices of all messages."""

    distinct: Int64
    """Those that differ, a row each."""
    of_rank: Int64
    """Which row a rank has."""
    key: bytes
    """Equal for equal prices on as many ranks."""


def _layout(
    task: Task, plain: Seed, whole: OperatorGraph, shape: tuple[int, int, int]
) -> UpdateLayout | str:
    sharing = sharding_of(task.degrees)
    costs, device_type = task.setting.costs, task.setting.devices.device_types[0]
    pricing = costs.compute, costs.software, device_type
    sketch = sketch_update(plain, shape, whole, pricing, sharing)
    return sketch if isinstance(sketch, str) else lay_out_update(sketch, task.degrees.pipeline)


def _origin(scenario: Scenario, setting: Setting) -> Hashable:
    """Return what seeds follow from beside the model and the small pipeline."""
    training = scenario.training
    trained = training.precision, training.software, training.optimizer
    algorithm = scenario.simulation.collective_algorithm
    return scenario.source, trained, algorithm, setting.devices.device_types[0]


def _whole(graph: OperatorGraph, layers: int) -> Whole:
    return Whole(
        is_regular(graph, layers),
        graph.num_parameters,
        graph.flops,
        graph.tokens_per_sequence,
        tuple(operator.name for operator in graph.operators),
    )


def _site(setting: Setting, degrees: Degrees) -> Site:
    """Return where ranks stand, each with one stage."""
    devices = ranks_of_devices(degrees).reshape(degrees.pipeline, -1)
    return Site(devices, 1, degrees.data, cast(Communication, setting.costs.communication))
