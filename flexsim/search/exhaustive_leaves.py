"""The leaves of an exhaustive search: whole strategies, simulated under every numbering.

Bounds do not depend on how devices that are all alike are numbered. Simulated times do, a little:
tasks that become ready at one moment run in program order, in which devices come by number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import permutations

import numpy as np

from flexsim.search.arrangement import moved
from flexsim.search.delta_objective import DeltaObjective, delta_objective
from flexsim.search.moves import Change
from flexsim.search.walk import Walk
from flexsim.strategy import ParallelConfig

Configs = Mapping[str, ParallelConfig]
KIND = "exhaustive"


class Leaves:
    """Tries whole strategies, each as a change of the one tried before."""

    def __init__(self, walk: Walk, num_alike: int) -> None:
        """Take the walk that keeps the best, and how many devices may be renumbered; 0: none."""
        self._walk = walk
        self._num_alike = num_alike
        self._delta = delta_objective(walk.problem)
        self._delta.start(walk.state.configs, walk.state.stage_of)

    def try_all(self, configs: Configs) -> bool:
        """Simulate a strategy under every numbering; return whether there was time to."""
        for numbered in numberings(configs, self._num_alike):
            if not self._walk.goes_on():
                return False
            limit_ns = self._walk.best_evaluation.makespan_ns - 1
            if self._may_improve(numbered, limit_ns):
                self._walk.step(Change(KIND, numbered), limit_ns)
            else:
                self._walk.leave_out(KIND)
        return True

    def _may_improve(self, configs: Configs, limit_ns: int) -> bool:
        """Whether a strategy takes at most ``limit_ns``, or this is for the walk to find out."""
        if not isinstance(self._delta, DeltaObjective):
            return True
        now = self._delta.blocks.configs
        changed = {name: each for name, each in configs.items() if now[name] != each}
        found = self._delta.propose(changed, limit_ns)
        self._delta.accept()
        return found is not None and (not found.is_feasible or found.makespan_ns <= limit_ns)


def numberings(configs: Configs, num_devices: int) -> Iterator[Configs]:
    """Yield a strategy, and all others that differ from it only in the devices' numbers."""
    yield configs
    used = sorted({device for each in configs.values() for device in each.mesh.flat.tolist()})
    numbers = np.zeros(max(used) + 1, np.int32)
    for others in permutations(range(num_devices), len(used)):
        if list(others) != used:
            numbers[used] = others
            yield {name: moved(each, numbers[each.mesh.devices]) for name, each in configs.items()}
