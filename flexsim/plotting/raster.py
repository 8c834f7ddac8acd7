"""Bars too narrow for shapes, as pixels whose colour is the mean over the time they cover."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]


def raster(bars: pd.DataFrame, colors: Floats, end: float, num_columns: int) -> Floats:
    """Return an image of shape (rows, columns, 3) of bars from time 0 to ``end``.

    ``bars`` has columns ``row, start, end``; ``colors`` a colour a bar. Where bars overlap,
    or meet within a pixel, their colours mix by the time that they take; bare time is white.
    """
    edges = np.linspace(0, end, num_columns + 1)
    num_rows = int(bars["row"].max()) + 1
    image = np.ones((num_rows, num_columns, 3))
    for row in range(num_rows):
        mine = (bars["row"] == row).to_numpy()
        start, stop = (bars[name].to_numpy(float)[mine] for name in ("start", "end"))
        image[row] = _pixels(start, stop, colors[mine], edges)
    return image


def _pixels(start: Floats, end: Floats, colors: Floats, edges: Floats) -> Floats:
    """Return the mean colour between each two ``edges``."""
    channels = np.column_stack([colors, np.ones(len(colors))])
    sums = np.column_stack([_coverage(start, end, channel, edges) for channel in channels.T])
    width = edges[1] - edges[0]
    bare = np.clip(width - sums[:, 3:], 0, None)
    mean: Floats = (sums[:, :3] + bare) / (sums[:, 3:] + bare)
    return np.clip(mean, 0, 1)


def _coverage(start: Floats, end: Floats, weight: Floats, edges: Floats) -> Floats:
    """Return the integral of the summed weights of all bars between each two ``edges``."""
    times = np.concatenate([start, end])
    steps = np.concatenate([weight, -weight])
    order = np.argsort(times, kind="stable")
    times, height = times[order], np.cumsum(steps[order])
    area = np.concatenate([[0.0], np.cumsum(height[:-1] * np.diff(times))])
    integral: Floats = np.diff(np.interp(edges, times, area))
    return integral
