"""Why folding leaves more than one device a pipeline rank, in a few words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flexsim.task_graph.incidence import TARGET, Incidence, Int64, mixed, positions, salted, varies
from flexsim.task_graph.places import Places
from flexsim.task_graph.rows import Row


def why_no_coarser(rows: Sequence[Row], who: Incidence, ranks: Int64, names: Sequence[str]) -> str:
    """Return what the first row that tells devices of a rank apart does differently.

    ``ranks`` has the rank (or set of ranks) of every device, ``names`` are the operators'.
    """
    known: dict[tuple[int, bytes], bool] = {}
    for row in rows:
        trials = (
            (None, "does not use all devices of a rank alike"),
            (row.duration_ns, "takes longer on some devices of a rank than on others"),
            (row.num_bytes, "moves more bytes on some devices of a rank than on others"),
        )
        for values, reason in trials:
            content = b"" if values is None else varies(values)
            key = (who.number[row.places], content)
            if key not in known:
                known[key] = _is_alike(row.places, values if content else None, who, ranks)
            if not known[key]:
                what = names[row.operator] if row.operator >= 0 else "the update"
                return f"{what} {reason}"
    return "devices of a rank that are alike send to different partners"


def _is_alike(places: Places, values: Int64 | None, who: Incidence, ranks: Int64) -> bool:
    """Whether all devices of a rank take part alike in members with these values."""
    color = ranks.astype(np.uint64)
    sides = _sides(places, who)
    hashes = np.zeros(places.num_members, np.uint64)
    if values is not None:
        hashes = salted(values, 0)
    for device, member, role in sides:
        np.add.at(hashes, member, mixed(color[device] + role))
    seen = np.zeros(len(ranks), np.uint64)
    for device, member, role in sides:
        np.add.at(seen, device, mixed(hashes[member] + role))
    first = np.unique(ranks, return_index=True)[1]
    return bool(np.array_equal(seen, seen[first][ranks]))


def _sides(places: Places, who: Incidence) -> list[tuple[Int64, Int64, np.uint64]]:
    """Return (devices, members, role) of those who hold and of those who receive."""
    position = positions(who.devices)
    sides = [(position[places.groups.reshape(-1)], places.members, np.uint64(0))]
    if places.targets is not None:
        sides.append((position[places.targets], np.arange(places.num_members), TARGET))
    return sides
