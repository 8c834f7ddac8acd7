"""The record of a collective's program, and the one way to get one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from flexsim.ragged import Csr

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Program:
    """The flows of one collective among ``num_members``, a row a flow; predecessors come first.

    Members are positions ``0 .. num_members - 1`` in the order of the layout. A flow starts as
    soon as all flows of its row of ``after`` have arrived, whatever else its sender does then.
    """

    num_members: int
    num_parts: int
    """The full message is this many equal parts."""
    source: Int32
    target: Int32
    parts: Int64
    """Parts that the flow carries: ``parts / num_parts`` of the full message."""
    first_part: Int64
    part_stride: Int64
    """A flow carries the parts ``first_part + part_stride · i`` for ``i`` in ``range(parts)``.

    In an all-to-all, part ``a · num_parts + b`` is what member a has for member b."""
    sums: NDArray[np.bool_]
    """Whether the receiver adds the parts to its own; it replaces its own otherwise."""
    after: Csr
    """Flow to the earlier flows that must have arrived before it starts."""
    step: Int32
    """Flows of equal step run at one time, as far as nobody has to wait."""
    owner: Int32
    """The member that an all-gather has each part from and a reduce-scatter leaves it at."""
    num_pieces: int = 1
    """Every flow travels in this many equal pieces, one after the other: a stream. A piece
    starts when the same pieces of the flows in ``after`` have arrived."""
    in_switch: bool = False
    """Whether switches sum: a flow brings its target the sum over all members."""

    def __len__(self) -> int:
        return len(self.source)

    @property
    def num_steps(self) -> int:
        """Number of steps."""
        return int(self.step.max(initial=-1)) + 1


@lru_cache(maxsize=32)
def program(collective: str, algorithm: str, layout: tuple[int, ...]) -> Program:
    """Return the flows of one collective by one algorithm.

    ``layout`` has the sizes, outermost first, of the members in their order: ``(n,)``,
    ``(hosts, members a host)``, or a torus ``(X, Y, Z)``; for "multi-ring" ``(rings, members)``,
    where a member has a position in every ring. Raise
    :class:`~flexsim.errors.FlexSimError` for an unknown algorithm or one that the layout
    does not admit. Programs are cached and must not be changed.
    """
    from flexsim.collectives.flows import linked
    from flexsim.collectives.table import builder_of

    flows = builder_of(collective, algorithm)(layout)
    return linked(flows, layout)
