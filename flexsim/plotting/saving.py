"""Writing a figure: whole or not at all, and the same bytes every time."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexsim.files import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")
DPI = 150
_COMPRESSION = 6


def save_figure(figure: Figure, path: Path, compression: int = _COMPRESSION) -> Path:
    """Write a figure as PNG, SVG or PDF, as the path ends, and return the path.

    ``compression`` is that of a PNG: 1 is the quickest, 9 the smallest.
    """
    import matplotlib as mpl

    with (
        mpl.rc_context({"svg.hashsalt": "flexsim"}),
        warnings.catch_warnings(),
        whole_file(path) as temporary,
    ):
        warnings.filterwarnings("ignore", "Glyph .* missing")
        if path.suffix == ".png":
            _write_png(figure, temporary, compression)
        else:
            dates = {".svg": "Date", ".pdf": "CreationDate"}
            metadata = {dates[path.suffix]: None} if path.suffix in dates else None
            figure.savefig(temporary, dpi=DPI, metadata=metadata)
    return path


def _write_png(figure: Figure, path: Path, compression: int) -> None:
    """Draw and lay out once; ``Figure.savefig`` does so twice."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(DPI)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(path, pil_kwargs={"compress_level": compression})
