"""What a search did, a row a proposal."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from flexsim.files import whole_file

OUTCOMES = ("accepted", "rejected", "cut off", "infeasible")
ACCEPTED, REJECTED, CUT_OFF, INFEASIBLE = OUTCOMES
NEVER = 2**62
"""The makespan of a chain that has found nothing feasible yet."""


class Row(NamedTuple):
    """One proposal.

    ``letters`` are those of SOAP that it touched. ``makespan_ns`` is that of the proposal; -1
    where it was cut off as provably too slow, or cannot be built. ``current_ns`` and
    ``best_ns`` are what the chain is at afterwards, the latter :data:`NEVER` before anything
    that fits memory was found.
    """

    chain: int
    proposal: int
    kind: str
    letters: str
    makespan_ns: int
    outcome: str
    current_ns: int
    best_ns: int


def write_trace(path: Path, rows: Iterable[Row]) -> None:
    """Write ``search.csv``: every proposal, chain by chain, whole or not at all."""
    with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([*Row._fields, "accepted"])
        for row in rows:
            shown = row._asdict() | ({"makespan_ns": ""} if row.makespan_ns < 0 else {})
            shown |= {"best_ns": ""} if row.best_ns >= NEVER else {}
            writer.writerow([*shown.values(), int(row.outcome == ACCEPTED)])


def count(rows: Sequence[Row], outcome: str) -> int:
    """Return how many proposals ended so."""
    return sum(row.outcome == outcome for row in rows)
