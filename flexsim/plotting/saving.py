"""Writing a figure: whole or not at all, and the same bytes every time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flexsim.files import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")
_DPI = 160


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, SVG or PDF, as the path ends, and return the path."""
    import matplotlib as mpl

    dates = {".svg": "Date", ".pdf": "CreationDate"}
    metadata = {dates[path.suffix]: None} if path.suffix in dates else None
    with mpl.rc_context({"svg.hashsalt": "flexsim"}), whole_file(path) as temporary:
        figure.savefig(temporary, dpi=_DPI, metadata=metadata)
    return path
