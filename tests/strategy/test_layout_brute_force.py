"""What parts of random maps read and write, point by point, against the layouts."""

from __future__ import annotations

import itertools
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_execution import WIDTH, Element, Execution, coordinates, pieces

from flexsim.errors import StrategyError
from flexsim.operator_graph import Dim, Map, Operator, Step, Use
from flexsim.strategy import Layout, Mesh, ParallelConfig, transition
from flexsim.strategy.config import part_sizes
from flexsim.strategy.layout import read_layout, write_layout
from flexsim.strategy.transition import TensorSize

NAMES = ("i", "j", "k", "l")
MESH_SHAPES = [(2,), (3,), (2, 2), (2, 3), (2, 2, 2)]
Point = tuple[int, ...]


@st.composite
def maps(draw: st.DrawFn) -> tuple[Operator, Map]:
    """Draw a contraction of two reads, perhaps with an addend, and its operator."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))
    names = NAMES[: len(sizes)]
    chosen = st.lists(st.sampled_from(names), unique=True, min_size=1)
    left, right, addend = (tuple(draw(chosen)) for _ in range(3))
    written = tuple(n for n in draw(st.permutations(names)) if draw(st.booleans()))
    uses = [Use(t, tuple((d,) for d in dims)) for t, dims in (("x", left), ("w", right))]
    out = Use("y", tuple((d,) for d in written if d in left + right))
    extra = tuple(d for d in addend if d in out.dims)
    addends = (Use("bias", tuple((d,) for d in extra)),) if extra else ()
    m = Map(tuple(uses), out, 2, addends)
    dims = tuple(Dim(n, size) for n, size in zip(names, sizes, strict=True))
    return Operator("op", "random", dims, (Step("forward", "F", (m,), "matmul"),), ()), m


@st.composite
def configs(draw: st.DrawFn, operator: Operator) -> ParallelConfig:
    """Draw a config: every mesh axis cuts some dimension or replicates."""
    shape = draw(st.sampled_from(MESH_SHAPES))
    devices = np.array(draw(st.permutations(range(prod(shape))))).reshape(shape)
    mesh = Mesh(tuple("abc"[: len(shape)]), devices)
    splits: dict[str, tuple[str, ...]] = {}
    for axis in mesh.names:
        dim = draw(st.sampled_from([*operator.sizes, None]))
        axes = (*splits.get(dim or "", ()), axis)
        if dim is not None and mesh.degree(axes) <= operator.sizes[dim]:
            splits[dim] = axes
    return ParallelConfig.of(mesh, splits)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Operator, Map, ParallelConfig]:
    operator, m = draw(maps())
    return operator, m, draw(configs(operator))


def points(operator: Operator, config: ParallelConfig) -> dict[int, list[dict[str, int]]]:
    """Return the points of the index space that every device computes."""
    dims = list(operator.sizes)
    space = Layout(config.mesh, tuple(config.axes(d) for d in dims))
    boxes = pieces(space, tuple(operator.sizes.values()))
    return {
        device: [dict(zip(dims, point, strict=True)) for point in box]
        for device, box in boxes.items()
    }


def computed(
    operator: Operator, m: Map, config: ParallelConfig
) -> dict[int, dict[Element, frozenset[Point]]]:
    """Return the elements of the write that every device makes, each with the terms it sums."""
    read = {d for use in m.reads for d in use.dims}
    summed = [d for d in m.dims if d in read and d not in m.write.dims]
    made: dict[int, dict[Element, set[Point]]] = {}
    for device, box in points(operator, config).items():
        mine = made.setdefault(device, {})
        for p in box:
            element = tuple(p[d] for d in m.write.dims)
            mine.setdefault(element, set()).add(tuple(p[d] for d in summed))
    return {d: {e: frozenset(t) for e, t in mine.items()} for d, mine in made.items()}


@given(cases())
@settings(max_examples=120, deadline=None)
def test_a_read_is_the_box_that_the_points_touch(
    case: tuple[Operator, Map, ParallelConfig],
) -> None:
    operator, m, config = case
    touched = points(operator, config)
    for use in (*m.reads, *m.addends):
        boxes = pieces(read_layout(operator, config, use), [operator.sizes[d] for d in use.dims])
        for device, mine in touched.items():
            wanted = {tuple(p[d] for d in use.dims) for p in mine}
            assert wanted == (set(boxes[device]) if mine else set())


@given(cases())
@settings(max_examples=120, deadline=None)
def test_a_write_is_split_partial_or_replicated_as_the_terms_say(
    case: tuple[Operator, Map, ParallelConfig],
) -> None:
    """Along a partial axis neighbours sum different terms, along a replicated one the same."""
    operator, m, config = case
    layout = write_layout(operator, config, m)
    made = computed(operator, m, config)
    where = coordinates(config.mesh)
    for one, other in itertools.combinations(made, 2):
        common = made[one].keys() & made[other].keys()
        differing = {n for n in config.mesh.names if where[one][n] != where[other][n]}
        for element in common:
            terms, others = made[one][element], made[other][element]
            assert not differing & layout.split_axes
            if differing & layout.partial_axes:
                assert not terms & others
            else:
                assert terms == others


@given(cases())
@settings(max_examples=120, deadline=None)
def test_reduced_and_gathered_a_write_has_every_term_everywhere(
    case: tuple[Operator, Map, ParallelConfig],
) -> None:
    """Producer to consumer: what the map leaves becomes what replicas of a reader need."""
    operator, m, config = case
    layout = write_layout(operator, config, m)
    shape = tuple(operator.sizes[d] for d in m.write.dims)
    whole = Layout(config.mesh, ((),) * len(shape))
    execution = Execution(layout, whole, shape)
    execution.state = terms_state(layout, computed(operator, m, config), shape)
    for step in transition(layout, whole, TensorSize(shape, WIDTH)):
        execution.run(step)
    read = {d for use in m.reads for d in use.dims}
    summed = [d for d in m.dims if d in read and d not in m.write.dims]
    every = frozenset(itertools.product(*(range(operator.sizes[d]) for d in summed)))
    for device in config.mesh.flat.tolist():
        assert set(execution.state[device].values()) == {every}
        assert len(execution.state[device]) == prod(shape)


def terms_state(
    layout: Layout, made: dict[int, dict[Element, frozenset[Point]]], shape: tuple[int, ...]
) -> dict[int, dict[Element, frozenset[Point]]]:
    """Return what devices hold: nothing summed yet where a part of the sum is empty."""
    return {
        device: {e: made[device].get(e, frozenset()) for e in box}
        for device, box in pieces(layout, shape).items()
    }


@given(cases())
@settings(max_examples=120, deadline=None)
def test_sizes_of_parts_are_those_of_their_boxes(
    case: tuple[Operator, Map, ParallelConfig],
) -> None:
    operator, _, config = case
    sizes = part_sizes(operator, config)
    for part, mine in enumerate(points(operator, config).values()):
        assert prod(sizes.boxes[sizes.box_of_part[part]].values()) == len(mine)


def heads(groups: int, repeats: int) -> tuple[Operator, Use]:
    """Return an operator over heads as groups x repeats, and the use of their joint axis."""
    use = Use("q", (("g", "r"),))
    m = Map((use,), Use("y", (("g", "r"),)))
    dims = (Dim("g", groups), Dim("r", repeats))
    return Operator("heads", "random", dims, (Step("forward", "F", (m,), "norm"),), ()), use


@pytest.mark.parametrize(
    ("groups", "repeats", "degrees"),
    [(4, 3, {"g": 2}), (4, 3, {"g": 4, "r": 3}), (1, 6, {"r": 2}), (2, 4, {"g": 2, "r": 2})],
)
def test_a_joint_axis_is_cut_where_its_dimensions_are(
    groups: int, repeats: int, degrees: dict[str, int]
) -> None:
    operator, use = heads(groups, repeats)
    config = ParallelConfig.from_degrees(degrees, range(prod(degrees.values())))
    boxes = pieces(read_layout(operator, config, use), (groups * repeats,))
    for device, mine in points(operator, config).items():
        assert sorted(p["g"] * repeats + p["r"] for p in mine) == [e for (e,) in boxes[device]]


@pytest.mark.parametrize("degrees", [{"g": 2, "r": 3}, {"g": 3}, {"r": 2}])
def test_a_joint_axis_in_pieces_is_an_error(degrees: dict[str, int]) -> None:
    operator, use = heads(4, 3)
    config = ParallelConfig.from_degrees(degrees, range(prod(degrees.values())))
    with pytest.raises(StrategyError, match=r"'heads'.*leaves gxr in pieces; choose a divisor"):
        read_layout(operator, config, use)
