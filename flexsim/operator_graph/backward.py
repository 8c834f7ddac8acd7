"""The backward of a multilinear operator, derived from its forward maps.

For ``y = sum of x * w`` the gradient of each factor is the same sum with ``y``'s gradient in
that factor's place, so the steps of the backward run over the same index space.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeGuard

from flexsim.operator_graph.axes import Axis, Window
from flexsim.operator_graph.records import Map, Step, Use, gradient


def derive_backward(
    forward: Step, weights: Collection[str], constants: Collection[str] = ()
) -> tuple[Step, ...]:
    """Return the backward steps of a multilinear ``forward`` step: inputs first, then weights.

    ``weights`` get a weight-gradient step; ``constants`` (indices, masks) get none.
    """
    inputs = dict.fromkeys(
        use.tensor
        for m in forward.maps
        for use in m.reads
        if use.tensor not in weights and use.tensor not in constants
    )
    steps = [_input_step(forward, tensor) for tensor in inputs]
    factors = [m for fm in forward.maps for m in _factor_gradients(fm, weights)]
    addends = [m for fm in forward.maps for m in _addend_gradients(fm) if _target(m) in weights]
    if factors:
        steps.append(Step("weight", "W", tuple(factors), forward.kernel, merge="n"))
    if addends:
        steps.append(Step("bias", "W", tuple(addends), "elementwise"))
    return tuple(steps)


def _input_step(forward: Step, tensor: str) -> Step:
    maps = [m for fm in forward.maps for m in _factor_gradients(fm, (tensor,))]
    return Step(f"input {tensor}", "I", tuple(maps), forward.kernel, merge="k")


def _factor_gradients(forward: Map, targets: Collection[str]) -> list[Map]:
    return [
        _factor_gradient(forward, position)
        for position, read in enumerate(forward.reads)
        if read.tensor in targets
    ]


def _factor_gradient(forward: Map, position: int) -> Map:
    read = forward.reads[position]
    others = forward.reads[:position] + forward.reads[position + 1 :]
    out, write = gradient_uses(forward.write, read)
    points = forward.points or (forward.dims if read.windows else ())
    return Map(_ordered(out, others, position), write, forward.flops_per_point, points=points)


def gradient_uses(result: Use, read: Use) -> tuple[Use, Use]:
    """Return how the gradient of ``result`` is read and that of ``read`` written.

    Windows are turned round, so that what different parts write does not overlap.
    """
    turned = {window.dim: window.transpose() for window in read.windows}
    out = tuple(turned[axis[0]] if _is_turned(axis, turned) else axis for axis in result.axes)
    into = tuple((a.positions,) if isinstance(a, Window) else a for a in read.axes)
    return (
        Use(gradient(result.tensor), out, dense=result.dense),
        Use(gradient(read.tensor), into, dense=read.dense),
    )


def _is_turned(axis: Axis, turned: Collection[str]) -> TypeGuard[tuple[str, ...]]:
    return not isinstance(axis, Window) and len(axis) == 1 and axis[0] in turned


def _ordered(out: Use, others: tuple[Use, ...], position: int) -> tuple[Use, ...]:
    return (out, *others) if position == 0 else (*others, out)


def _addend_gradients(forward: Map) -> list[Map]:
    out = _gradient_use(forward.write)
    return [Map((out,), _gradient_use(use)) for use in forward.addends]


def _gradient_use(use: Use) -> Use:
    return Use(gradient(use.tensor), use.axes, dense=use.dense)


def _target(m: Map) -> str:
    return m.write.tensor.removeprefix("gradient:")
