"""Run the maps of an operator on real arrays, as sums of products over named dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from string import ascii_letters

import numpy as np
from numpy.typing import NDArray

from flexsim.operator_graph import Map, Operator, OperatorGraph, Step, Use, Window
from flexsim.operator_graph.axes import axis_dims

Array = NDArray[np.float64]


class Execution:
    """Arrays by tensor name, one axis a dimension; ``one_hot`` tensors have an extra dimension."""

    def __init__(self, operator: Operator, one_hot: Mapping[str, str]) -> None:
        self.sizes = operator.sizes
        self.one_hot = one_hot
        self.letters = dict(zip(operator.sizes, ascii_letters, strict=False))

    def dims(self, use: Use) -> tuple[str, ...]:
        extra = self.one_hot.get(use.tensor)
        return (*use.dims, extra) if extra else use.dims

    def shape(self, use: Use) -> tuple[int, ...]:
        """Return the sizes of the array of a tensor: a dimension of its own or a whole axis."""
        axes = [
            (axis.size,) if isinstance(axis, Window) else tuple(self.sizes[d] for d in axis)
            for axis in use.axes
        ]
        extra = self.one_hot.get(use.tensor)
        return (*(size for axis in axes for size in axis), *((self.sizes[extra],) if extra else ()))

    def run(self, steps: tuple[Step, ...], values: dict[str, Array]) -> dict[str, Array]:
        """Return what ``steps`` write; maps that write the same tensor are summed."""
        written: dict[str, Array] = {}
        for m in (m for step in steps for m in step.maps):
            written[m.write.tensor] = written.get(m.write.tensor, 0) + self._evaluate(m, values)
        return written

    def _evaluate(self, m: Map, values: dict[str, Array]) -> Array:
        out = np.zeros(self.shape(m.write))
        ones = values | {m.write.tensor: np.ones(out.shape)}
        for factors in (m.reads, *((addend,) for addend in m.addends)):
            if factors:
                out = out + self._einsum((*factors, m.write), m.write, ones)
        return out

    def _einsum(self, reads: tuple[Use, ...], write: Use, values: dict[str, Array]) -> Array:
        terms = ",".join(self._text(use) for use in reads)
        product: Array = np.einsum(
            f"{terms}->{self._text(write)}", *(self._unfolded(use, values) for use in reads)
        )
        return product

    def _unfolded(self, use: Use, values: dict[str, Array]) -> Array:
        """Return the array with each window's axis replaced by its dimension and tap."""
        array, position = values[use.tensor], 0
        for axis in use.axes:
            if isinstance(axis, Window):
                array = unfolded(array, position, axis)
            position += len(axis_dims(axis))
        return array

    def _text(self, use: Use) -> str:
        return "".join(self.letters[d] for d in self.dims(use))


def unfolded(array: Array, position: int, window: Window) -> Array:
    """Look every (index, tap) of a window up in one axis of ``array``; 0 in the padding."""
    index, tap = np.ogrid[: window.length, : window.taps]
    place = window.stride * index + tap + window.offset
    meets = np.ones(place.shape, bool)
    if window.transposed:
        place, rest = np.divmod(index - tap - window.offset, window.stride)
        meets = rest == 0
    meets &= (place >= 0) & (place < window.size)
    found = np.take(array, np.clip(place, 0, window.size - 1), axis=position)
    tail = (1,) * (array.ndim - position - 1)
    found = found * meets.reshape(*meets.shape, *tail)
    return found if window.tap else np.squeeze(found, axis=position + 1)


def random_values(
    execution: Execution, operator: Operator, rng: np.random.Generator
) -> dict[str, Array]:
    """Return a random array for everything that the forward reads and does not write."""
    uses = {use.tensor: use for step in operator.forward for use in step.reads}
    return {name: rng.normal(size=execution.shape(uses[name])) for name in operator.inputs}


def assert_backward_is_the_derivative(
    graph: OperatorGraph, name: str, one_hot: Mapping[str, str], seed: int
) -> set[str]:
    """Check each gradient against a finite difference, exact since the forward is multilinear.

    Return the tensors that have a gradient.
    """
    operator = graph.by_name[name]
    execution, rng = Execution(operator, one_hot), np.random.default_rng(seed)
    values = random_values(execution, operator, rng)
    before = execution.run(operator.forward, values)
    upstream = {f"gradient:{y}": rng.normal(size=array.shape) for y, array in before.items()}
    gradients = execution.run(operator.backward, values | upstream)
    targets = {key.removeprefix("gradient:") for key in gradients}
    for tensor in targets:
        step = rng.normal(size=values[tensor].shape)
        after = execution.run(operator.forward, values | {tensor: values[tensor] + step})
        change = sum(np.sum(upstream[f"gradient:{y}"] * (after[y] - before[y])) for y in before)
        np.testing.assert_allclose(np.sum(gradients[f"gradient:{tensor}"] * step), change)
    return targets
