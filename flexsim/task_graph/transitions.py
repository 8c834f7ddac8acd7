"""Transitions between layouts, found once for all meshes of the same shape."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from flexsim.strategy.layout import Layout
from flexsim.strategy.mesh import Mesh
from flexsim.strategy.transition import Collective, Exchange, Move, Step, TensorSize, transition

Steps = tuple[Step, ...]


class Transitions:
    """Remembers :func:`~flexsim.strategy.transition.transition`.

    Collectives and moves depend on the shapes of the meshes and on whether source and target are
    one mesh or have no device in common, not on which devices they are: so what was found for
    one pair of meshes is moved to others. Exchanges are found anew for each.
    """

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._steps: dict[tuple[object, ...], Steps] = {}
        self._originals: dict[tuple[object, ...], tuple[Mesh, Mesh, Steps]] = {}
        self._disjoint: dict[tuple[Mesh, Mesh], bool] = {}

    def steps(
        self, source: Layout, target: Layout, size: TensorSize, scatter_gather: bool = False
    ) -> Steps:
        """Return what ``transition`` returns."""
        kind = (size.shape, size.bytes_per_element, size.unordered)
        key = (source, target, kind, scatter_gather)
        found = self._steps.get(key)
        if found is None:
            found = self._steps[key] = self._find(source, target, size, scatter_gather)
        return found

    def _find(
        self, source: Layout, target: Layout, size: TensorSize, scatter_gather: bool
    ) -> Steps:
        same = source.mesh == target.mesh
        if not same and not self._have_no_common_device(source.mesh, target.mesh):
            return transition(source, target, size, scatter_gather)
        key = (_nowhere(source), _nowhere(target), same, size, scatter_gather)
        if key not in self._originals:
            steps = transition(source, target, size, scatter_gather)
            self._originals[key] = source.mesh, target.mesh, steps
            return steps
        first, second, steps = self._originals[key]
        if any(isinstance(step, Exchange) for step in steps):
            return transition(source, target, size, scatter_gather)
        return tuple(_moved(step, {first: source.mesh, second: target.mesh}) for step in steps)

    def _have_no_common_device(self, one: Mesh, other: Mesh) -> bool:
        key = one, other
        if key not in self._disjoint:
            self._disjoint[key] = not np.intersect1d(one.flat, other.flat).size
        return self._disjoint[key]


def _nowhere(layout: Layout) -> tuple[object, ...]:
    """Return the layout without its devices."""
    mesh = layout.mesh
    return mesh.names, mesh.shape, layout.axes, layout.partial, layout.bounds


def _moved(step: Step, meshes: dict[Mesh, Mesh]) -> Step:
    result = step.result.on(meshes[step.result.mesh])
    if isinstance(step, Collective):
        return replace(step, mesh=meshes[step.mesh], result=result)
    assert isinstance(step, Move)
    return replace(step, source=meshes[step.source], target=meshes[step.target], result=result)
