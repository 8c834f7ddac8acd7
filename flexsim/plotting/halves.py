"""Bars that run at once on one rank, as DualPipe's: forwards above, backwards below."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flexsim.plotting.bars import BAR_CODE, Bars
from flexsim.task_graph.columns import Int64

_HALF = 0.21
"""Of a row's height of 1: how far from its middle the middle of a halved bar lies."""


def row_offsets(bars: Bars) -> NDArray[np.float64]:
    """Return how far below the middle of its row every bar's middle is: 0 if it is whole."""
    is_forward = bars.kind == BAR_CODE["forward"]
    return np.where(_overlaps(bars), np.where(is_forward, -_HALF, _HALF), 0.0)


def _overlaps(bars: Bars) -> NDArray[np.bool_]:
    """Tell which bars of actions run while another on their row does in the other direction."""
    overlapping = np.zeros(len(bars), bool)
    actions = np.flatnonzero(bars.stage >= 0)
    order = actions[np.lexsort((bars.start_s[actions], bars.row[actions]))]
    pairs = np.stack([order[:-1], order[1:]])[:, _is_pair(bars, order[:-1], order[1:])]
    overlapping[pairs.ravel()] = True
    return overlapping


def _is_pair(bars: Bars, first: Int64, second: Int64) -> NDArray[np.bool_]:
    is_forward = bars.kind == BAR_CODE["forward"]
    pairs = (bars.start_s[second] < bars.end_s[first]) & (bars.row[first] == bars.row[second])
    return np.asarray(pairs & (is_forward[first] != is_forward[second]), bool)
