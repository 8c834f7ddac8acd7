"""How large a network of links becomes, and what is said where it is too large."""

from __future__ import annotations

import math

from flexsim.collectives.layouts import hosts_and_members
from flexsim.errors import FlexSimError

BYTES_PER_FLOW = 250
"""What writing a program takes for each of its flows."""
BYTES_PER_WAIT = 50
"""The same for each flow that another one waits for."""
BYTES_PER_ROW = {True: 160, False: 700}
"""What lowering and replay take for each row, by whether flows hold their links."""
MOST_ROWS = 2**31 - 1
"""Rows that 32 bits can number."""
_GIB = 2**30
_PASSES = {"all-reduce": 2}
_REMEDIES = (
    "choose fewer microbatches, larger segments, another algorithm (halving-doubling and"
    " hierarchical take fewer flows than ring and direct), or the analytic network"
)

Key = tuple[str, str, tuple[int, ...]]
"""Collective, algorithm and layout."""


def least_of_program(key: Key) -> tuple[int, int]:
    """Return how many flows, and waits of one flow for another, a program has at least."""
    collective, algorithm, layout = key
    hosts, k = hosts_and_members(layout)
    n, passes = math.prod(layout), _PASSES.get(collective, 1)
    num_rings = (1 if hosts == 1 or k == 1 else k) * (1 + algorithm.startswith("bi"))
    if algorithm.endswith("ring") and collective != "broadcast":
        flows = passes * (n - 1) * n * num_rings
        return flows, flows - n * num_rings
    if algorithm == "direct":
        return passes * n * (n - 1), n * (n - 1) ** 2 if passes == 2 else 0
    if algorithm == "hierarchical" and collective != "all-to-all":
        return passes * n * (k + hosts - 2), 0
    return n - 1, 0


def check_program(key: Key, memory_bytes: int | None) -> None:
    """Raise :class:`FlexSimError` where a program cannot be written in ``memory_bytes``."""
    flows, waits = least_of_program(key)
    need = flows * BYTES_PER_FLOW + waits * BYTES_PER_WAIT
    if memory_bytes is None or need <= memory_bytes:
        return
    collective, algorithm, layout = key
    raise FlexSimError(
        f"{collective} by {algorithm!r} among {math.prod(layout):,} members is about {flows:,}"
        f" flows and {waits:,} waits for them, which {_would_take(need, memory_bytes)}; {_REMEDIES}"
    )


def check_rows(num_rows: int, num_flows: int, holds_links: bool, memory_bytes: int | None) -> None:
    """Raise :class:`FlexSimError` where the rows of a lowered graph are too many."""
    need = num_rows * BYTES_PER_ROW[holds_links]
    if num_rows > MOST_ROWS:
        why = f"are more than the {MOST_ROWS:,} that can be numbered"
    elif memory_bytes is not None and need > memory_bytes:
        why = _would_take(need, memory_bytes)
    else:
        return
    raise FlexSimError(f"{num_flows:,} flows in {num_rows:,} rows {why}; {_REMEDIES}")


def _would_take(need: int, memory_bytes: int) -> str:
    return f"would take {need / _GIB:,.1f} GiB where {memory_bytes / _GIB:,.1f} GiB are free"
