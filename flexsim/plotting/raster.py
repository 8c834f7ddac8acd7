"""Bars too narrow for shapes, as pixels whose colour is the mean over the time they cover."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flexsim.task_graph.columns import Int64

Floats = NDArray[np.float64]


def raster(
    row: Int64, spans: tuple[Floats, Floats], colors: Floats, end: float, num_columns: int
) -> Floats:
    """Return an image of shape (rows, columns, 3) of bars from time 0 to ``end``.

    A bar lies in its ``row`` from one to the other of ``spans`` and has one of ``colors``. Where
    bars overlap, or meet within a pixel, their colours mix by the time that they take; bare time
    is white.
    """
    edges = np.linspace(0, end, num_columns + 1)
    num_rows = int(row.max()) + 1
    order = np.argsort(row, kind="stable")
    bounds = np.searchsorted(row[order], np.arange(num_rows + 1)).tolist()
    image = np.ones((num_rows, num_columns, 3))
    for number in range(num_rows):
        mine = order[bounds[number] : bounds[number + 1]]
        image[number] = _pixels(spans[0][mine], spans[1][mine], colors[mine], edges)
    return image


def _pixels(start: Floats, end: Floats, colors: Floats, edges: Floats) -> Floats:
    """Return the mean colour between each two ``edges``."""
    sums = _coverage(start, end, np.column_stack([colors, np.ones(len(colors))]), edges)
    width = edges[1] - edges[0]
    bare = np.clip(width - sums[:, 3:], 0, None)
    mean: Floats = (sums[:, :3] + bare) / (sums[:, 3:] + bare)
    return np.clip(mean, 0, 1)


def _coverage(start: Floats, end: Floats, weights: Floats, edges: Floats) -> Floats:
    """Return the integral of the summed weights of all bars between each two ``edges``."""
    times = np.concatenate([start, end])
    order = np.argsort(times, kind="stable")
    times = times[order]
    heights = np.cumsum(np.concatenate([weights, -weights])[order], axis=0)
    areas = np.zeros_like(heights)
    np.cumsum(heights[:-1] * np.diff(times)[:, None], axis=0, out=areas[1:])
    integrals = [np.diff(np.interp(edges, times, area)) for area in areas.T]
    return np.column_stack(integrals)
