"""The update of a program in blocks: weights' parts kept while their readers stay as they are."""

from __future__ import annotations

from flexsim.cost.profiles import SoftwareProfile
from flexsim.strategy.layout import Layout
from flexsim.task_graph.block_outline import Outline
from flexsim.task_graph.columns import Int64
from flexsim.task_graph.gradients import Contribution
from flexsim.task_graph.memory import static_memory
from flexsim.task_graph.program import Program
from flexsim.task_graph.rows import Row
from flexsim.task_graph.update import WeightPart, weight_parts, write_update_of

Parts = tuple[WeightPart, ...]


class Update:
    """The parts of all weights; their rows are numbers of slots."""

    def __init__(self, program: Program, outline: Outline, software: SoftwareProfile) -> None:
        """Find nothing yet."""
        self._program = program
        self._outline = outline
        self._software = software
        self.parts: dict[str, Parts] = {}
        self.readers: dict[str, list[str]] = {}
        for weight in outline.weights:
            for operator in program.graph.readers[weight]:
                self.readers.setdefault(operator, []).append(weight)

    def find(self, weight: str) -> Parts:
        """Return the parts of a weight as its readers are cut now."""
        found = [
            Contribution(self._left(contribution), contribution[3], 0)
            for contribution in self._outline.weights[weight]
        ]
        self._program.weight_gradients = {weight: found}
        return tuple(weight_parts(self._program))

    def _left(self, contribution: tuple) -> Layout:
        operator, step, position, _ = contribution
        cut = self._program.cuts.of(operator)
        if step.kernel == "alias":
            return cut.read(operator, step.maps[0].reads[0])
        return dict(cut.widest_writes(operator, step))[position]

    def write(self) -> list[Row]:
        """Return the rows of the update; the numbers of its own rows follow the slots'."""
        rows = self._program.notebook.rows
        rows[:] = [None] * self._outline.num_slots
        write_update_of(self._program, self._in_order(), self._software)
        return rows[self._outline.num_slots :]

    def _in_order(self) -> list[WeightPart]:
        parts = [part for weight in self._outline.weights for part in self.parts[weight]]
        return sorted(parts, key=lambda part: max(part.rows))

    def held_bytes(self) -> Int64:
        """Return weights, gradients and optimizer state on every device of the strategy."""
        devices = self._program.strategy.devices
        held = static_memory(self._program, self._in_order(), self._software, devices)
        return held.weights + held.gradients + held.optimizer
