"""Exhaustive search: branch and bound that proves what the best strategy of a space is."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np

from flexsim.search.bound_loads import LoadBound, Loads, LoadTables, no_loads
from flexsim.search.bound_path import PathBound
from flexsim.search.exhaustive_chain import chain_tree
from flexsim.search.exhaustive_leaves import Leaves
from flexsim.search.mcmc import limit_of
from flexsim.search.objective import Problem
from flexsim.search.optcnn import optcnn
from flexsim.search.placements import Pool
from flexsim.search.prices import Prices
from flexsim.search.proposals import propose
from flexsim.search.simple import greedy
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
    num_alike = walk.moves.space.pools[0].size if alike and walk.moves.space.has_any_order else 0
    return tree_of(walk, num_alike).search()


def _wander(walk: Walk) -> None:
    """Walk as a Markov chain for a while, from the best found so far."""
    walk.return_to_best()
    for _ in range(_MOST_WALKED):
        u = 1.0 - walk.rng.random()
        change = propose(walk.moves, walk.state, walk.rng) if walk.goes_on() else None
        if change is None:
            break
        walk.step(change, limit_of(walk.current.makespan_ns, walk.temperature, u))


def tree_of(walk: Walk, num_alike: int) -> Tree:
    """Return the tree of any problem: units in program order, those that are fixed beforehand."""
    space, prices = walk.moves.space, Prices(walk.problem)
    searched = [(unit, list(space.configs(unit))) for unit in walk.moves.units]
    kept = [unit for unit in space.units if not space.is_free(unit)]
    fixed = {op.name: walk.state.configs[op.name] for unit in kept for op in unit.operators}
    devices = {device for pool in space.pools.values() for device in pool.devices}
    tables = LoadTables(prices, max(devices) + 1)
    begin = no_loads(max(devices) + 1)
    for name, config in fixed.items():
        begin = begin.plus(tables.of_operator(walk.problem.graph.by_name[name], config))
    loads = [tables.of_unit(unit, configs) for unit, configs in searched]
    every = {name: [config] for name, config in fixed.items()}
    for unit, configs in searched:
        own = [unit.configs(config) for config in configs]
        every |= {op.name: [each[op.name] for each in own] for op in unit.operators}
    return Tree(
        walk,
        LoadBound(tables, loads, begin, len(devices)),
        PathBound(prices, tables, every),
        [configs for _, configs in searched],
        num_alike,
        Leaves(walk, num_alike),
        dict(fixed),
    )


@dataclass
class Tree:
    """The search of any problem: units get configs one after the other."""

    walk: Walk
    loads: LoadBound
    paths: PathBound
    choices: list[list[ParallelConfig]]
    num_alike: int
    """Devices that may be numbered in any way within the space; 0 where they may not."""
    leaves: Leaves
    configs: dict[str, ParallelConfig]
    """Configs of the operators so far."""

    def search(self) -> bool:
        """Try every strategy that bounds do not rule out; return whether none was left out."""
        return self._descend(0, 0, self.loads.begin)

    def _descend(self, depth: int, num_used: int, loads: Loads) -> bool:
        """Try all configs of the units from ``depth`` on, ``num_used`` devices used before."""
        units = self.walk.moves.units
        if depth == len(units):
            return self.leaves.try_all(dict(self.configs))
        bounds = self.loads(depth, loads)
        for number in np.argsort(bounds, kind="stable").tolist():
            config = self.choices[depth][number]
            if not self.walk.goes_on():
                return False
            if bounds[number] >= self.walk.best_evaluation.makespan_ns:
                break
            if self.num_alike and not _is_first_of_alike(config, num_used):
                continue
            self.configs |= units[depth].configs(config)
            after = self.loads.after(depth, loads, number)
            used = max(num_used, int(config.mesh.flat.max()) + 1)
            if (depth + 1 == len(units) or self._is_open(after)) and not self._descend(
                depth + 1, used, after
            ):
                return False
            for operator in units[depth].operators:
                self.configs.pop(operator.name, None)
        return True

    def _is_open(self, loads: Loads) -> bool:
        """Whether the paths of a partial strategy leave it a chance."""
        best_ns = self.walk.best_evaluation.makespan_ns
        return self.paths(self.configs, loads.parameters) < best_ns


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
