"""The leaves of an exhaustive search: whole strategies, simulated under every numbering.

Bounds do not depend on how devices that are all alike are numbered. Simulated times do, a little:
tasks that become ready at one moment run in program order, in which devices come by number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import permutations

import numpy as np

from flexsim.search.arrangement import moved
from flexsim.search.moves import Change
from flexsim.search.walk import Walk
from flexsim.strategy import ParallelConfig

Configs = Mapping[str, ParallelConfig]


def try_all(walk: Walk, configs: Configs, num_devices: int) -> bool:
    """Simulate a strategy under every numbering of so many devices; 0: as it is numbered.

    Return whether none was left out for lack of time.
    """
    for numbered in _numberings(configs, num_devices):
        if not walk.goes_on():
            return False
        walk.step(Change("exhaustive", numbered), walk.best_evaluation.makespan_ns - 1)
    return True


def _numberings(configs: Configs, num_devices: int) -> Iterator[Configs]:
    """Yield a strategy, and all others that differ from it only in the devices' numbers."""
    yield configs
    used = sorted({device for each in configs.values() for device in each.mesh.flat.tolist()})
    numbers = np.zeros(max(used) + 1, np.int32)
    for others in permutations(range(num_devices), len(used)):
        if list(others) != used:
            numbers[used] = others
            yield {name: moved(each, numbers[each.mesh.devices]) for name, each in configs.items()}
