"""How communication runs over links: which algorithm, in which pieces, and how they travel."""

from __future__ import annotations

from dataclasses import dataclass

from flexsim.errors import FlexSimError, choices_text

AUTO = "auto"
"""The algorithm that the analytic formula finds fastest."""
CUT_THROUGH = "cut-through"
STORE_AND_FORWARD = "store-and-forward"
FORWARDINGS = (CUT_THROUGH, STORE_AND_FORWARD)


@dataclass(frozen=True)
class NetworkOptions:
    """What a user may choose of ``links`` and ``fair``.

    ``segment_bytes`` is the most that a flow sends at once; None: all of it. With cut-through a
    segment holds its whole route at once, with store-and-forward one link after the other.
    Raise :class:`FlexSimError` for other ways of forwarding and segments without bytes.
    """

    algorithm: str = AUTO
    segment_bytes: int | None = None
    forwarding: str = CUT_THROUGH
    memory_bytes: int | None = None
    """What flows may take; no limit where None."""

    def __post_init__(self) -> None:
        if self.forwarding not in FORWARDINGS:
            choices = choices_text(self.forwarding, FORWARDINGS)
            raise FlexSimError(f"there is no forwarding {self.forwarding!r}: {choices}")
        if self.segment_bytes is not None and self.segment_bytes < 1:
            raise FlexSimError(
                f"segment_bytes = {self.segment_bytes}: a segment has at least one byte"
            )
