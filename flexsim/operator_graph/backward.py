"""The backward of a multilinear operator, derived from its forward maps.

For ``y = sum of x * w`` the gradient of each factor is the same sum with ``y``'s gradient in
that factor's place, so the steps of the backward run over the same index space.
"""

from __future__ import annotations

from collections.abc import Collection

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
    factors = [m for fm in forward.maps for m in _factor_gradients(fm) if _target(m) in weights]
    addends = [m for fm in forward.maps for m in _addend_gradients(fm) if _target(m) in weights]
    if factors:
        steps.append(Step("weight", "W", tuple(factors), forward.kernel, merge="n"))
    if addends:
        steps.append(Step("bias", "W", tuple(addends), "elementwise"))
    return tuple(steps)


def _input_step(forward: Step, tensor: str) -> Step:
    maps = [m for fm in forward.maps for m in _factor_gradients(fm) if _target(m) == tensor]
    return Step(f"input {tensor}", "I", tuple(maps), forward.kernel, merge="k")


def _factor_gradients(forward: Map) -> list[Map]:
    out = _gradient_use(forward.write)
    return [
        Map(
            _ordered(out, forward.reads[:i] + forward.reads[i + 1 :], i),
            _gradient_use(read),
            forward.flops_per_point,
        )
        for i, read in enumerate(forward.reads)
    ]


def _ordered(out: Use, others: tuple[Use, ...], position: int) -> tuple[Use, ...]:
    return (out, *others) if position == 0 else (*others, out)


def _addend_gradients(forward: Map) -> list[Map]:
    out = _gradient_use(forward.write)
    return [Map((out,), _gradient_use(use)) for use in forward.addends]


def _gradient_use(use: Use) -> Use:
    return Use(gradient(use.tensor), use.axes, dense=use.dense)


def _target(m: Map) -> str:
    return m.write.tensor.removeprefix("gradient:")
