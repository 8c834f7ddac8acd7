"""Memory against time in columns as wide as a pixel, each as high as the highest moment in it."""

from __future__ import annotations

import numpy as np

from flexsim.task_graph.columns import Int64
from flexsim.timeline.memory_series import DeviceSeries


def highest_columns(series: DeviceSeries, end_ns: int, num_columns: int) -> Int64:
    """Return the parts at the highest moment of each of ``num_columns`` equal spans of time."""
    edges = np.linspace(0, max(end_ns, 1), num_columns + 1)
    carried = np.searchsorted(series.time_ns, edges[:-1], side="right") - 1
    inside = np.searchsorted(edges, series.time_ns, side="right") - 1
    rows = np.concatenate([carried, np.arange(len(series.time_ns))])
    column = np.concatenate([np.arange(num_columns), inside.clip(0, num_columns - 1)])
    order = np.lexsort((series.total[rows], column))
    last = np.append(np.flatnonzero(np.diff(column[order])), len(order) - 1)
    highest: Int64 = series.parts[rows[order[last]]]
    return highest
