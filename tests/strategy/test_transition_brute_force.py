"""Plans of random transitions, carried out element by element."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from plan_execution import WIDTH, Execution, expected_state, received_by_formula

from flexsim.strategy import Layout, Mesh, transition
from flexsim.strategy.transition import Exchange, Move, Step, TensorSize

MESH_SHAPES = [(2,), (4,), (2, 2), (2, 3), (3, 2), (2, 4), (2, 2, 2), (1, 2, 3)]
SIZES = [1, 2, 3, 4, 5, 6, 8, 12]
Case = tuple[Layout, Layout, tuple[int, ...]]


def mesh_of(shape: tuple[int, ...], devices: list[int]) -> Mesh:
    return Mesh(tuple("abc"[: len(shape)]), np.array(devices).reshape(shape))


@st.composite
def layouts(draw: st.DrawFn, mesh: Mesh, num_axes: int, can_be_partial: bool) -> Layout:
    """Draw where every mesh axis goes: a tensor axis, partial results, or replicas."""
    axes: list[tuple[str, ...]] = [()] * num_axes
    partial = []
    for name in draw(st.permutations(mesh.names)):
        place = draw(st.integers(-2 if can_be_partial else -1, num_axes - 1))
        if place >= 0:
            axes[place] += (name,)
        elif place == -2:
            partial.append((name, "sum"))
    return Layout(mesh, tuple(axes)).with_partial(partial)


@st.composite
def target_meshes(draw: st.DrawFn, source: Mesh) -> Mesh:
    """Draw the same mesh, or one elsewhere, permuted, overlapping, or of another shape."""
    kind = draw(st.sampled_from(["same", "same", "disjoint", "permuted", "overlapping", "other"]))
    devices = source.flat.tolist()
    if kind == "permuted":
        devices = draw(st.permutations(devices))
    elif kind in ("disjoint", "overlapping"):
        shift = 20 if kind == "disjoint" else draw(st.integers(1, max(1, source.size - 1)))
        devices = [device + shift for device in devices]
    elif kind == "other":
        shape = draw(st.sampled_from(MESH_SHAPES))
        first = draw(st.sampled_from([0, 3, 20]))
        return mesh_of(shape, list(range(first, first + prod(shape))))
    return mesh_of(source.shape, devices)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw two layouts of one small tensor; the target has no partial results."""
    shape = tuple(draw(st.lists(st.sampled_from(SIZES), min_size=1, max_size=3)))
    assume(prod(shape) <= 64)
    mesh_shape = draw(st.sampled_from(MESH_SHAPES))
    mesh = mesh_of(mesh_shape, list(range(prod(mesh_shape))))
    source = draw(layouts(mesh, len(shape), True))
    return source, draw(layouts(draw(target_meshes(mesh)), len(shape), False)), shape


@st.composite
def partial_cases(draw: st.DrawFn) -> Case:
    """Draw a target that keeps some partial results and cuts the source further or less."""
    source, _, shape = draw(cases())
    kept = [p for p in source.partial if draw(st.booleans())]
    free = [n for n in source.mesh.names if n not in source.split_axes | {k for k, _ in kept}]
    axes = [draw(st.sampled_from([axis, axis[:1], ()])) for axis in source.axes]
    if free and draw(st.booleans()):
        i = draw(st.integers(0, len(axes) - 1))
        axes[i] = source.axes[i] + (draw(st.sampled_from(free)),)
    elsewhere = mesh_of(source.mesh.shape, [device + 20 for device in source.mesh.flat.tolist()])
    mesh = draw(st.sampled_from([source.mesh, elsewhere]))
    return source, Layout(mesh, tuple(axes)).with_partial(kept), shape


def executed(case: Case, scatter_gather: bool) -> tuple[tuple[Step, ...], Execution]:
    source, target, shape = case
    plan = transition(source, target, TensorSize(shape, WIDTH), scatter_gather)
    execution = Execution(source, target, shape)
    for step in plan:
        execution.run(step)
    execution.drop_to(target)
    return plan, execution


def is_even(case: Case) -> bool:
    """Whether every tensor axis is cut into equal parts on the way."""
    source, target, shape = case
    layouts = (source, target)
    return all(
        n % max(x.mesh.degree(x.axes[i]) for x in layouts) == 0
        and all(n % x.mesh.degree(x.axes[i]) == 0 for x in layouts)
        for i, n in enumerate(shape)
    )


@given(cases() | partial_cases(), st.booleans())
@settings(max_examples=250, deadline=None)
def test_everyone_ends_with_every_contribution_once(case: Case, scatter_gather: bool) -> None:
    source, target, shape = case
    _, execution = executed(case, scatter_gather)
    assert execution.state == expected_state(source, target, shape)


@given(cases().filter(is_even) | partial_cases().filter(is_even), st.booleans())
@settings(max_examples=150, deadline=None)
def test_bytes_received_are_those_of_the_elements(case: Case, scatter_gather: bool) -> None:
    plan, execution = executed(case, scatter_gather)
    for step, counts in zip(plan, execution.received, strict=True):
        for device, elements in counts.items():
            assert received_by_formula(step, device) == pytest.approx(elements * WIDTH)


@given(cases(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_messages_of_uneven_cuts_are_those_of_the_largest_part(
    case: Case, scatter_gather: bool
) -> None:
    plan, execution = executed(case, scatter_gather)
    for step, elements in zip(plan, execution.messages, strict=True):
        if isinstance(step, Move) or getattr(step, "kind", "") in ("all-gather", "all-reduce"):
            assert step.num_bytes == elements * WIDTH or not step.lasting


@given(cases())
@settings(max_examples=150, deadline=None)
def test_an_exchange_is_used_only_where_layouts_do_not_align(case: Case) -> None:
    source, target, shape = case
    plan = transition(source, target, TensorSize(shape, WIDTH))
    cuts = (layout.without_single_axes().axes for layout in (source, target))
    nested = all(a[: len(b)] == b or b[: len(a)] == a for a, b in zip(*cuts, strict=True))
    apart = not np.intersect1d(source.mesh.flat, target.mesh.flat).size
    alike = source.mesh.same_shape(target.mesh) and (apart or source.mesh == target.mesh)
    assert any(isinstance(step, Exchange) for step in plan) == (not (nested and alike))
