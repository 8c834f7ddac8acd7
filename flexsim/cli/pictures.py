"""Saving a figure where the user asked for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flexsim.errors import FlexSimError, choices_text
from flexsim.files import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SUFFIXES = (".png", ".svg", ".pdf")
_DPI = 160


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure whole or not at all; its format follows the path's ending."""
    if path.suffix not in _SUFFIXES:
        raise FlexSimError(f"--plot {path}: {choices_text(path.suffix, _SUFFIXES)} as its ending")
    import matplotlib as mpl

    metadata: dict[str, str | None] | None = {"Date": None} if path.suffix == ".svg" else None
    with mpl.rc_context({"svg.hashsalt": "flexsim"}), whole_file(path) as temporary:
        figure.savefig(temporary, dpi=_DPI, metadata=metadata)
