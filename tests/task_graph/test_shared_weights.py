"""Weights read on different devices, or cut in different ways, by the operators that share them."""

from __future__ import annotations

import itertools
from math import prod

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from program_record import model, record

from flexsim.models import build_model, model_config
from flexsim.operator_graph import OperatorGraph
from flexsim.strategy import Degrees, Layout, Mesh, ParallelConfig, Strategy, data
from flexsim.strategy.mesh import part_bounds
from flexsim.task_graph.shared_weights import holding, needs_shares

MESH_SHAPES = [(1,), (2,), (3,), (2, 2)]


def mesh(*devices: int) -> Mesh:
    return Mesh(("x",), np.array(devices))


@st.composite
def homes(draw: st.DrawFn) -> tuple[Layout, ...]:
    """Draw one to three layouts of a matrix on some of eight devices."""
    found = []
    for _ in range(draw(st.integers(1, 3))):
        shape = draw(st.sampled_from(MESH_SHAPES))
        devices = draw(st.permutations(range(8)))[: prod(shape)]
        here = Mesh(tuple("ab"[: len(shape)]), np.array(devices).reshape(shape))
        axes: list[tuple[str, ...]] = [(), ()]
        for name in here.names:
            place = draw(st.integers(-1, 1))
            if place >= 0:
                axes[place] += (name,)
        found.append(Layout(here, tuple(axes)))
    return tuple(found)


def holders(found: tuple[Layout, ...], shape: tuple[int, int]) -> dict[tuple[int, ...], set[int]]:
    """Return, for every element, the devices whose boxes it lies in."""
    held: dict[tuple[int, ...], set[int]] = {
        element: set() for element in itertools.product(*map(range, shape))
    }
    for layout in found:
        parts = [layout.mesh.part_index(axes) for axes in layout.axes]
        for position, device in enumerate(layout.mesh.flat.tolist()):
            ranges = []
            for axis, size in enumerate(shape):
                bounds = part_bounds(size, layout.mesh.degree(layout.axes[axis])).tolist()
                part = int(parts[axis][position])
                ranges.append(range(bounds[part], bounds[part + 1]))
            for element in itertools.product(*ranges):
                held[element].add(device)
    return held


@settings(max_examples=80, deadline=None)
@given(homes(), st.sampled_from([(4, 6), (3, 5), (1, 2)]))
def test_shares_are_the_elements_that_the_same_devices_read(
    found: tuple[Layout, ...], shape: tuple[int, int]
) -> None:
    wanted: dict[tuple[int, ...], int] = {}
    for devices in holders(found, shape).values():
        key = tuple(sorted(devices))
        wanted[key] = wanted.get(key, 0) + 1
    held = holding(found, shape)
    assert {share.devices: share.num_elements for share in held.shares} == wanted
    counts = dict(zip(held.devices.tolist(), held.num_elements.tolist(), strict=True))
    for device, count in counts.items():
        assert count == sum(n for devices, n in wanted.items() if device in devices)


def test_twins_need_no_shares() -> None:
    """A tied embedding on the first and last stage: disjoint meshes of one shape, cut alike."""
    rows = (("x",), ())
    first, last, alone = (Layout(mesh(*devices), rows) for devices in ((0, 1), (2, 3), (1, 2)))
    assert not needs_shares((first,))
    assert not needs_shares((first, last))
    assert needs_shares((first, alone))
    assert needs_shares((first, Layout(first.mesh, ((), ("x",)))))
    assert needs_shares((first, Layout(mesh(4), ((), ()))))


def lstm(steps: int = 4) -> OperatorGraph:
    sizes = {"layers": 1, "hidden": 8, "sequence": steps, "vocabulary": 6}
    return build_model(model_config("rnnlm", None, **sizes), 8, "fp32")


def placed(graph: OperatorGraph, devices_of_step: list[list[int]], dim: str = "b") -> Strategy:
    """Return a strategy with the LSTM's steps on given devices and all else on device 0."""
    configs = {}
    for op in graph.operators:
        devices = devices_of_step[int(op.name[-1])] if op.kind == "lstm" else [0]
        degrees = {dim: len(devices)} if op.kind == "lstm" else {"b": 1}
        configs[op.name] = ParallelConfig.from_degrees(degrees, devices)
    return Strategy("placed", configs, gradient_norm=False)


def sums(graph: OperatorGraph, strategy: Strategy) -> list[tuple[tuple[int, ...], int]]:
    """Return the groups and bytes of the update's gradient collectives."""
    found = record(graph, strategy).of("U", stream="gradient")
    return sorted((m.devices[0], m.num_bytes) for m in found if len(m.devices) == 1)


LSTM_WEIGHTS = 4 * 8 * (8 + 8 + 1)


def test_steps_on_different_devices_sum_each_weight_once_over_all() -> None:
    graph = lstm()
    found = sums(graph, placed(graph, [[0], [1], [2, 3], [0]]))
    assert [devices for devices, _ in found] == [(0, 1, 2, 3)] * 3
    width = sums_width(graph)
    assert sum(num_bytes for _, num_bytes in found) == LSTM_WEIGHTS * width


def test_steps_on_twin_devices_sum_as_copies() -> None:
    graph = lstm()
    found = record(graph, placed(graph, [[0], [1], [2], [0]])).of("U", stream="embedding")
    assert [sorted(m.devices[0]) for m in found] == [[0, 1, 2]] * 3


def sums_width(graph: OperatorGraph) -> int:
    """Return the bytes a parameter that plain data parallelism sums."""
    strategy = data(graph, Degrees(data=2, gradient_norm=False))
    messages = record(graph, strategy).of("U", stream="gradient")
    return sum(m.num_bytes for m in messages) // graph.num_parameters


def test_a_step_on_one_device_keeps_its_weights_to_itself() -> None:
    graph = lstm()
    assert sums(graph, placed(graph, [[1]] * 4)) == []


def test_weights_cut_in_two_ways_are_summed_where_both_hold_them() -> None:
    """Step 0 cuts outputs in halves over 0 and 1, the others run whole on 2."""
    graph = lstm()
    configs = dict(placed(graph, [[2]] * 4).configs)
    configs["layer0.step0"] = ParallelConfig.from_degrees({"n": 2}, [0, 1])
    found = sums(graph, Strategy("two ways", configs, gradient_norm=False))
    pairs = [devices for devices, _ in found]
    assert pairs == [(0, 2)] * 2 + [(1, 2)] * 2
    halves = LSTM_WEIGHTS - 4 * 8 * 8
    assert sum(num_bytes for _, num_bytes in found) == halves * sums_width(graph)


def test_every_device_steps_the_elements_that_it_holds() -> None:
    graph = lstm()
    configs = dict(placed(graph, [[2]] * 4).configs)
    configs["layer0.step1"] = ParallelConfig.from_degrees({"n": 2}, [0, 1])
    found = record(graph, Strategy("two ways", configs, gradient_norm=False))
    held: dict[int, int] = {}
    for part in found.parts:
        for device in part.layout.mesh.flat.tolist():
            held[device] = held.get(device, 0) + part.num_parameters
    others = graph.num_parameters - LSTM_WEIGHTS
    assert held == {0: LSTM_WEIGHTS // 2 + others, 1: LSTM_WEIGHTS // 2, 2: LSTM_WEIGHTS}


def test_an_unrolled_layer_under_data_parallelism_sums_each_weight_once() -> None:
    graph = lstm()
    found = record(graph, data(graph, Degrees(data=4)))
    assert len(found.of("U", stream="gradient")) == len(graph.weights)
    assert all(part.holding is None for part in found.parts)


def test_a_tied_embedding_may_be_cut_in_two_ways() -> None:
    graph = model("gpt", sequences=4)
    configs = {op.name: ParallelConfig.from_degrees({"b": 2}, [0, 1]) for op in graph.operators}
    configs["logits"] = ParallelConfig.from_degrees({"v": 2}, [0, 1])
    found = record(graph, Strategy("two ways", configs))
    (part,) = [p for p in found.parts if p.name == "word_embedding"]
    assert part.num_parameters == 32 * 16
    assert [share.devices for share in part.holding.shares] == [(0, 1)]  # type: ignore[union-attr]
