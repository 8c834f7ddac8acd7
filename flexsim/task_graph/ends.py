"""Where templates are joined to others, read off their rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from flexsim.task_graph.columns import Int64
from flexsim.task_graph.kinds import TASK_CODE
from flexsim.task_graph.places import Sorted
from flexsim.task_graph.rows import INPUT, B, Row, U
from flexsim.task_graph.templates import Ends

_WEIGHT = TASK_CODE["weight-gradient"]
_INPUT = TASK_CODE["input-gradient"]
_PARAMETER = TASK_CODE["parameter"]
_OFFLOAD, _RELOAD = TASK_CODE["offload"], TASK_CODE["reload"]


def ends_of(
    rows: Sequence[Row], rows_of: Sequence[Sequence[int]], first: Int64
) -> tuple[Ends, ...]:
    """Return the ends of every template.

    ``rows_of`` has the rows of each; ``first`` is the first member of every row within it.
    """
    members = first.tolist()
    actions = [_Action(rows, indices, members) for indices in rows_of]
    return tuple(action.ends() for action in actions)


@dataclass(frozen=True, eq=False)
class _Action:
    """The rows of one template among all ``rows``; members are numbered within the template."""

    rows: Sequence[Row]
    indices: Sequence[int]
    first: Sequence[int]

    def ends(self) -> Ends:
        """Return where the template is joined to others; :class:`Ends` tells what is what."""
        found = Ends(self._exits, self._tails(), self._entries(), self._heads(), self._sends())
        gathers = [i for i in self.indices if self._is_fetch(i)]
        if not gathers:
            return self._ahead_of_reload(found)
        return replace(found, fetches=self._fetches(gathers), gates=self._gates(gathers[-1]))

    def _is_fetch(self, index: int) -> bool:
        row = self.rows[index]
        return row.kind == _PARAMETER or (row.kind == _RELOAD and row.action != U)

    def _ahead_of_reload(self, found: Ends) -> Ends:
        """Let the next action bring back what it needs while the last layer of this one runs.

        It begins to compute when only that layer may still be on its way to the host.
        """
        sent = [i for i in self.indices if self.rows[i].kind == _OFFLOAD]
        if not sent or self.rows[sent[0]].action == U:
            return found
        leaves = _merged(self._inputs(sent[:-1] or sent))
        before = self.rows[sent[-2]].needs if len(sent) > 1 else ()
        return replace(found, leaves=leaves, gates=_merged(self._inputs(before)))

    @cached_property
    def _compute(self) -> list[int]:
        return [i for i in self.indices if self.rows[i].is_compute]

    @cached_property
    def _inside(self) -> frozenset[int]:
        return frozenset(self.indices)

    @cached_property
    def _exits(self) -> Sorted:
        backward = any(self.rows[i].action in (B, INPUT) for i in self.indices[:1])
        wanted = _INPUT if backward else -1
        preferred = [i for i in self._compute if self.rows[i].kind == wanted]
        everywhere = self._mask(self._compute)
        covered = 0
        found: list[tuple[Sorted, int]] = []
        for index in (*reversed(preferred), *reversed(self._compute)):
            if covered == everywhere:
                break
            places = self.rows[index].places
            if places.mask & ~covered:
                found.append((_outside(places.inputs, covered), self.first[index]))
                covered |= places.mask
        return _merged(found)

    def _mask(self, indices: Iterable[int]) -> int:
        """Return the devices on which some of ``indices`` run, as the bits of one number."""
        mask = 0
        for places in dict.fromkeys(self.rows[i].places for i in indices):
            mask |= places.mask
        return mask

    def _tails(self) -> Sorted:
        weights = [i for i in self.indices if self.rows[i].kind == _WEIGHT]
        return _merged([(self._exits, 0), *self._inputs(weights)])

    def _entries(self) -> Sorted:
        found: list[tuple[Sorted, int]] = []
        before: dict[int, int] = {}
        for index in self.indices:
            row = self.rows[index]
            mask, seen = row.places.mask, 0
            for need in row.needs:
                seen |= before.get(need, 0)
            if row.is_compute and mask & ~seen:
                found.append((_outside(row.places.inputs, seen), self.first[index]))
            before[index] = seen | mask if row.is_compute else seen
        return _merged(found)

    def _heads(self) -> Sorted:
        inside = self._inside
        return _merged(
            self._inputs(i for i in self.indices if inside.isdisjoint(self.rows[i].needs))
        )

    def _sends(self) -> Sorted:
        return _merged(
            self._inputs(i for i in self.indices if self.rows[i].places.targets is not None)
        )

    def _fetches(self, gathers: Iterable[int]) -> Sorted:
        inside = self._inside
        return _merged(self._inputs(i for i in gathers if inside.isdisjoint(self.rows[i].needs)))

    def _gates(self, last: int) -> Sorted:
        """Return what the gather that would follow the ``last`` one waits for.

        Where that waits for the unit just before it, all that is before the next action ends;
        else that unit, which runs while the next is gathered.
        """
        before = [i for i in self._compute if i < last]
        if not before or before[-1] in self.rows[last].needs:
            return self._exits
        return _merged(self._inputs(before[-1:]))

    def _inputs(self, indices: Iterable[int]) -> list[tuple[Sorted, int]]:
        return [(self.rows[i].places.inputs, self.first[i]) for i in indices]


def _outside(side: Sorted, mask: int) -> Sorted:
    """Return the pairs whose device is not in ``mask``."""
    if not mask:
        return side
    keep = np.array([not (mask >> int(device)) & 1 for device in side.devices], bool)
    return Sorted(side.devices[keep], side.members[keep])


def _merged(sides: Sequence[tuple[Sorted, int]]) -> Sorted:
    """Join sides whose members are shifted by an offset each."""
    if not sides:
        return Sorted(np.zeros(0, np.int32), np.zeros(0, np.int64))
    if len(sides) == 1:
        ((side, shift),) = sides
        return Sorted(side.devices, side.members + shift)
    return Sorted.of(
        np.concatenate([side.devices for side, _ in sides]),
        np.concatenate([side.members + shift for side, shift in sides]),
    )
