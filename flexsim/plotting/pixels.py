"""An image whose pixels are drawn as they are, without the work that smoothing takes."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.image import AxesImage
from matplotlib.transforms import Affine2D
from numpy.typing import NDArray

from flexsim.task_graph.columns import Int64, UInt8


class Pixels(AxesImage):
    """Red, green, blue and opacity in bytes; each place shows the pixel that lies there."""

    def make_image(
        self, renderer: Any, magnification: float = 1.0, unsampled: bool = False
    ) -> tuple[UInt8, float, float, Affine2D]:
        """Return the image as it is drawn, from below, where it lies, and no transform."""
        del renderer, unsampled
        pixels: Any = self.get_array()
        box = self.get_window_extent()
        left, columns = _nearest(box.x0, box.x1, magnification, pixels.shape[1])
        below, rows = _nearest(box.y0, box.y1, magnification, pixels.shape[0])
        image: NDArray[np.uint8] = np.ascontiguousarray(pixels.data[::-1][rows][:, columns])
        return image, left, below, Affine2D()


def _nearest(start: float, end: float, magnification: float, count: int) -> tuple[float, Int64]:
    """Return where drawn pixels begin, and for each which of ``count`` lies there."""
    first, last = int(np.floor(start * magnification)), int(np.ceil(end * magnification))
    middle = (np.arange(first, last) + 0.5) / magnification
    place = np.floor((middle - start) / (end - start) * count).astype(np.int64)
    return first / magnification, place.clip(0, count - 1)
