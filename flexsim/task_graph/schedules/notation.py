"""Actions as text, in the notation of ``torch.distributed.pipelining``: ``7F3``."""

from __future__ import annotations

import re
from typing import NamedTuple

from flexsim.errors import ScheduleError

_NOTATION = re.compile(r"(\d{1,9})([FBIW])(\d{1,9})", re.ASCII)


class Action(NamedTuple):
    """One pass of one microbatch through one stage."""

    stage: int
    """Global stage, counted from 0 along the model."""
    kind: str
    """F forward, B full backward, I input gradient, W weight gradient."""
    microbatch: int


def parse_action(text: str) -> Action:
    """Return the action that ``"7F3"`` denotes; raise :class:`ScheduleError` otherwise."""
    match = _NOTATION.fullmatch(text.strip())
    if match is None:
        raise ScheduleError(
            f"{text!r} is not an action: write <global stage><F, B, I or W><microbatch>, "
            f"such as 7F3"
        )
    stage, kind, microbatch = match.groups()
    return Action(int(stage), kind, int(microbatch))


def format_action(action: Action) -> str:
    """Return ``"7F3"`` for the forward of microbatch 3 through global stage 7."""
    return f"{action.stage}{action.kind}{action.microbatch}"
