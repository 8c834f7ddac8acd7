"""What crosses links, as columns."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexsim.task_graph.columns import Int32, Int64

Float64 = NDArray[np.float64]


class Traffic(NamedTuple):
    """What crosses links when, a row a crossing of some links at one constant pace.

    A crossing carries ``amount`` times a link's ``load`` over each link of its ``way``; way ``w``
    has the links ``link[first[w]:first[w + 1]]``, each of which it names once.
    """

    start_ns: Int64
    end_ns: Int64
    amount: Float64
    way: Int64
    first: Int64
    link: Int32
    load: Float64

    @property
    def num_crossed(self) -> int:
        """How many links are crossed, counted once a crossing."""
        return int((np.diff(self.first)[self.way]).sum())
