"""What the steps of operators take, and what every device computes in all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from flexsim.operator_graph.records import Operator
from flexsim.strategy.config import ParallelConfig
from flexsim.task_graph.block_outline import Outline
from flexsim.task_graph.block_pool import Pool, Stint
from flexsim.task_graph.columns import Int64
from flexsim.task_graph.kinds import TASK_CODE
from flexsim.task_graph.program import Program

_KIND = {"F": "forward", "I": "input-gradient", "W": "weight-gradient"}


@dataclass(eq=False)
class Priced:
    """What the steps of an operator take under a config, and on every device all together.

    ``load_ns`` has a line each for forward and backward. ``contents`` are those of its rows,
    none before they are needed.
    """

    stints: list[Stint]
    load_ns: Int64
    contents: list[int] = field(default_factory=list)


class StepPrices:
    """The prices of all operators' steps under the current configs; remembers all it has priced.

    ``load_ns`` is what every device computes, a line each for forward and backward.
    """

    def __init__(
        self,
        program: Program,
        outline: Outline,
        steps_of: Mapping[str, list[int]],
        pool: Pool,
        has_one_type: bool,
    ) -> None:
        """Begin without any operator; ``steps_of`` are the numbers of its steps.

        With ``has_one_type`` all devices are of the same type.
        """
        self._program = program
        self._steps = {
            name: [outline.steps[number].step for number in numbers]
            for name, numbers in steps_of.items()
        }
        self._pool = pool
        self._form = self._forms()
        self._found: dict[tuple[int, ParallelConfig], Priced] = {}
        self._of_even_parts: dict[tuple[int, frozenset[tuple[str, int]]], list[int] | None] = {}
        self._has_one_type = has_one_type
        self.current: dict[str, Priced] = {}
        self.load_ns = np.zeros((2, pool.num_devices), np.int64)

    def most_ns_with(self, changes: Mapping[str, ParallelConfig]) -> int:
        """Return how long the device computes that computes for longest after some changes."""
        load_ns = self.load_ns.sum(0)
        for name, config in changes.items():
            found = self.find(self._program.graph.by_name[name], config)
            load_ns += (found.load_ns - self.current[name].load_ns).sum(0)
        return int(load_ns.max())

    def find(self, operator: Operator, config: ParallelConfig) -> Priced:
        """Return what an operator's steps take, found once for all operators alike."""
        key = self._form[operator.name], config
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = self._find(operator, config)
        return found

    def replace(self, operator: Operator, priced: Priced) -> None:
        """Let an operator's steps take this from now on."""
        old = self.current.get(operator.name)
        if old is not None:
            self.load_ns -= old.load_ns
        self.load_ns += priced.load_ns
        self.current[operator.name] = priced

    def contents(self, operator: Operator) -> Sequence[int]:
        """Return the contents of the rows of an operator's steps."""
        priced = self.current[operator.name]
        if not priced.contents:
            priced.contents = [self._pool.number(stint) for stint in priced.stints]
        return priced.contents

    def _find(self, operator: Operator, config: ParallelConfig) -> Priced:
        places = self._program.notebook.on_mesh(config.mesh)
        stints: list[Stint] = []
        total_ns = np.zeros((2, config.mesh.size), np.int64)
        durations = self._durations(operator, config)
        for step, duration_ns in zip(self._steps[operator.name], durations, strict=True):
            stints.append(Stint(TASK_CODE[_KIND[step.pass_name]], places, duration_ns))
            total_ns[0 if step.pass_name == "F" else 1] += duration_ns
        load_ns = np.zeros_like(self.load_ns)
        load_ns[:, config.mesh.flat] = total_ns
        return Priced(stints, load_ns)

    def _durations(self, operator: Operator, config: ParallelConfig) -> list[Int64]:
        """Return what every step takes; looked up by degrees where all parts are alike."""
        if not self._has_one_type:
            return self._priced(operator, config)
        degrees = frozenset((dim, config.mesh.degree(axes)) for dim, axes in config.splits)
        key = self._form[operator.name], degrees
        if key not in self._of_even_parts:
            found = self._priced(operator, config)
            are_even = all((each == each[0]).all() for each in found)
            self._of_even_parts[key] = [int(each[0]) for each in found] if are_even else None
            return found
        even = self._of_even_parts[key]
        if even is None:
            return self._priced(operator, config)
        return [np.full(config.mesh.size, duration_ns) for duration_ns in even]

    def _priced(self, operator: Operator, config: ParallelConfig) -> list[Int64]:
        pricing = self._program.pricing
        steps = self._steps[operator.name]
        return [pricing.compute(operator, config, step).duration_ns for step in steps]

    def _forms(self) -> dict[str, int]:
        """Return a number an operator, the same for those whose steps take the same."""
        widths = self._program.graph.widths
        numbers: dict[object, int] = {}
        found: dict[str, int] = {}
        for operator in self._program.graph.operators:
            steps = [
                (step.key, *[widths[use.tensor] for use in step.reads + step.writes])
                for step in self._steps[operator.name]
            ]
            found[operator.name] = numbers.setdefault((operator.key, *steps), len(numbers))
        return found
