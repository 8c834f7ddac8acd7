"""Exhaustive search: branch and bound that proves what the best strategy of a space is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations, permutations

import numpy as np

from flexsim.search.bound import Bound, Chosen
from flexsim.search.exhaustive_chain import chain_tree
from flexsim.search.exhaustive_leaves import try_all
from flexsim.search.mcmc import limit_of
from flexsim.search.objective import Problem
from flexsim.search.optcnn import optcnn
from flexsim.search.placements import Pool
from flexsim.search.prices import Prices
from flexsim.search.proposals import propose
from flexsim.search.simple import greedy
from flexsim.search.units import Unit
from flexsim.search.walk import Walk
from flexsim.strategy import ParallelConfig

_MOST_GREEDY = 500
"""Proposals before the tree is searched."""
_MOST_WALKED = 1000
"""Proposals of a Markov chain before the tree is searched."""
_MOST_CHECKED = 8
"""Devices up to which it is checked that all are interchangeable."""


def exhaustive(walk: Walk) -> bool:
    """Try every strategy that a lower bound does not rule out; return whether all were tried.

    First come proposals of the quick searches, which lower what has to be beaten. Where all
    devices are alike and parts may lie anywhere, strategies that differ only in the devices'
    numbers have one bound.
    """
    optcnn(walk)
    greedy(walk, _MOST_GREEDY)
    _wander(walk)
    alike = _are_alike(walk.problem, list(walk.moves.space.pools.values()))
    chain = chain_tree(walk) if alike and walk.goes_on() else None
    if chain is not None:
        return chain.search()
    return _tree(walk, alike and walk.moves.space.has_any_order).descend(0, 0)


def _wander(walk: Walk) -> None:
    """Walk as a Markov chain for a while, from the best found so far."""
    walk.return_to_best()
    for _ in range(_MOST_WALKED):
        u = 1.0 - walk.rng.random()
        change = propose(walk.moves, walk.state, walk.rng) if walk.goes_on() else None
        if change is None:
            break
        walk.step(change, limit_of(walk.current.makespan_ns, walk.temperature, u))


def _tree(walk: Walk, alike: bool) -> _Tree:
    """Return the tree of any problem: units in program order, those that are fixed beforehand."""
    space = walk.moves.space
    bound = Bound(walk.problem, walk.moves, Prices(walk.problem))
    fixed = {
        op.name: walk.state.configs[op.name]
        for unit in space.units
        for op in unit.operators
        if not space.is_free(unit)
    }
    for name, config in fixed.items():
        bound.fix(walk.problem.graph.by_name[name], config)
    choices = [list(space.configs(unit)) for unit in walk.moves.units]
    for unit, configs in zip(walk.moves.units, choices, strict=True):
        bound.prepare(unit, configs)
    num_alike = space.pools[0].size if alike else 0
    return _Tree(walk, bound, choices, num_alike, fixed)


@dataclass
class _Tree:
    walk: Walk
    bound: Bound
    choices: list[list[ParallelConfig]]
    num_alike: int
    """Devices that may be numbered in any way within the space; 0 where they may not."""
    configs: dict[str, ParallelConfig] = field(default_factory=dict)
    chosen: dict[str, Chosen] = field(default_factory=dict)

    def descend(self, depth: int, num_used: int) -> bool:
        """Try all configs of the units from ``depth`` on; return whether none was left out.

        ``num_used`` devices are used by the units before.
        """
        units = self.walk.moves.units
        if depth == len(units):
            return try_all(self.walk, dict(self.configs), self.num_alike)
        for lower_ns, config in self._children(units[depth], depth, num_used):
            if not self.walk.goes_on():
                return False
            if lower_ns >= self.walk.best_evaluation.makespan_ns:
                break
            self._choose(units[depth], config)
            used = max(num_used, int(config.mesh.flat.max()) + 1)
            if self._path_ns(depth) < self.walk.best_evaluation.makespan_ns and not self.descend(
                depth + 1, used
            ):
                return False
            self._forget(units[depth])
        return True

    def _path_ns(self, depth: int) -> int:
        """Return the longer bound, by paths; 0 for the last units, where simulating is as quick."""
        if depth + 1 == len(self.choices):
            return 0
        return self.bound(self.configs, self.chosen.values())

    def _children(
        self, unit: Unit, depth: int, num_used: int
    ) -> Iterator[tuple[int, ParallelConfig]]:
        """Yield the configs of a unit with what devices compute at least, the lowest first."""
        found = []
        for config in self.choices[depth]:
            if self.num_alike and not _is_first_of_alike(config, num_used):
                continue
            self._choose(unit, config)
            found.append((self.bound.busy_ns(self.chosen), config))
        self._forget(unit)
        found.sort(key=lambda pair: pair[0])
        yield from found

    def _choose(self, unit: Unit, config: ParallelConfig) -> None:
        self.configs |= unit.configs(config)
        self.chosen[unit.name] = self.bound.of_unit(unit, config)

    def _forget(self, unit: Unit) -> None:
        for op in unit.operators:
            self.configs.pop(op.name, None)
        self.chosen.pop(unit.name, None)


def _is_first_of_alike(config: ParallelConfig, num_used: int) -> bool:
    """Whether new devices come in the order of their numbers, as the first of equal strategies."""
    new = [device for device in config.mesh.flat.tolist() if device >= num_used]
    return new == list(range(num_used, num_used + len(new)))


def _are_alike(problem: Problem, pools: list[Pool]) -> bool:
    """Whether devices 0, 1, … of one pool may be numbered in any way without any price changing.

    All are of one type on one host, and transfers and groups of a size have one price.
    """
    devices = pools[0].devices
    graph = problem.devices
    if len(pools) > 1 or len(devices) > _MOST_CHECKED or devices != tuple(range(len(devices))):
        return False
    types = {graph.device_types[device] for device in devices}
    if len(types) > 1 or len(set(graph.host_of_device[list(devices)].tolist())) > 1:
        return False
    prices = problem.costs.communication
    pairs = np.array(list(permutations(devices, 2)), np.int32).reshape(-1, 2)
    sent = [prices.transfer_ns(np.array([2**20]), pair[:1], pair[1:]) for pair in pairs]
    if len(np.unique(sent)) > 1:
        return False
    for size in range(2, len(devices) + 1):
        groups = np.array(list(combinations(devices, size)), np.int32)
        single = [prices.collective_ns("all-reduce", 2**20, group[None, :]) for group in groups]
        if len(np.unique(single)) > 1:
            return False
    return True
