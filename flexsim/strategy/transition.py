"""From the layout that a tensor has to the layout that is needed: one rule a mesh axis.

==============  ==================================  =====
source, target  what happens                        order
==============  ==================================  =====
R to S          slice, free                         1
P to S          reduce-scatter                      2
S(i) to S(j)    all-to-all                          3
P to R          all-reduce                          4
other devices   move to the equal coordinates       5
S to R          all-gather                          6
==============  ==================================  =====

(P partial, S split, R replicated.) Mesh axes with the same row form one collective over
their product. Where layouts do not align, partial results are reduced and the rest is
exchanged by overlap of boxes; so are the halos of what is read through windows.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from flexsim.strategy.layout import Layout
from flexsim.strategy.mesh import Mesh
from flexsim.strategy.overlap import exchange


@dataclass(frozen=True)
class Collective:
    """A collective over ``axes`` of ``mesh``: one instance a group.

    ``num_bytes`` is the whole message of a group's member: what an all-reduce or
    reduce-scatter starts from, what an all-gather ends with, an all-to-all's buffer.
    What devices hold next is of use beyond the plan's next step only if it is ``lasting``: boxes
    as ``result`` tells, not strided pieces of that size or shares in transit.
    """

    kind: str
    mesh: Mesh
    axes: tuple[str, ...]
    num_bytes: int
    result: Layout
    lasting: bool = True


@dataclass(frozen=True)
class Move:
    """Each device of one mesh sends ``num_bytes`` to the device of its coordinates on another.

    ``lasting`` is that of :class:`Collective`.
    """

    source: Mesh
    target: Mesh
    num_bytes: int
    result: Layout
    lasting: bool = True


@dataclass(frozen=True, eq=False)
class Exchange:
    """Point-to-point transfers, one an overlapping pair of boxes."""

    sources: NDArray[np.int32]
    targets: NDArray[np.int32]
    num_bytes: NDArray[np.int64]
    result: Layout
    lasting: bool = True


Step = Collective | Move | Exchange


@dataclass(frozen=True)
class TensorSize:
    """Sizes by axis, bytes an element, and whether elements may lie in any order."""

    shape: tuple[int, ...]
    bytes_per_element: int
    unordered: bool = False

    def local_bytes(self, layout: Layout) -> int:
        """Bytes of the largest part under ``layout``."""
        return layout.local_elements(self.shape) * self.bytes_per_element


@lru_cache(maxsize=65536)
def transition(
    source: Layout, target: Layout, size: TensorSize, scatter_gather: bool = False
) -> tuple[Step, ...]:
    """Return the communication that takes a tensor from ``source`` to ``target``.

    ``target`` may hold partial results only where ``source`` does and the layouts align. With
    ``scatter_gather`` a move of a replicated tensor sends disjoint shares and gathers them at
    the destination (Narayanan et al. 2021, section 4.1).
    """
    source, target = source.without_single_axes(), target.without_single_axes()
    if size.unordered:
        source, target = _as_sets(source, target), _as_sets(target, source)
    if source.bounds or target.bounds:
        return _windowed_steps(source, target, size, scatter_gather)
    if _aligned(source, target):
        return _aligned_steps(source, target, size, scatter_gather)
    reduced = _reduced(source, size)
    return (*reduced, _exchange(source.whole(), target, size))


def _as_sets(layout: Layout, other: Layout) -> Layout:
    """Return the layout with the mesh axes that both cut a tensor axis by first, in one order."""
    rank = layout.mesh.names.index
    axes = tuple(
        tuple(sorted(here, key=lambda name: (name not in there, rank(name))))
        for here, there in zip(layout.axes, other.axes, strict=True)
    )
    return replace(layout, axes=axes)


def _windowed_steps(
    source: Layout, target: Layout, size: TensorSize, scatter_gather: bool
) -> tuple[Step, ...]:
    """Bring what is outside windows first, by collectives if it aligns, then the halos."""
    if source == target:
        return ()
    middle = _before_windows(source, target)
    if middle is not None and _aligned(source, middle):
        steps = _aligned_steps(source, middle, size, scatter_gather)
    else:
        steps, middle = _reduced(source, size), source.whole()
    halos = _exchange(middle, target, size)
    return (*steps, halos) if len(halos.sources) else steps


def _before_windows(source: Layout, target: Layout) -> Layout | None:
    """Return ``target`` with the axes of windows cut as they are in ``source``, in even parts.

    What ``source`` holds whole as partial sums is cut along the windows, so that it is reduced
    and scattered. None where there is no such layout.
    """
    if source.bounds:
        return None
    axes = tuple(
        want if bounds is None or (not have and source.partial_axes.issuperset(want)) else have
        for have, want, bounds in zip(source.axes, target.axes, target.bounds, strict=True)
    )
    used = [name for axis in axes for name in axis]
    if len(set(used)) != len(used) or not target.partial_axes.isdisjoint(used):
        return None
    if not set(used) <= set(target.mesh.names):
        return None
    return Layout(target.mesh, axes, target.partial)


def _reduced(source: Layout, size: TensorSize) -> tuple[Step, ...]:
    """Return the all-reduce that leaves nothing partial, if anything is."""
    if not source.partial:
        return ()
    axes = tuple(n for n in source.mesh.names if n in source.partial_axes)
    bytes_ = size.local_bytes(source)
    return (Collective("all-reduce", source.mesh, axes, bytes_, source.whole()),)


def _exchange(source: Layout, target: Layout, size: TensorSize) -> Exchange:
    pairs = exchange(source, target, size.shape)
    counts = pairs.elements * size.bytes_per_element
    return Exchange(pairs.sources, pairs.targets, counts, target)


def _aligned(source: Layout, target: Layout) -> bool:
    """Whether meshes have one shape and, axis by axis, only one side has mesh axes left."""
    return (
        source.mesh.same_shape(target.mesh)
        and (source.mesh == target.mesh or not _share_devices(source.mesh, target.mesh))
        and all(_common(a, b) in (a, b) for a, b in zip(source.axes, target.axes, strict=True))
    )


def _share_devices(a: Mesh, b: Mesh) -> bool:
    return bool(np.intersect1d(a.flat, b.flat).size)


def _common(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[str, ...]:
    length = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)
    return a[: min(len(a), len(b)) if length is None else length]


def _aligned_steps(
    source: Layout, target: Layout, size: TensorSize, scatter_gather: bool
) -> tuple[Step, ...]:
    steps: list[Step] = []
    order = _orders(source, target)
    here = _slice(source, target, size.shape)
    for kind, found in _reductions(here, target):
        bytes_ = size.local_bytes(here)
        here = _slice(_after(here, target, found), target, size.shape)
        steps.append(Collective(kind, here.mesh, found, bytes_, here, _in_boxes(here, order)))
    if here.mesh != target.mesh:
        sent = _scatter(here, target, size.shape) if scatter_gather else here
        lasting = sent == here and _in_boxes(here, order)
        here = Layout(target.mesh, sent.axes, sent.partial)
        steps.append(Move(source.mesh, target.mesh, size.local_bytes(here), here, lasting))
    gathered = _in_order(here.mesh, here.split_axes - target.split_axes)
    if gathered:
        bytes_ = size.local_bytes(target)
        steps.append(Collective("all-gather", target.mesh, gathered, bytes_, target))
    return tuple(steps)


def _orders(source: Layout, target: Layout) -> tuple[tuple[str, ...], ...]:
    """Return, for every tensor axis, the mesh axes on the way from source to target, in order."""
    return tuple(max(pair, key=len) for pair in zip(source.axes, target.axes, strict=True))


def _in_boxes(here: Layout, order: tuple[tuple[str, ...], ...]) -> bool:
    """Whether every device holds a contiguous piece of each tensor axis."""
    return all(full[: len(axes)] == axes for axes, full in zip(here.axes, order, strict=True))


def _slice(source: Layout, target: Layout, shape: tuple[int, ...]) -> Layout:
    """Return ``source`` cut further along mesh axes that replicate it; costs nothing.

    Where a tensor axis is cut evenly, minor cuts need not wait for major ones.
    """
    free = set(source.replicated_axes)
    axes = []
    for have, want, size in zip(source.axes, target.axes, shape, strict=True):
        if not set(have) <= set(want):
            axes.append(have)
        elif size % source.mesh.degree(want) == 0:
            axes.append(tuple(n for n in want if n in have or n in free))
        else:
            more = itertools.takewhile(free.__contains__, want[len(have) :])
            axes.append(have + tuple(more) if want[: len(have)] == have else have)
    return Layout(source.mesh, tuple(axes), source.partial)


def _reductions(source: Layout, target: Layout) -> list[tuple[str, tuple[str, ...]]]:
    """Return the collectives on the source's mesh, in order."""
    partial = source.partial_axes - target.partial_axes
    moved = {
        name
        for have, want in zip(source.axes, target.axes, strict=True)
        for name in have
        if name not in want and name in target.split_axes
    }
    found = (
        ("reduce-scatter", partial & target.split_axes),
        ("all-to-all", moved),
        ("all-reduce", partial - target.split_axes),
    )
    return [(kind, _in_order(source.mesh, names)) for kind, names in found if names]


def _after(here: Layout, target: Layout, done: tuple[str, ...]) -> Layout:
    """Return the layout once the mesh axes ``done`` stand as in ``target``."""
    partial = tuple(p for p in here.partial if p[0] not in done)
    axes = []
    for have, want in zip(here.axes, target.axes, strict=True):
        left = {n for n in have if n not in done or n in want} | (set(want) & set(done))
        order = want if left <= set(want) else have
        axes.append(tuple(n for n in order if n in left))
    return Layout(here.mesh, tuple(axes), partial)


def _scatter(here: Layout, target: Layout, shape: tuple[int, ...]) -> Layout:
    """Return ``here`` cut along the mesh axes that replicate it on both sides, if an axis takes it.

    The first tensor axis that they divide evenly is cut; otherwise nothing changes.
    """
    wide = [n for n in here.replicated_axes if here.mesh.axis_size(n) > 1]
    both = tuple(n for n in wide if n in target.replicated_axes)
    local = here.local_shape(shape)
    for position, size in enumerate(local):
        if size % here.mesh.degree(both) == 0:
            axes = tuple(a + both if i == position else a for i, a in enumerate(here.axes))
            return Layout(here.mesh, axes, here.partial)
    return here


def _in_order(mesh: Mesh, names: frozenset[str] | set[str]) -> tuple[str, ...]:
    return tuple(name for name in mesh.names if name in names)
