"""A timeline whose flows share links: at what pace each of them ran, and when."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexsim.task_graph.columns import Int64
from flexsim.timeline.spans import Timeline


@dataclass(frozen=True, eq=False)
class Pieces:
    """Stretches of time in which flows run at constant speed, a row a stretch of one flow.

    Those of one flow follow each other without a gap, from its start to its end.
    """

    flow: Int64
    start_ns: Int64
    end_ns: Int64
    speed: NDArray[np.float64]
    """Share of the pace that the flow has alone on its route."""


@dataclass(frozen=True, eq=False)
class SharedTimeline(Timeline):
    """A timeline of flows whose pace changes: a flow's span may exceed its ``duration_ns``."""

    pieces: Pieces
