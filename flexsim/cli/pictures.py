"""Saving a figure where the user asked for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flexsim.errors import FlexSimError, choices_text
from flexsim.plotting import saving

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure whole or not at all; its format follows the path's ending."""
    check_ending(path, "--plot")
    saving.save_figure(figure, path)


def check_ending(path: Path, option: str) -> None:
    """Raise :class:`FlexSimError` where a path's ending is no format of pictures."""
    if path.suffix not in saving.SUFFIXES:
        choices = choices_text(path.suffix, saving.SUFFIXES)
        raise FlexSimError(f"{option} {path}: {choices} as its ending")
