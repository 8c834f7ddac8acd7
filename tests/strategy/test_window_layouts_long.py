"""What parts of windows read, point by point, and how halos are brought."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from plan_execution import WIDTH, Execution, coordinates, expected_state, part_of, pieces

from flexsim.errors import StrategyError
from flexsim.operator_graph import Dim, GraphBuilder, Map, Operator, Step, Use, Window
from flexsim.operator_graph.kinds import Filters, concatenate, convolution, square
from flexsim.strategy import Layout, Mesh, ParallelConfig, transition
from flexsim.strategy.config import check_config, part_sizes
from flexsim.strategy.layout import read_layout, write_layout
from flexsim.strategy.transition import Collective, Exchange, TensorSize

MESH_SHAPES = [(2,), (3,), (4,), (2, 2), (2, 3)]
few = settings(max_examples=2500, deadline=None)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    """Draw a convolution's window over 4 to 12 elements, from either side."""
    size, taps, stride = draw(st.integers(4, 12)), draw(st.integers(1, 4)), draw(st.integers(1, 3))
    padding = draw(st.integers(0, taps - 1))
    length = (size + 2 * padding - taps) // stride + 1
    assume(length >= 1)
    window = Window("h", length, "p", size, "i" if taps > 1 else "", taps, stride, -padding)
    return draw(st.sampled_from([window, window.transpose()]))


def operator_of(window: Window) -> Operator:
    """Return an operator that reads x[c, window] and writes y[c, h]."""
    m = Map((Use("x", (("c",), window)),), Use("y", (("c",), (window.dim,))))
    dims = (
        Dim("c", 4),
        Dim(window.dim, window.length),
        *((Dim(window.tap, window.taps, 1),) if window.tap else ()),
        Dim(window.positions, window.size, 1, window.dim),
    )
    return Operator("op", "random", dims, (Step("forward", "F", (m,), "norm"),), ())


@st.composite
def configs(draw: st.DrawFn, operator: Operator, first_device: int = 0) -> ParallelConfig:
    shape = draw(st.sampled_from(MESH_SHAPES))
    devices = np.array(draw(st.permutations(range(prod(shape))))) + first_device
    mesh = Mesh(tuple("abc"[: len(shape)]), devices.reshape(shape))
    splits: dict[str, tuple[str, ...]] = {}
    for axis in mesh.names:
        dim = draw(st.sampled_from(["c", operator.dims[1].name, None]))
        axes = (*splits.get(dim or "", ()), axis)
        if dim is not None and mesh.degree(axes) <= operator.sizes[dim]:
            splits[dim] = axes
    return ParallelConfig.of(mesh, splits)


@st.composite
def reads(draw: st.DrawFn, first_device: int = 0) -> tuple[Operator, ParallelConfig, Use]:
    operator = operator_of(draw(windows()))
    (use,) = operator.forward[0].reads
    return operator, draw(configs(operator, first_device)), use


def touched(window: Window, low: int, high: int) -> set[int]:
    """Return the elements that indices [low, high) meet, by definition."""
    found = set()
    for element in range(window.size):
        for tap in range(window.taps):
            if window.transposed:
                met = [window.stride * element + tap + window.offset]
            else:
                rest = element - tap - window.offset
                met = [rest // window.stride] if rest % window.stride == 0 else []
            if met and low <= met[0] < high:
                found.add(element)
    return found


@few
@given(reads())
def test_a_part_reads_what_its_windows_touch_and_the_gaps_behind_them(
    case: tuple[Operator, ParallelConfig, Use],
) -> None:
    operator, config, use = case
    window = use.windows[0]
    every = touched(window, 0, window.length)
    axes = config.axes(window.dim)
    degree = config.degree(window.dim)
    boxes = pieces(read_layout(operator, config, use), (4, window.size))
    for device, here in coordinates(config.mesh).items():
        part = part_of(config.mesh, axes, here)
        low, high = (k * window.length // degree for k in (part, part + 1))
        needed = touched(window, low, high)
        box = {element for _, element in boxes[device]}
        assert needed <= box
        inside = {e for e in box & every if needed and min(needed) <= e <= max(needed)}
        assert box & every <= needed | inside


@few
@given(reads())
def test_all_parts_together_read_everything(case: tuple[Operator, ParallelConfig, Use]) -> None:
    operator, config, use = case
    boxes = pieces(read_layout(operator, config, use), (4, use.windows[0].size))
    assert len({e for box in boxes.values() for e in box}) == 4 * use.windows[0].size


@few
@given(reads())
def test_an_extent_is_that_of_the_largest_box(case: tuple[Operator, ParallelConfig, Use]) -> None:
    """Padding and gaps only make boxes smaller, but for the end of the axis."""
    operator, config, use = case
    window = use.windows[0]
    boxes = part_sizes(operator, config).boxes
    largest = max(use.num_elements(box) for box in boxes)
    bounds = read_layout(operator, config, use).bounds
    if bounds and bounds[1] is not None:
        middle = [high - low for low, high in bounds[1] if low and high < window.size]
        columns = max(box["c"] for box in boxes)
        assert all(columns * length <= largest for length in middle)


def sources(draw: st.DrawFn, shape: tuple[int, int]) -> Layout:
    mesh_shape = draw(st.sampled_from(MESH_SHAPES))
    mesh = Mesh(tuple("abc"[: len(mesh_shape)]), np.arange(prod(mesh_shape)).reshape(mesh_shape))
    axes: list[tuple[str, ...]] = [(), ()]
    partial = []
    for name in mesh.names:
        place = draw(st.integers(-2, 1))
        if place >= 0 and mesh.degree((*axes[place], name)) <= shape[place]:
            axes[place] += (name,)
        elif place == -2:
            partial.append((name, "sum"))
    return Layout(mesh, tuple(axes)).with_partial(partial)


Case = tuple[Layout, Layout, tuple[int, int]]


@st.composite
def aligned(draw: st.DrawFn, target: Layout) -> Layout:
    """Draw even cuts on the target's mesh, as they are there, or partial, or replicated."""
    axes = tuple(axis if draw(st.booleans()) else () for axis in target.axes)
    used = {name for axis in axes for name in axis}
    free = [name for name in target.mesh.names if name not in used]
    partial = [(name, "sum") for name in free if draw(st.booleans())]
    return Layout(target.mesh, axes).with_partial(partial)


@st.composite
def halos(draw: st.DrawFn) -> Case:
    """Draw any layout and one that is read through windows, perhaps on other devices."""
    operator, config, use = draw(reads(draw(st.sampled_from([0, 0, 1, 20]))))
    shape = (4, use.windows[0].size)
    target = read_layout(operator, config, use)
    assume(target.bounds)
    source = sources(draw, shape)
    if draw(st.booleans()):
        source = draw(aligned(target))
    return source, target, shape


@st.composite
def from_halos(draw: st.DrawFn) -> Case:
    """Draw a layout that was read through windows, and any other."""
    operator, config, use = draw(reads())
    shape = (4, use.windows[0].size)
    source = read_layout(operator, config, use)
    assume(source.bounds)
    return source, sources(draw, shape).whole(), shape


def run(case: Case) -> Execution:
    source, target, shape = case
    execution = Execution(source, target, shape)
    for step in transition(source, target, TensorSize(shape, WIDTH)):
        execution.run(step)
    execution.drop_to(target)
    return execution


@few
@given(halos() | from_halos())
def test_everyone_ends_with_what_its_windows_touch(case: Case) -> None:
    source, target, shape = case
    assert run(case).state == expected_state(source, target, shape)


def conv(rows: int = 8, kernel: int = 3) -> Operator:
    builder = GraphBuilder("test", "fp32")
    x = builder.input("x", (2, 4, rows, rows), 4)
    convolution(builder, "op", x, square(kernel, 1, kernel // 2), Filters(6))
    return builder.build(2, 1).operators[0]


def config_of(operator: Operator, **degrees: int) -> ParallelConfig:
    return ParallelConfig.from_degrees(degrees, range(prod(degrees.values())))


def plan(operator: Operator, config: ParallelConfig, source: Layout) -> list[tuple[object, ...]]:
    """Return what brings the operator's image from ``source``."""
    use = operator.forward[0].reads[0]
    found: list[tuple[object, ...]] = []
    size = TensorSize((2, 4, 8, 8), 1)
    for step in transition(source, read_layout(operator, config, use), size):
        if isinstance(step, Collective):
            found.append((step.kind, step.axes, step.num_bytes))
        elif isinstance(step, Exchange):
            columns = (step.sources.tolist(), step.targets.tolist(), step.num_bytes.tolist())
            found += zip(*columns, strict=True)
    return found


ROW = 2 * 4 * 8
"""One row of both images, all channels and columns."""


def test_equal_cuts_exchange_one_row_with_each_neighbour() -> None:
    operator = conv()
    config = config_of(operator, h=4)
    even = Layout(config.mesh, ((), (), ("h",), ()))
    neighbours = [(0, 1), (1, 0), (1, 2), (2, 1), (2, 3), (3, 2)]
    assert plan(operator, config, even) == [(a, b, ROW) for a, b in neighbours]


def test_what_is_whole_everywhere_needs_no_halo() -> None:
    operator = conv()
    config = config_of(operator, h=4)
    assert plan(operator, config, Layout(config.mesh, ((), (), (), ()))) == []


def test_partial_sums_are_scattered_before_halos_are_exchanged() -> None:
    operator = conv()
    config = config_of(operator, h=2)
    partial = Layout(config.mesh, ((),) * 4, (("h", "sum"),))
    whole = 2 * 4 * 8 * 8
    assert plan(operator, config, partial) == [
        ("reduce-scatter", ("h",), whole),
        (0, 1, ROW),
        (1, 0, ROW),
    ]


def test_channels_are_gathered_by_a_collective_before_halos() -> None:
    operator = conv()
    mesh = Mesh(("x", "y"), np.arange(4).reshape(2, 2))
    config = ParallelConfig.of(mesh, {"h": ("x",), "o": ("y",)})
    source = Layout(mesh, ((), ("y",), ("x",), ()))
    steps = plan(operator, config, source)
    assert steps[0] == ("all-gather", ("y",), 2 * 4 * 4 * 8)
    assert steps[1:] == [(0, 2, ROW), (1, 3, ROW), (2, 0, ROW), (3, 1, ROW)]


def test_a_kernel_of_one_and_tiles_of_two_need_no_bounds() -> None:
    config = config_of(conv(kernel=1), h=4)
    operator = conv(kernel=1)
    assert read_layout(operator, config, operator.forward[0].reads[0]).bounds == ()
    pool = operator_of(Window("h", 4, "p", 8, "i", 2, 2))
    assert read_layout(pool, config_of(pool, h=2), pool.forward[0].reads[0]).bounds == ()


def test_gradients_of_windows_do_not_overlap() -> None:
    operator = conv()
    config = config_of(operator, h=4)
    into_image, into_weight = (step.maps[0] for step in operator.backward)
    assert write_layout(operator, config, into_image).axes == ((), (), ("h",), ())
    assert write_layout(operator, config, into_image).bounds == ()
    assert write_layout(operator, config, into_weight).partial == (("h", "sum"),)
    halo = read_layout(operator, config, into_image.reads[0]).bounds[2]
    assert halo == ((0, 3), (1, 5), (3, 7), (5, 8))


def test_parts_of_a_joined_axis_read_only_what_lies_in_them() -> None:
    builder = GraphBuilder("test")
    xs = [builder.input(f"x{i}", (2, n), 2) for i, n in enumerate((3, 5))]
    concatenate(builder, "op", xs, (("b",), ("c",)), "c")
    (operator,) = builder.build(2, 1).operators
    config = config_of(operator, c=2)
    bounds = [read_layout(operator, config, use).bounds for use in operator.forward[0].reads]
    assert bounds == [(None, ((0, 3), (0, 0))), (None, ((0, 1), (1, 5)))]


def test_positions_are_cut_only_where_their_dimension_is() -> None:
    operator = conv()
    config = config_of(operator, h=4)
    assert part_sizes(operator, config).boxes[0]["p"] == 2
    with pytest.raises(StrategyError, match="dimension 'p' is split 2 times; choose at most 1"):
        check_config(operator, config_of(operator, p=2))
    with pytest.raises(StrategyError, match="no dimension 'z': choose from b, c, h"):
        check_config(operator, config_of(operator, z=2))
