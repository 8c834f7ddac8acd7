"""From source to target layout, worked out by hand: kinds, mesh axes and bytes."""

from __future__ import annotations

import numpy as np
import pytest

from flexsim.strategy import Layout, Mesh, transition
from flexsim.strategy.transition import Collective, Exchange, Move, TensorSize

SHAPE = (8, 12)
WIDTH = 2
WHOLE = 8 * 12 * WIDTH
MESH = Mesh(("x", "y"), np.arange(4).reshape(2, 2))
ELSEWHERE = Mesh(("x", "y"), np.arange(10, 14).reshape(2, 2))
CUBE = Mesh(("x", "y", "z"), np.arange(12).reshape(2, 3, 2))
Summary = list[tuple[object, ...]]


def lay(
    rows: str = "", columns: str = "", partial: str = "", mesh: Mesh = MESH, how: str = "sum"
) -> Layout:
    """Return the layout that cuts rows and columns by the mesh axes in a string."""
    return Layout(mesh, (tuple(rows), tuple(columns)), tuple((name, how) for name in partial))


def summary(
    source: Layout, target: Layout, shape: tuple[int, ...] = SHAPE, scatter: bool = False
) -> Summary:
    """Return (kind, mesh axes, bytes) of every step."""
    found: Summary = []
    for step in transition(source, target, TensorSize(shape, WIDTH), scatter):
        if isinstance(step, Collective):
            found.append((step.kind, "".join(step.axes), step.num_bytes))
        elif isinstance(step, Move):
            found.append(("move", step.num_bytes))
        else:
            assert isinstance(step, Exchange)
            columns = (step.sources.tolist(), step.targets.tolist(), step.num_bytes.tolist())
            found.append(("exchange", *zip(*columns, strict=True)))
    return found


ROWS_OF_THE_TABLE = {
    "the same": (lay("x"), lay("x"), []),
    "R to S: slice": (lay(), lay("x"), []),
    "P to S: reduce-scatter": (lay(partial="x"), lay("x"), [("reduce-scatter", "x", WHOLE)]),
    "S(i) to S(j): all-to-all": (lay("x"), lay("", "x"), [("all-to-all", "x", WHOLE // 2)]),
    "P to R: all-reduce": (lay(partial="x"), lay(), [("all-reduce", "x", WHOLE)]),
    "a maximum is reduced likewise": (
        lay(partial="x", how="max"),
        lay(),
        [("all-reduce", "x", WHOLE)],
    ),
    "another device set": (lay("x"), lay("x", mesh=ELSEWHERE), [("move", WHOLE // 2)]),
    "S to R: all-gather": (lay("x"), lay(), [("all-gather", "x", WHOLE)]),
}
COMBINED = {
    "axes with one row form one collective": (
        lay(partial="xy"),
        lay(),
        [("all-reduce", "xy", WHOLE)],
    ),
    "all-gather over two tensor axes at once": (
        lay("x", "y"),
        lay(),
        [("all-gather", "xy", WHOLE)],
    ),
    "two mesh axes on one tensor axis, gathered": (lay("xy"), lay(), [("all-gather", "xy", WHOLE)]),
    "the minor of two is gathered alone": (lay("xy"), lay("x"), [("all-gather", "y", WHOLE // 2)]),
    "the minor of two moves": (lay("xy"), lay("x", "y"), [("all-to-all", "y", WHOLE // 4)]),
    "S(i) to S(j) on different mesh axes": (
        lay("x"),
        lay("", "y"),
        [("all-gather", "x", WHOLE // 2)],
    ),
    "a slice comes first": (
        lay(partial="x"),
        lay("x", "y"),
        [("reduce-scatter", "x", WHOLE // 2)],
    ),
    "a minor slice comes first too": (
        lay(partial="x"),
        lay("xy"),
        [("reduce-scatter", "x", WHOLE // 2)],
    ),
    "a slice before a reduction and a gather": (
        lay("z", partial="x", mesh=CUBE),
        lay("", "y", mesh=CUBE),
        [("all-reduce", "x", WHOLE // 6), ("all-gather", "z", WHOLE // 3)],
    ),
    "reduce-scatter before all-to-all": (
        lay("", "x", partial="y"),
        lay("yx"),
        [("reduce-scatter", "y", WHOLE // 2), ("all-to-all", "x", WHOLE // 4)],
    ),
    "reduce-scatter before all-to-all, whichever is minor": (
        lay("", "x", partial="y"),
        lay("xy"),
        [("reduce-scatter", "y", WHOLE // 2), ("all-to-all", "x", WHOLE // 4)],
    ),
    "the major of two moves, the minor is gathered": (
        lay("xy"),
        lay("", "x"),
        [("all-to-all", "x", WHOLE // 4), ("all-gather", "y", WHOLE // 2)],
    ),
    "reduce-scatter before all-reduce": (
        lay(partial="xy"),
        lay("x"),
        [("reduce-scatter", "x", WHOLE), ("all-reduce", "y", WHOLE // 2)],
    ),
    "reduce at the source, move, gather at the destination": (
        lay("y", partial="x"),
        lay(mesh=ELSEWHERE),
        [("all-reduce", "x", WHOLE // 2), ("move", WHOLE // 2), ("all-gather", "y", WHOLE)],
    ),
    "what is cut at the destination is cut before it moves": (
        lay(),
        lay("x", "y", mesh=ELSEWHERE),
        [("move", WHOLE // 4)],
    ),
    "partial results may move": (
        lay("y", partial="x"),
        lay("y", partial="x", mesh=ELSEWHERE),
        [("move", WHOLE // 2)],
    ),
    "partial results that stay cost nothing": (lay(partial="xy"), lay(partial="xy"), []),
    "some partial results stay": (
        lay(partial="xy"),
        lay(partial="y"),
        [("all-reduce", "x", WHOLE)],
    ),
}


@pytest.mark.parametrize("name", [*ROWS_OF_THE_TABLE, *COMBINED])
def test_plan(name: str) -> None:
    source, target, expected = (ROWS_OF_THE_TABLE | COMBINED)[name]
    assert summary(source, target) == expected


def test_scatter_gather_sends_shares_of_what_is_replicated() -> None:
    """Narayanan et al. 2021, section 4.1: 1/t of the bytes, then an all-gather inside."""
    source, target = lay("x"), lay("x", mesh=ELSEWHERE)
    assert summary(source, target, scatter=True) == [
        ("move", WHOLE // 4),
        ("all-gather", "y", WHOLE // 2),
    ]


def test_scatter_gather_changes_nothing_where_nothing_is_replicated() -> None:
    source, target = lay("x", "y"), lay("x", "y", mesh=ELSEWHERE)
    assert summary(source, target, scatter=True) == [("move", WHOLE // 4)]


def test_scatter_gather_takes_the_first_axis_that_divides() -> None:
    source, target = lay(), lay(mesh=ELSEWHERE)
    (move, gather) = transition(source, target, TensorSize((3, 8), WIDTH), True)
    assert move.result.axes == ((), ("x", "y"))
    assert move.num_bytes == 3 * 2 * WIDTH
    assert isinstance(gather, Collective)
    assert (gather.kind, gather.num_bytes) == ("all-gather", 24 * WIDTH)


def test_scatter_gather_sends_whole_where_no_axis_divides() -> None:
    assert summary(lay(), lay(mesh=ELSEWHERE), (3, 5), scatter=True) == [("move", 15 * WIDTH)]


def test_uneven_cuts_have_the_size_of_the_largest_part() -> None:
    """Five rows in two parts are two and three."""
    assert summary(lay("x"), lay("x", mesh=ELSEWHERE), (5, 4)) == [("move", 3 * 4 * WIDTH)]
    assert summary(lay("", "y", "x"), lay("x", "y"), (5, 3)) == [
        ("reduce-scatter", "x", 5 * 2 * WIDTH)
    ]
    assert summary(lay("xy"), lay("x"), (5, 1)) == [("all-gather", "y", 3 * WIDTH)]


def test_uneven_cuts_are_not_sliced_out_of_turn() -> None:
    """Strided pieces of an uneven cut may be larger than their share."""
    assert summary(lay(partial="x"), lay("xy"), (5, 4)) == [("reduce-scatter", "x", 20 * WIDTH)]


def test_pieces_between_two_steps_are_marked_when_they_are_strided() -> None:
    source, target = lay("xy"), lay("", "x")
    first, second = transition(source, target, TensorSize(SHAPE, WIDTH))
    assert (first.lasting, second.lasting) == (False, True)
    source, target = lay("xy"), lay("", "y")
    first, second = transition(source, target, TensorSize(SHAPE, WIDTH))
    assert (first.lasting, second.lasting) == (True, True)


def test_other_order_of_mesh_axes_is_exchanged() -> None:
    """Quarters 0 1 2 3 against 0 2 1 3: devices 1 and 2 swap theirs."""
    quarter = WHOLE // 4
    assert summary(lay("xy"), lay("yx")) == [("exchange", (1, 2, quarter), (2, 1, quarter))]


def test_misaligned_axes_first_resolve_partial_results() -> None:
    source = lay("x", partial="z", mesh=CUBE)
    target = lay("y", mesh=CUBE)
    steps = summary(source, target)
    assert steps[0] == ("all-reduce", "z", WHOLE // 2)
    assert steps[1][0] == "exchange"
    assert len(steps) == 2


def test_permuted_devices_take_from_holders_only_what_they_lack() -> None:
    """Halves on (0, 1) wanted on (1, 0): both halves change places."""
    one, other = (Mesh(("x",), np.array(devices)) for devices in ([0, 1], [1, 0]))
    source, target = (Layout(mesh, (("x",), ())) for mesh in (one, other))
    assert summary(source, target) == [("exchange", (0, 1, WHOLE // 2), (1, 0, WHOLE // 2))]


def test_overlapping_device_sets_keep_their_own_copy() -> None:
    """Halves on (0, 1) wanted on (1, 2): device 1 gets the first, device 2 the second."""
    one, other = (Mesh(("x",), np.array(devices)) for devices in ([0, 1], [1, 2]))
    source, target = (Layout(mesh, (("x",), ())) for mesh in (one, other))
    assert summary(source, target) == [("exchange", (0, 1, WHOLE // 2), (1, 2, WHOLE // 2))]
    everywhere = Layout(one, ((), ()))
    assert summary(everywhere, Layout(other, ((), ()))) == [("exchange", (1, 2, WHOLE))]


def test_other_degrees_exchange_the_overlaps_of_boxes() -> None:
    """Twelve columns: thirds on 0, 1, 2 to halves on 3, 4; the middle third goes to both."""
    thirds, halves = Mesh(("x",), np.arange(3)), Mesh(("x",), np.array([3, 4]))
    source, target = Layout(thirds, ((), ("x",))), Layout(halves, ((), ("x",)))
    column = 8 * WIDTH
    assert summary(source, target) == [
        ("exchange", (0, 3, 4 * column), (1, 3, 2 * column), (1, 4, 2 * column), (2, 4, 4 * column))
    ]


def test_replicas_share_the_sending() -> None:
    """Two devices hold everything; four others take it from them in turn."""
    pair, four = Mesh(("x",), np.arange(2)), Mesh(("x",), np.arange(2, 6))
    source, target = Layout(pair, ((), ())), Layout(four, ((), ()))
    assert summary(source, target) == [
        ("exchange", (0, 2, WHOLE), (0, 4, WHOLE), (1, 3, WHOLE), (1, 5, WHOLE))
    ]


def test_mesh_axes_of_one_device_need_nothing() -> None:
    mesh = Mesh(("x", "y"), np.arange(3).reshape(1, 3))
    assert summary(lay("x", mesh=mesh), lay(mesh=mesh)) == []
    assert summary(lay(partial="x", mesh=mesh), lay(mesh=mesh)) == []
    reduced = [("all-reduce", "y", WHOLE)]
    assert summary(lay(partial="xy", mesh=mesh), lay("x", mesh=mesh)) == reduced


def test_scatter_gather_ignores_mesh_axes_of_one_device() -> None:
    one, other = (Mesh(("x", "y"), np.arange(i, i + 2).reshape(1, 2)) for i in (0, 2))
    assert summary(lay(mesh=one), lay(mesh=other), scatter=True) == [
        ("move", WHOLE // 2),
        ("all-gather", "y", WHOLE),
    ]
