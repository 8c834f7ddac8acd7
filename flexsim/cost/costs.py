"""Everything that prices a task graph, in one record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from flexsim.cost.profiles import SoftwareProfile
from flexsim.cost.work import CostModel


class CommunicationModel(Protocol):
    """Prices collectives and transfers that run at the same time, in whole nanoseconds."""

    def collective_ns(
        self, collective: str, num_bytes: int, groups: NDArray[np.int32], /
    ) -> NDArray[np.int64]:
        """Return the duration of a collective on every row of ``groups`` (``[K, g]``)."""
        ...

    def transfer_ns(
        self,
        num_bytes: NDArray[np.int64] | int,
        sources: NDArray[np.int32],
        targets: NDArray[np.int32],
        /,
    ) -> NDArray[np.int64]:
        """Return the duration of every transfer from ``sources[i]`` to ``targets[i]``."""
        ...


@dataclass(frozen=True)
class Costs:
    """A cost model for kernels, one for communication, and the software's habits."""

    compute: CostModel
    communication: CommunicationModel
    software: SoftwareProfile
