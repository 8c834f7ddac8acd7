"""Bringing tensors: what is written, what is at hand afterwards, what is brought once only."""

from __future__ import annotations

import numpy as np
from program_record import Recorder, cluster, model, one_ns, software

from flexsim.cost.costs import Costs
from flexsim.strategy import Layout, Mesh
from flexsim.strategy.transition import TensorSize
from flexsim.task_graph.bring import Carrier, Reader
from flexsim.task_graph.kinds import TASK_KINDS
from flexsim.task_graph.pricing import Pricing
from flexsim.task_graph.rows import Have, Notebook, Store

HERE = Mesh(("data", "tensor"), np.arange(4).reshape(2, 2))
THERE = Mesh(("data", "tensor"), np.arange(4, 8).reshape(2, 2))
TENSOR = ("x", TensorSize((8, 8), 2))
READER = Reader(operator=0, stage=1, action=0)


def lay(*axes: tuple[str, ...], mesh: Mesh = HERE, partial: tuple[str, ...] = ()) -> Layout:
    return Layout(mesh, axes, tuple((name, "sum") for name in partial))


def carrier(scatter_gather: bool = False) -> tuple[Carrier, Notebook]:
    notebook = Notebook()
    costs = Costs(one_ns, Recorder(), software())
    return Carrier(notebook, Pricing(model(), cluster(), costs), scatter_gather), notebook


def store_of(layout: Layout) -> Store:
    return {"x": [Have(layout, (), 0)]}


def written(notebook: Notebook) -> list[tuple[str, int, tuple[int, ...]]]:
    """Return stream, stage and needs of every row."""
    return [(TASK_KINDS[row.kind], row.stage, row.needs) for row in notebook.rows]


def test_a_layout_is_brought_once() -> None:
    carry, notebook = carrier()
    store, target = store_of(lay((), (), partial=("tensor",))), lay((), ())
    first = carry.bring(store, TENSOR, target, READER)
    assert carry.bring(store, TENSOR, target, READER) == first == (0,)
    assert written(notebook) == [("tensor", 1, ())]


def test_the_cheapest_layout_at_hand_is_taken_from() -> None:
    """Once summed, a slice is free; it would be a reduce-scatter from the partial sums."""
    carry, notebook = carrier()
    store = store_of(lay((), (), partial=("tensor",)))
    whole = carry.bring(store, TENSOR, lay((), ()), READER)
    assert carry.bring(store, TENSOR, lay(("tensor",), ()), READER) == whole
    assert len(notebook.rows) == 1


def test_what_a_plan_makes_on_the_way_is_at_hand() -> None:
    """Reduced at the source's stage, moved, gathered at the reader's."""
    carry, notebook = carrier()
    store = store_of(lay(("tensor",), (), partial=("data",)))
    carry.bring(store, TENSOR, lay((), (), mesh=THERE), READER)
    assert written(notebook) == [("data", 0, ()), ("pipeline", 0, (0,)), ("tensor", 1, (1,))]
    assert [have.layout for have in store["x"][1:]] == [
        lay(("tensor",), ()),
        lay(("tensor",), (), mesh=THERE),
        lay((), (), mesh=THERE),
    ]


def test_strided_pieces_and_shares_in_transit_are_not_at_hand() -> None:
    carry, _ = carrier()
    store = store_of(lay(("data", "tensor"), ()))
    target = lay((), ("data",))
    carry.bring(store, TENSOR, target, READER)
    assert [have.layout for have in store["x"][1:]] == [target]
    carry, _ = carrier(scatter_gather=True)
    store = store_of(lay((), ()))
    target = lay((), (), mesh=THERE)
    carry.bring(store, TENSOR, target, READER)
    assert [have.layout for have in store["x"][1:]] == [target]


def test_a_gate_holds_back_what_waits_for_nothing_else() -> None:
    carry, notebook = carrier()
    gated = Reader(operator=0, stage=0, action=1, gate=(7,))
    carry.bring(store_of(lay(("tensor",), ())), TENSOR, lay((), ()), gated)
    assert written(notebook) == [("tensor", 0, (7,))]
    after = {"x": [Have(lay(("tensor",), ()), (3,), 0)]}
    carry.bring(after, TENSOR, lay((), ()), gated)
    assert written(notebook)[1] == ("tensor", 0, (3,))


def test_an_exchange_also_waits_for_the_receivers_own_part() -> None:
    """Device 1 keeps its quarter and gets one; both must be there before it goes on."""
    carry, notebook = carrier()
    quarters = Layout(HERE, (("data", "tensor"), ()))
    store = {"x": [Have(quarters, (5,), 1)]}
    halves = Layout(Mesh(("half",), np.array([0, 2])), (("half",), ()))
    rows = carry.bring(store, TENSOR, halves, READER)
    (row,) = notebook.rows
    assert rows == (5, 0)
    assert TASK_KINDS[row.kind] == "reshard"
    assert row.places.targets is not None
    pairs = zip(row.places.groups[:, 0].tolist(), row.places.targets.tolist(), strict=True)
    assert list(pairs) == [(1, 0), (3, 2)]
    assert row.num_bytes.tolist() == [2 * 8 * 2] * 2
