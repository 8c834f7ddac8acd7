"""What is found once for all that is alike: transitions, layouts, joins."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flexsim.operator_graph import GraphBuilder, Operator
from flexsim.operator_graph.kinds import LinearShape, linear
from flexsim.strategy import Layout, Mesh, ParallelConfig, Strategy
from flexsim.strategy.layout import read_layout, write_layout
from flexsim.strategy.transition import Exchange, Step, TensorSize, transition
from flexsim.task_graph.cuts import Cuts
from flexsim.task_graph.places import Sorted, join, joins
from flexsim.task_graph.transitions import Transitions

NAMES = ("data", "tensor")
SIZE = TensorSize((8, 12), 2)


def mesh(first: int, shape: tuple[int, int] = (2, 2)) -> Mesh:
    return Mesh(NAMES, np.arange(first, first + shape[0] * shape[1]).reshape(shape))


MESHES = (mesh(0), mesh(4), mesh(8), mesh(2), mesh(12), mesh(0, (4, 1)))

AXES = st.sampled_from([(), ("data",), ("tensor",), ("data", "tensor"), ("tensor", "data")])


@st.composite
def layouts(draw: st.DrawFn) -> tuple[tuple[tuple[str, ...], ...], tuple[tuple[str, str], ...]]:
    first, second = draw(AXES), draw(AXES)
    second = tuple(name for name in second if name not in first)
    free = [name for name in NAMES if name not in first + second]
    partial = tuple((name, "sum") for name in free if draw(st.booleans()))
    return (first, second), partial


def content(step: Step) -> tuple[object, ...]:
    """Return a step's fields, those of an exchange as lists."""
    if isinstance(step, Exchange):
        pairs = step.sources.tolist(), step.targets.tolist(), step.num_bytes.tolist()
        return (*pairs, step.result)
    return (step,)


@settings(max_examples=60, deadline=None)
@given(layouts(), layouts(), st.booleans())
def test_a_moved_transition_is_the_one_found_there(source, target, spread) -> None:  # type: ignore[no-untyped-def]
    """On pairs of meshes that are one, apart, overlapping, or of different shapes."""
    found = Transitions()
    for here in MESHES:
        for there in MESHES:
            have, want = Layout(here, *source), Layout(there, target[0])
            expected = transition(have, want, SIZE, spread)
            moved = found.steps(have, want, SIZE, spread)
            assert [content(s) for s in moved] == [content(s) for s in expected]


def product(builder: GraphBuilder, name: str) -> None:
    x = builder.input(f"{name}.x", (8, 12), 2)
    sizes = {"b": 8, "i": 12, "o": 12}
    linear(builder, name, x, LinearShape(("b",), (("i",),), {"": (("o",),)}, sizes))


def test_layouts_on_another_mesh_are_the_ones_read_there() -> None:
    builder = GraphBuilder("products")
    for name in ("one", "two", "three"):
        product(builder, name)
    operators: tuple[Operator, ...] = builder.build(8, 1).operators
    cut = {"b": ("data",), "i": ("tensor",)}
    meshes = (mesh(0), mesh(4), mesh(0, (4, 1)))
    configs = {op.name: ParallelConfig.of(m, cut) for op, m in zip(operators, meshes, strict=True)}
    cuts = Cuts(Strategy("test", configs))
    for op in operators:
        config = configs[op.name]
        for step in op.steps:
            reads = [cuts.of(op).read(op, use) for use in step.reads]
            assert reads == [read_layout(op, config, use) for use in step.reads]
            writes = [layout for _, layout in cuts.of(op).writes(op, step)]
            assert writes == [write_layout(op, config, m) for m in step.maps]
            assert all(layout.mesh == config.mesh for layout in (*reads, *writes))


def test_layouts_are_equal_by_value_whatever_was_asked_of_them() -> None:
    one, other = (Layout(mesh(0), (("data",), ()), (("tensor", "sum"),)) for _ in range(2))
    assert hash(one) == hash(other) and one == other
    assert one != replace(one, partial=()) and one != replace(one, mesh=mesh(4))
    assert one != replace(one, bounds=(((0, 5), (3, 8)), None))
    assert one.on(mesh(4)).mesh == mesh(4)


def side(devices: list[int]) -> Sorted:
    return Sorted.of(np.array(devices, np.int32), np.arange(len(devices)) // 2)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*[st.lists(st.integers(0, 6), max_size=8)] * 2), min_size=1, max_size=4))
def test_joins_pair_members_that_share_a_device(pairs: list[tuple[list[int], list[int]]]) -> None:
    sides = [(side(before), side(after)) for before, after in pairs]
    left, right, starts = joins(sides)
    for number, (before, after) in enumerate(pairs):
        expected = {
            (i // 2, k // 2)
            for i, one in enumerate(before)
            for k, other in enumerate(after)
            if one == other
        }
        here = slice(starts[number], starts[number + 1])
        assert list(zip(left[here], right[here], strict=True)) == sorted(expected)
        alone = join(*sides[number])
        assert [list(a) for a in alone] == [list(left[here]), list(right[here])]
