"""What is drawn of a finished sweep: one function a picture, one line a function."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flexsim.sweep.result import SweepResult

Picture = Callable[[SweepResult, Path], list[Path]]
"""Draws into a directory what suits the results; returns the paths of what it wrote, if any."""

PICTURES: tuple[Picture, ...] = ()


def pictures(result: SweepResult, directory: Path) -> list[Path]:
    """Draw every picture of :data:`PICTURES` that suits the results; return their paths."""
    return [path for picture in PICTURES for path in picture(result, directory)]
