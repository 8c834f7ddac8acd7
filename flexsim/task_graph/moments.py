"""When the rows of one microbatch run: in which pass, and after which of its kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from flexsim.task_graph.memory_curves import SLOTS
from flexsim.task_graph.program import Program
from flexsim.task_graph.rows import INPUT, WEIGHT, B, F, Row
from flexsim.task_graph.split import early_rows, kind_of_pass

Pass = tuple[int, int]
"""Stage and kind of pass."""


@dataclass
class Moments:
    """Tells of every row of a program its pass, and its moment there.

    ``cut`` says whether backwards are split in two.
    """

    program: Program
    cut: bool

    @cached_property
    def rows(self) -> Sequence[Row]:
        """The rows of one microbatch."""
        return self.program.notebook.rows

    @cached_property
    def early(self) -> frozenset[int]:
        """The rows of backwards that are input gradients where these are split."""
        return early_rows(self.rows) if self.cut else frozenset()

    def pass_of(self, index: int) -> Pass:
        """Return stage and kind of the pass that a row belongs to."""
        row = self.rows[index]
        return row.stage, kind_of_pass(index, row, self.early) if self.cut else row.action

    @cached_property
    def num_kernels(self) -> dict[Pass, int]:
        """How many kernels every pass has."""
        counts: dict[Pass, int] = {}
        kinds = (F, INPUT, WEIGHT) if self.cut else (F, B)
        for stage in range(self.program.strategy.num_stages):
            counts |= {(stage, kind): 0 for kind in kinds}
        for key in self.kernel_of.values():
            counts[key[0]] = max(counts[key[0]], key[1] + 1)
        return counts

    @cached_property
    def kernel_of(self) -> dict[int, tuple[Pass, int]]:
        """The pass of every compute row, and its position among the pass's kernels."""
        counts: dict[Pass, int] = {}
        found = {}
        for index, row in enumerate(self.rows):
            if row.is_compute and row.action in (F, B):
                key = self.pass_of(index)
                found[index] = key, counts.get(key, 0)
                counts[key] = counts.get(key, 0) + 1
        return found

    @cached_property
    def after(self) -> dict[int, int]:
        """For every message the kernel of its pass that it follows; -1 for none."""
        found: dict[int, int] = {}
        for index, row in enumerate(self.rows):
            if row.is_compute or row.action not in (F, B):
                continue
            here = self.pass_of(index)
            before = [-1]
            for need in row.needs:
                if need in found and self.pass_of(need) == here:
                    before.append(found[need])
                elif need in self.kernel_of and self.kernel_of[need][0] == here:
                    before.append(self.kernel_of[need][1])
            found[index] = max(before)
        return found

    def moment(self, index: int) -> tuple[int, int]:
        """Return what orders the rows of a stage's microbatch."""
        key, slot = self.place(index)
        return key[1], slot

    def place(self, index: int) -> tuple[Pass, int]:
        """Return the pass of a row and the moment after which what it read may go."""
        found = self.kernel_of.get(index)
        if found is not None:
            return found[0], SLOTS * found[1] + 1
        return self.pass_of(index), max(SLOTS * self.after[index] + 2, 0)
