"""Why folding leaves more than one device a pipeline rank, in a few words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from flexsim.task_graph.incidence import TARGET, Incidence, Int64, mixed, positions, salted, varies
from flexsim.task_graph.places import Places
from flexsim.task_graph.rows import Row


def why_no_coarser(rows: Sequence[Row], who: Incidence, ranks: Int64, names: Sequence[str]) -> str:
    """Return what the first row that tells devices of a rank apart does differently.

    ``ranks`` has the rank (or set of ranks) of every device, ``names`` are the operators'.
    """
    check = _Check(who, ranks, positions(who.devices), np.unique(ranks, return_index=True)[1])
    for row in rows:
        reason = _difference(row, check)
        if reason:
            what = names[row.operator] if row.operator >= 0 else "the update"
            return f"{what} {reason}"
    return "devices of a rank that are alike send to different partners"


@dataclass(frozen=True, eq=False)
class _Check:
    """Whether devices of a rank take part alike in some places; remembers the answers."""

    who: Incidence
    ranks: Int64
    position: Int64
    first_of_rank: Int64
    known: dict[tuple[int, bytes], bool] = field(default_factory=dict)

    def is_alike(self, places: Places, values: Int64 | None = None) -> bool:
        """Whether they do in members of equal ``values``; of any, where values do not vary."""
        content = b"" if values is None else varies(values)
        key = (self.who.number[places], content)
        if key not in self.known:
            self.known[key] = self._compare(places, values if content else None)
        return self.known[key]

    def _compare(self, places: Places, values: Int64 | None) -> bool:
        colors = self.ranks.astype(np.uint64)
        sides = [(self.position[places.groups.reshape(-1)], places.members, np.uint64(0))]
        if places.targets is not None:
            receivers = self.position[places.targets]
            sides.append((receivers, np.arange(places.num_members), TARGET))
        hashes = np.zeros(places.num_members, np.uint64)
        if values is not None:
            hashes = salted(values, 0)
        for device, member, role in sides:
            np.add.at(hashes, member, mixed(colors[device] + role))
        seen = np.zeros(len(self.ranks), np.uint64)
        for device, member, role in sides:
            np.add.at(seen, device, mixed(hashes[member] + role))
        return bool(np.array_equal(seen, seen[self.first_of_rank][self.ranks]))


def _difference(row: Row, check: _Check) -> str:
    if not check.is_alike(row.places):
        return "does not use all devices of a rank alike"
    if not check.is_alike(row.places, row.duration_ns):
        return "takes longer on some devices of a rank than on others"
    if not check.is_alike(row.places, row.num_bytes):
        return "moves more bytes on some devices of a rank than on others"
    return ""
