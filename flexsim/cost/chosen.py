"""Communication by an algorithm that a user names, where a collective has it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexsim.collectives import algorithms_of
from flexsim.cost.collectives import Communication
from flexsim.cost.costs import CommunicationModel
from flexsim.errors import FlexSimError


@dataclass(frozen=True)
class ChosenAlgorithm:
    """Prices as ``communication`` does, collectives that have ``algorithm`` by it."""

    communication: Communication
    algorithm: str

    def collective_ns(
        self, collective: str, num_bytes: int, groups: NDArray[np.int32], /
    ) -> NDArray[np.int64]:
        """Return the duration of a collective on every row of ``groups`` (``[K, g]``)."""
        if self.algorithm not in algorithms_of(collective):
            return self.communication.collective_ns(collective, num_bytes, groups)
        try:
            return self.communication.collective_ns(collective, num_bytes, groups, self.algorithm)
        except FlexSimError as problem:
            key = f"simulation.collective_algorithm = {self.algorithm!r}"
            raise type(problem)(f"{key}: {problem}") from problem

    def transfer_ns(
        self,
        num_bytes: NDArray[np.int64] | int,
        sources: NDArray[np.int32],
        targets: NDArray[np.int32],
        /,
    ) -> NDArray[np.int64]:
        """Return the duration of every transfer from ``sources[i]`` to ``targets[i]``."""
        return self.communication.transfer_ns(num_bytes, sources, targets)


def plain(communication: CommunicationModel) -> Communication:
    """Return what prices by the fastest algorithm and knows the links."""
    found = communication
    if isinstance(found, ChosenAlgorithm):
        found = found.communication
    assert isinstance(found, Communication)
    return found
