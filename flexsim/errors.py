"""The error tree: everything a user can cause derives from :class:`FlexSimError`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FlexSimError(Exception):
    """A user's mistake, told in one sentence; the command line exits with code 2."""


class ScenarioError(FlexSimError):
    """A scenario file or one of its keys is wrong."""


class ModelError(FlexSimError):
    """A model cannot be built from the given shape."""


class DeviceGraphError(FlexSimError):
    """A device graph is malformed or too small."""


class StrategyError(FlexSimError):
    """A strategy does not fit the model or the cluster."""


class ProfileError(FlexSimError):
    """A device, link or software profile is missing or malformed."""


class ScheduleError(FlexSimError):
    """A pipeline schedule is malformed or does not fit its stages."""


class DeadlockError(FlexSimError):
    """A task graph cannot run to its end; the message names one cycle."""


class WorkersError(FlexSimError):
    """Work cannot be spread: no scheduler answers, or its workers do not fit or are gone."""


class SweepError(FlexSimError):
    """A sweep file, one of its expressions or its results file is wrong."""


def choices_text(name: str, choices: Iterable[str]) -> str:
    """Return ``"did you mean 'x'? choose from a, b"`` for an unknown ``name``."""
    known = sorted(choices)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}choose from {', '.join(known)}"
