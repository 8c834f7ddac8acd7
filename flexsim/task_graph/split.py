"""Backwards cut in two: input gradients (I), and weight gradients (W) that may run later.

Schedules that cut them (Qi et al. 2023, arXiv 2401.10241) may also run some backwards whole, so a
stage has templates of as many kinds as its schedule has. Everything that an input gradient or
another stage waits for belongs to I; the rest, weight gradients and what only they read, to W.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field

from flexsim.task_graph.columns import UInt8
from flexsim.task_graph.kinds import TASK_CODE
from flexsim.task_graph.rows import INPUT, WEIGHT, B, F, Row, unique

WHOLE = (F, B)
"""The kinds of passes of a schedule whose backwards are whole."""
_INPUT_GRADIENT = TASK_CODE["input-gradient"]


def passes_of(kinds: UInt8) -> tuple[int, ...]:
    """Return which kinds of passes a schedule has, of the ``kinds`` of its actions, in order.

    Without a backward (inference) the kinds are those of whole ones.
    """
    found = tuple(code for code in (F, B, INPUT, WEIGHT) if (kinds == code).any())
    return found if INPUT in found else WHOLE


def split_rows(rows: Sequence[Row], passes: tuple[int, ...]) -> Sequence[Row]:
    """Return ``rows`` with backwards of the kinds ``passes``; those of updates need them all."""
    if passes == WHOLE or INPUT not in passes:
        return rows
    return _Split(rows, early_rows(rows), B in passes).run()


def early_rows(rows: Sequence[Row]) -> frozenset[int]:
    """Return the rows of backwards that input gradients, or other stages, wait for."""
    early: set[int] = set()
    for index in range(len(rows) - 1, -1, -1):
        row = rows[index]
        if row.action != B:
            continue
        if row.kind == _INPUT_GRADIENT or row.places.targets is not None:
            early.add(index)
        elsewhere = [
            need
            for need in row.needs
            if rows[need].action == B and (index in early or rows[need].stage != row.stage)
        ]
        early.update(elsewhere)
    return frozenset(early)


def kind_of_pass(index: int, row: Row, early: Container[int]) -> int:
    """Return the kind of pass that row ``index`` runs in where backwards are cut at ``early``."""
    if row.action != B:
        return row.action
    return INPUT if index in early else WEIGHT


@dataclass
class _Split:
    """Rows in the making; ``versions`` has the new numbers of every old row: whole, and cut."""

    rows: Sequence[Row]
    early: frozenset[int]
    keeps_whole: bool
    made: list[Row] = field(default_factory=list)
    versions: list[tuple[int | None, int | None]] = field(default_factory=list)

    def run(self) -> Sequence[Row]:
        for index, row in enumerate(self.rows):
            self.versions.append(self._versions(index, row))
        return self.made

    def _versions(self, index: int, row: Row) -> tuple[int | None, int | None]:
        if row.action != B:
            number = self._write(row, None)
            return number, number
        whole = self._write(row, 0) if self.keeps_whole else None
        half = row._replace(action=kind_of_pass(index, row, self.early))
        return whole, self._write(half, 1)

    def _write(self, row: Row, version: int | None) -> int:
        needs = unique(n for need in row.needs for n in self._numbers(need, row, version))
        self.made.append(row._replace(needs=needs))
        return len(self.made) - 1

    def _numbers(self, need: int, row: Row, version: int | None) -> list[int]:
        """Return the new numbers of ``need``: of the same version on a stage, else of both."""
        found = self.versions[need]
        before = self.rows[need]
        if version is not None and before.action == B and before.stage == row.stage:
            found = (found[version],) * 2
        return [number for number in dict.fromkeys(found) if number is not None]
