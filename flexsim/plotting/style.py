"""Colours shared by all pictures, told apart by colour-blind readers too (Okabe and Ito, 2008)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

KIND_COLORS = {
    "forward": "#0072B2",
    "backward": "#E69F00",
    "input-gradient": "#F0E442",
    "weight-gradient": "#009E73",
    "recompute": "#CC79A7",
    "optimizer": "#D55E00",
    "communication": "#333333",
    "idle": "#ECECEC",
}
"""Kind of bar to colour, in the order of the legend."""

SERIES_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Of series that have no colour of their own, in the order of the legend."""

TEXT_COLOR = "#222222"
_LIGHTEST = 0.55


def kind_rgb(kind: str) -> NDArray[np.float64]:
    """Return the colour of a kind as red, green, blue between 0 and 1."""
    digits = KIND_COLORS[kind].lstrip("#")
    return np.array([int(digits[i : i + 2], 16) for i in (0, 2, 4)]) / 255


def tint(rgb: NDArray[np.float64], chunk: int, num_chunks: int) -> NDArray[np.float64]:
    """Return a colour lightened by chunk: chunk 0 is plain, the last one lightest."""
    share = _LIGHTEST * chunk / max(num_chunks - 1, 1)
    return rgb + (1 - rgb) * share


def text_color_on(rgb: NDArray[np.float64]) -> str:
    """Return the colour in which text is readable on ``rgb``."""
    luminance = float(rgb @ np.array([0.299, 0.587, 0.114]))
    return "white" if luminance < 0.58 else TEXT_COLOR
