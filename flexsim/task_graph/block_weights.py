"""The parts of weights as lines for buckets, found anew only when their readers change."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from flexsim.cost.profiles import SoftwareProfile
from flexsim.operator_graph.records import Operator
from flexsim.strategy.layout import Layout
from flexsim.strategy.mesh import Mesh
from flexsim.task_graph.block_outline import Contributor, Outline
from flexsim.task_graph.block_pool import Pool, Stint
from flexsim.task_graph.columns import Int64
from flexsim.task_graph.gradients import Contribution
from flexsim.task_graph.kinds import TASK_CODE
from flexsim.task_graph.parts import WeightPart, gradient_bytes, weight_parts
from flexsim.task_graph.program import Program
from flexsim.task_graph.reductions import synchronization

GRADIENT_KIND = TASK_CODE["gradient"]
Key = tuple[Mesh, str, tuple[str, ...]]


@dataclass(frozen=True)
class Line:
    """A collective of a part, or a part without one (key -1); ``first`` as in ``Lines``."""

    part: int
    key: int
    content: int
    num_bytes: float
    first: int


@dataclass(frozen=True, eq=False)
class Found:
    """The parts of a weight: what they need, and what devices hold of it.

    ``stepped`` counts parameters that an optimizer's step takes on every device, ``held`` those
    that are there.
    """

    parts: tuple[WeightPart, ...]
    lines: tuple[Line, ...]
    stepped: Int64
    held: Int64

    @cached_property
    def is_simple(self) -> bool:
        """Whether nothing follows the buckets but the optimizer."""
        return len({part.layout.mesh for part in self.parts}) == 1 and not self.parts[0].holding


class Weights:
    """Finds the parts of weights as their readers are cut now; remembers all it found."""

    def __init__(
        self, program: Program, outline: Outline, software: SoftwareProfile, pool: Pool
    ) -> None:
        """Find nothing yet."""
        self._program = program
        self._outline = outline
        self._software = software
        self._pool = pool
        self._found: dict[tuple[object, ...], Found] = {}
        self._keys: dict[Key, int] = {}
        self.keys: list[Key] = []
        self._operators = {name: self._operators_of(name) for name in outline.weights}

    def _operators_of(self, weight: str) -> tuple[Operator, ...]:
        readers = [operator for operator, _ in self._program.uses[weight]]
        writers = [each.operator for each in self._outline.weights[weight]]
        return tuple(dict.fromkeys((*readers, *writers)))

    @property
    def by_operator(self) -> dict[str, list[str]]:
        """The weights whose parts depend on how an operator is cut."""
        found: dict[str, list[str]] = {}
        for weight, operators in self._operators.items():
            for operator in operators:
                found.setdefault(operator.name, []).append(weight)
        return found

    def find(self, weight: str) -> Found:
        """Return the parts of a weight; their rows are numbers of slots."""
        cuts = self._program.cuts
        key = (weight, *[cuts.of(operator) for operator in self._operators[weight]])
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = self._find(weight)
        return found

    def _find(self, weight: str) -> Found:
        contributors = self._outline.weights[weight]
        self._program.weight_gradients = {
            weight: [Contribution(self._left(each), each.slots, 0) for each in contributors]
        }
        parts = tuple(weight_parts(self._program))
        stepped = np.zeros(self._pool.num_devices, np.int64)
        held = np.zeros_like(stepped)
        for part in parts:
            stepped[part.layout.mesh.flat] += part.num_parameters
        for mesh, number in {part.layout.mesh: part.num_parameters for part in parts}.items():
            held[mesh.flat] += number
        return Found(parts, tuple(self._lines(parts)), stepped, held)

    def _left(self, contributor: Contributor) -> Layout:
        operator, step, position, _ = contributor
        cut = self._program.cuts.of(operator)
        if step.kernel == "alias":
            return cut.read(operator, step.maps[0].reads[0])
        return dict(cut.widest_writes(operator, step))[position]

    def _lines(self, parts: tuple[WeightPart, ...]) -> list[Line]:
        lines: list[Line] = []
        first: dict[Mesh, int] = {}
        for number, part in enumerate(parts):
            steps = synchronization(self._program, part)
            for step in steps:
                key = self._key((step.mesh, step.kind, step.axes))
                num_bytes = gradient_bytes(self._program, part, self._software)
                at = first.setdefault(part.layout.mesh, len(lines))
                lines.append(Line(number, key, self.content(key, num_bytes), num_bytes, at))
            if not steps:
                at = first.setdefault(part.layout.mesh, len(lines))
                lines.append(Line(number, -1, -1, 0.0, at))
        return lines

    def _key(self, key: Key) -> int:
        if key not in self._keys:
            self._keys[key] = len(self.keys)
            self.keys.append(key)
        return self._keys[key]

    def content(self, key: int, num_bytes: float) -> int:
        """Return the content of a bucket's collective."""
        mesh, kind, axes = self.keys[key]
        places = self._program.notebook.on_groups(mesh, axes)
        duration = self._program.pricing.collective(kind, max(1, round(num_bytes)), places)
        return self._pool.number(Stint(GRADIENT_KIND, places, duration, False))
