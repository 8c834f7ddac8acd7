"""A program in blocks: after the configs of some operators change, only what they touch is anew.

It stands for what :func:`flexsim.task_graph.build.build_task_graph` makes of a strategy of one
stage and one microbatch, unfolded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from heapq import heapify, heappop, heappush

import numpy as np

from flexsim.cost.costs import Costs
from flexsim.cost.transfer_table import with_transfer_table
from flexsim.device_graph import DeviceGraph
from flexsim.operator_graph.graph import OperatorGraph
from flexsim.operator_graph.records import Operator
from flexsim.strategy.config import ParallelConfig, check_config
from flexsim.strategy.strategy import Strategy, check_device, check_strategy
from flexsim.task_graph.block_arrays import ChainTable, fits, room_for, sites_of
from flexsim.task_graph.block_bound import ForwardBound
from flexsim.task_graph.block_chains import Brought, Partial, Weaver
from flexsim.task_graph.block_kernel import Current, Linked, link
from flexsim.task_graph.block_outline import ACTIVATION, Chain, Outline
from flexsim.task_graph.block_pool import HEAD_KIND, Pool
from flexsim.task_graph.block_prices import Priced, StepPrices
from flexsim.task_graph.block_update import Update
from flexsim.task_graph.block_weights import Found
from flexsim.task_graph.inference import has_backward
from flexsim.task_graph.kinds import TASK_CODE
from flexsim.task_graph.order import named_schedule
from flexsim.task_graph.pricing import Pricing
from flexsim.task_graph.program import Program
from flexsim.task_graph.rows import Notebook

Configs = Mapping[str, ParallelConfig]
NO_LIMIT_NS = 2**62
MOST_VALUES = 1 << 23
"""Values by device that are kept of contents, about 200 MB, before all is found anew."""


def why_not(strategy: Strategy) -> str:
    """Return in a few words why a strategy has no program in blocks; "" if it has one."""
    if strategy.num_stages > 1:
        return "it has several stages"
    if strategy.num_microbatches > 1:
        return "it has several microbatches"
    if strategy.recompute or strategy.remade:
        return "it recomputes activations"
    if not has_backward(named_schedule(strategy)):
        return "it has no backward"
    return "its transfers block" if strategy.blocking_transfers else ""


@dataclass(frozen=True, eq=False)
class _Known:
    """What a chain brings and its number in the table."""

    number: int
    brought: Brought


@dataclass
class _Before:
    """What a change replaced."""

    configs: dict[str, ParallelConfig] = field(default_factory=dict)
    prices: dict[str, Priced] = field(default_factory=dict)
    steps: dict[int, int] = field(default_factory=dict)
    chains: dict[int, _Known] = field(default_factory=dict)
    partial: dict[int, Partial] = field(default_factory=dict)
    weights: dict[str, Found] = field(default_factory=dict)


class Blocks:
    """A program whose operators' configs change, and what they were before the last change."""

    def __init__(
        self, graph: OperatorGraph, base: Strategy, devices: DeviceGraph, costs: Costs
    ) -> None:
        """Take what all strategies share; :meth:`start` sets the first configs."""
        self.graph = graph
        self.devices = devices
        self._base = base
        self._costs = with_transfer_table(costs)
        self.outline = Outline.of(graph, costs.software.overlap_input_gradients)
        self.sites = sites_of(self.outline)
        self._has_one_type = len(set(devices.device_types)) == 1
        self._num_activations = sum(each.what == ACTIVATION for each in self.outline.chains)
        self._chains_of, self._steps_of = _by_operator(self.outline)
        self._followers = _followers(self.outline)
        self._waits_for = -1 if base.overlap_gradients else TASK_CODE["weight-gradient"]
        self.configs: dict[str, ParallelConfig] = {}
        self._forget_all()

    def _forget_all(self) -> None:
        """Begin with empty tables."""
        self._before = _Before()
        self._checked: set[tuple[object, ...]] = set()
        strategy = replace(self._base, configs=self.configs)
        pricing = Pricing(self.graph, self.devices, self._costs)
        self.program = Program(self.graph, strategy, Notebook(), pricing)
        self.pool = Pool(self.devices.num_devices)
        self.table = ChainTable(self.pool)
        self._weaver = Weaver(self.program, self._costs.software)
        self._known: dict[tuple[object, ...], _Known] = {}
        self._forms: dict[object, int] = {}
        self._form = [self._forms.setdefault(c.form, len(self._forms)) for c in self.outline.chains]
        self._chain: list[_Known | None] = [None] * len(self.outline.chains)
        self._counted: list[_Known | None] = [None] * len(self.outline.chains)
        self._uncounted: dict[int, None] = {}
        self._prices = StepPrices(
            self.program, self.outline, self._steps_of, self.pool, self._has_one_type
        )
        self._bound = ForwardBound(self.outline, self.sites, self.pool.num_devices)
        self._partial: dict[int, Partial] = {}
        self._chain_number = np.zeros(len(self.outline.chains), np.int32)
        self._step_number = np.zeros(len(self.outline.steps), np.int32)
        self.update = Update(self.program, self.outline, self._costs.software, self.pool)
        self._weights_of = self.update.weights.by_operator
        self._num_users = np.zeros(self.devices.num_devices, np.int64)
        self._kept_bytes = np.zeros(self.devices.num_devices, np.int64)
        self.linked = room_for(self.sites, np.zeros(3, np.int64))

    def start(self, configs: Configs) -> None:
        """Take the configs of all operators; raise :class:`StrategyError` if they do not fit."""
        ordered = {op.name: configs[op.name] for op in self.graph.operators if op.name in configs}
        check_strategy(replace(self._base, configs=ordered), self.graph, self.devices.num_devices)
        self._begin(ordered)

    def _begin(self, configs: Configs) -> None:
        """Find everything anew, and forget what was found before."""
        self.configs.clear()
        self._forget_all()
        for operator in self.graph.operators:
            self._configure(operator, configs[operator.name])
        self._apply(self.graph.operators)
        self._before = _Before()

    def change(self, changes: Configs, limit_ns: int = NO_LIMIT_NS) -> bool:
        """Change configs; return False, with nothing changed, if that is above the limit for sure.

        It is for sure where a device computes for longer, or the forward ends too late for the
        backward. Raise :class:`StrategyError`, with nothing changed, if configs do not fit.
        """
        if self.pool.size > MOST_VALUES:
            self._begin(dict(self.configs))
        operators = [self.graph.by_name[name] for name in changes]
        for operator in operators:
            self._check(operator, changes[operator.name])
        self._before = _Before()
        if self._prices.most_ns_with(changes) > limit_ns:
            return False
        try:
            for operator in operators:
                self._configure(operator, changes[operator.name])
            if self._apply(operators, limit_ns):
                return True
        except Exception:
            self.undo()
            raise
        self.undo()
        return False

    def _check(self, operator: Operator, config: ParallelConfig) -> None:
        key = operator.key, config.splits, config.mesh.names, config.mesh.shape
        if key not in self._checked:
            check_config(operator, config)
            self._checked.add(key)
        check_device(self._base, int(config.mesh.flat.max()), self.devices.num_devices)

    def _configure(self, operator: Operator, config: ParallelConfig) -> None:
        """Change the config of one operator and what it computes; remember the old one."""
        old = self.configs.get(operator.name)
        if old is not None:
            self._before.configs.setdefault(operator.name, old)
            self._before.prices.setdefault(operator.name, self._prices.current[operator.name])
            self._num_users[old.mesh.flat] -= 1
        self._num_users[config.mesh.flat] += 1
        self.configs[operator.name] = config
        self.program.cuts.forget(operator)
        self._prices.replace(operator, self._prices.find(operator, config))

    def undo(self) -> None:
        """Return to what was before the last change."""
        before, self._before = self._before, _Before()
        for name, config in before.configs.items():
            self._num_users[self.configs[name].mesh.flat] -= 1
            self._num_users[config.mesh.flat] += 1
            self.configs[name] = config
            self.program.cuts.forget(self.graph.by_name[name])
            self._prices.replace(self.graph.by_name[name], before.prices[name])
        for number, content in before.steps.items():
            self._step_number[number] = content
        for number, known in before.chains.items():
            self._set_chain(number, known)
        self._partial.update(before.partial)
        self.update.replace(before.weights)

    def _apply(self, operators: Iterable[Operator], limit_ns: int = NO_LIMIT_NS) -> bool:
        """Find what configs bring; return False, not finished, if it is above the limit."""
        dirty: set[int] = set()
        weights: dict[str, None] = {}
        for operator in operators:
            dirty |= self._chains_of[operator.name]
            weights |= dict.fromkeys(self._weights_of.get(operator.name, ()))
            self._write_steps(operator)
        left = self._weave(dirty, self._num_activations)
        if limit_ns < NO_LIMIT_NS and self._least_ns() > limit_ns:
            return False
        self._weave(left, len(self._chain))
        changed = {weight: self.update.weights.find(weight) for weight in weights}
        self._before.weights = self.update.replace(changed)
        return True

    def _write_steps(self, operator: Operator) -> None:
        """Give the steps of an operator their contents."""
        contents = self._prices.contents(operator)
        for number, content in zip(self._steps_of[operator.name], contents, strict=True):
            self._before.steps.setdefault(number, int(self._step_number[number]))
            self._step_number[number] = content

    def _least_ns(self) -> int:
        """Return a time that no iteration is shorter than, from the forward as it is now."""
        numbers = self._chain_number, self._step_number
        arrays, contents = self.table.arrays, self.pool.contents
        begin_ns = self._bound.least_ns(arrays, numbers, contents, self.program)
        return begin_ns + int(self._prices.load_ns[1].max())

    def _weave(self, dirty: Iterable[int], end: int) -> list[int]:
        """Find what chains bring, those up to ``end``; return which of the others are to follow."""
        queue = list(dirty)
        heapify(queue)
        while queue and queue[0] < end:
            number = heappop(queue)
            if queue and queue[0] == number:
                continue
            chain = self.outline.chains[number]
            known = self._bring(chain)
            if known is self._chain[number]:
                continue
            old = self._chain[number]
            if old is not None:
                self._before.chains.setdefault(number, old)
            self._set_chain(number, known)
            for read, partial in zip(chain.reads, known.brought.partial, strict=True):
                had = self._partial.get(read.slot, ())
                if had != partial:
                    self._before.partial.setdefault(read.slot, had)
                    self._partial[read.slot] = partial
                    for follower in self._followers.get(read.slot, ()):
                        heappush(queue, follower)
        return queue

    def _set_chain(self, number: int, known: _Known) -> None:
        self._uncounted[number] = None
        self._chain[number] = known
        self._chain_number[number] = known.number

    def _bring(self, chain: Chain) -> _Known:
        layouts = self._weaver.layouts(chain, self._partial)
        key = (self._form[chain.number], self.program.size(chain.tensor), layouts)
        known = self._known.get(key)
        if known is None:
            brought = self._weaver.bring(chain, layouts)
            known = self._known[key] = _Known(self.table.add(brought), brought)
        return known

    def link(self) -> Linked:
        """Return all rows in program order."""
        devices = np.flatnonzero(self._num_users).astype(np.int32)
        current = Current(self._chain_number, self._step_number, *self.update.rows(devices))
        kinds = self.pool.contents.head[:, HEAD_KIND]
        while True:
            link(self.sites, self.table.arrays, current, kinds, self._waits_for, self.linked)
            if fits(self.linked):
                return self.linked
            self.linked = room_for(self.sites, self.linked.counts)

    def peak_bytes(self) -> int:
        """Return what the fullest device holds at most."""
        for number in self._uncounted:
            self._count_kept(self._counted[number], -1)
            self._count_kept(self._chain[number], 1)
            self._counted[number] = self._chain[number]
        self._uncounted.clear()
        return int((self.update.held_bytes() + self._kept_bytes).max(initial=0))

    def _count_kept(self, known: _Known | None, sign: int) -> None:
        """Add to or take from what devices hold what a chain saves for the backward."""
        for mesh, num_bytes in known.brought.kept if known else ():
            self._kept_bytes[mesh.flat] += sign * num_bytes


def _by_operator(outline: Outline) -> tuple[dict[str, set[int]], dict[str, list[int]]]:
    """Return, for every operator, the chains that it takes part in and its steps."""
    names = [operator.name for operator in outline.graph.operators]
    chains: dict[str, set[int]] = {name: set() for name in names}
    steps: dict[str, list[int]] = {name: [] for name in names}
    for chain in outline.chains:
        for item in chain.items:
            chains[item.operator.name].add(chain.number)
    for number, step in enumerate(outline.steps):
        steps[step.operator.name].append(number)
    return chains, steps


def _followers(outline: Outline) -> dict[int, list[int]]:
    """Return, for reads that may stay partial, the chains that the reading step writes."""
    found: dict[int, list[int]] = {}
    for chain in outline.chains:
        for write in chain.writes:
            for slot in write.lenient:
                found.setdefault(slot, []).append(chain.number)
    return found
