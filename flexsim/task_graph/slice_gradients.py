"""Gradients of keys and values that the slices of a sequence hold for one another.

Backwards go from the last slice to the first. The last slice's attention makes gradients of all
keys that it read, those of earlier slices too, which stay until each of these has run its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from flexsim.operator_graph.records import GRADIENT, Operator, Step
from flexsim.strategy.mesh import Mesh
from flexsim.task_graph.program import Program


class HeldGradient(NamedTuple):
    """A row that comes by gradients of other slices' keys, or uses up what they made of its own.

    ``num_bytes`` are more on every device of the mesh then, or less.
    """

    row: int
    num_bytes: int
    mesh: Mesh


def held_gradients(program: Program) -> list[HeldGradient]:
    """Return what the backwards of slices leave for earlier slices, and take of later ones.

    The last slice comes by what all others use.
    """
    last = program.strategy.num_slices - 1
    if not last:
        return []
    by_slice = [_rows_of_slice(program, number) for number in range(last + 1)]
    found = []
    for key, row in by_slice[last].items():
        operator, step = program.touched[row]
        for position in _shared_writes(program, operator, step):
            for rows in by_slice[:last]:
                own = _own_gradient(program, rows[key], position)
                found += [own._replace(row=row), own._replace(num_bytes=-own.num_bytes)]
    return found


def _rows_of_slice(program: Program, number: int) -> dict[tuple[str, str], int]:
    """Return the rows of a slice's backward by their operator's name without the slice's."""
    return {
        (operator.name.removeprefix(f"slice{number}."), step.name): row
        for row, (operator, step) in sorted(program.touched.items())
        if operator.lane == number and step.pass_name != "F"
    }


def _shared_writes(program: Program, operator: Operator, step: Step) -> Iterator[int]:
    """Yield the maps of a step of the last slice that write gradients of all slices' keys."""
    for position, _ in program.cuts.of(operator).widest_writes(operator, step):
        use = step.maps[position].write
        if use.sliced and use.tensor.removeprefix(GRADIENT) not in program.graph.weights:
            yield position


def _own_gradient(program: Program, row: int, position: int) -> HeldGradient:
    """Return what a slice's step writes of the gradient of its own keys."""
    operator, step = program.touched[row]
    layouts = dict(program.cuts.of(operator).widest_writes(operator, step))
    size = program.size(step.maps[position].write.tensor)
    return HeldGradient(row, size.local_bytes(layouts[position]), layouts[position].mesh)
