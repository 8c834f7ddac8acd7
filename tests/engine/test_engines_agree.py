"""Every engine gives the same timeline, to the nanosecond, on random graphs and real ones."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import make_task_graph
from hypothesis import given, settings
from hypothesis import strategies as st
from list_scheduler import list_schedule
from shipped_scenarios import ROOT

import flexsim
from flexsim.engine.table import ENGINES, EVENT_LIMIT, choose_engine, load_engine
from flexsim.errors import DeadlockError, FlexSimError
from flexsim.task_graph.columns import TaskGraph

SCENARIOS = [
    "korthikanti-22b-8xa100-selective",
    "korthikanti-22b-layer-full",
]


def spans(engine: str, graph: TaskGraph) -> list[tuple[int, int]]:
    timeline = load_engine(engine)(graph, None)
    return list(zip(timeline.start_ns.tolist(), timeline.end_ns.tolist(), strict=True))


@st.composite
def task_graphs(draw, longest: int = 4) -> TaskGraph:
    """Return graphs with ties, several resources a task, chains and fans."""
    num_tasks = draw(st.integers(1, 40))
    num_resources = draw(st.integers(1, 5))
    tasks = []
    for task in range(num_tasks):
        reach = draw(st.sampled_from([1, 3, 40]))
        before = st.integers(max(0, task - reach), max(0, task - 1))
        predecessors = draw(st.sets(before, max_size=3)) if task else set()
        held = draw(st.sets(st.integers(0, num_resources - 1), min_size=1, max_size=3))
        tasks.append((draw(st.integers(1, longest)), sorted(held), sorted(predecessors)))
    return make_task_graph(tasks)


@settings(max_examples=400, deadline=None)
@given(graph=task_graphs())
def test_engines_agree_with_the_list_scheduler(graph):
    expected = list_schedule(graph)
    for engine in ENGINES:
        assert spans(engine, graph) == expected


def layered(draw, widths: list[int], most_held: int) -> TaskGraph:
    """Return layers of tasks, each after some or all of the layer before; ids run at random."""
    num_tasks = sum(widths)
    order = draw(st.permutations(range(num_tasks)))
    resources = st.sets(st.integers(0, 5), min_size=1, max_size=most_held)
    tasks = [(1, [0], [])] * num_tasks
    layer: list[int] = []
    first = 0
    for width in widths:
        before, layer = layer, order[first : first + width]
        first += width
        for task in layer:
            after = draw(st.sampled_from([before, before[:1], before[-1:]]))
            tasks[task] = (draw(st.integers(1, 3)), sorted(draw(resources)), sorted(after))
    return make_task_graph(tasks)


@st.composite
def fans(draw) -> TaskGraph:
    """Return fans from few tasks to many and back, most of them ready at one instant."""
    widths = draw(st.lists(st.sampled_from([1, 1, 2, 12]), min_size=2, max_size=5))
    return layered(draw, widths, most_held=2)


@st.composite
def chains(draw) -> TaskGraph:
    """Return long chains of one to three tasks abreast, which hold up to four resources."""
    widths = draw(st.lists(st.integers(1, 3), min_size=8, max_size=16))
    return layered(draw, widths, most_held=4)


@pytest.mark.parametrize("graphs", [fans(), chains()], ids=["fans", "chains"])
def test_engines_agree_with_the_list_scheduler_on_fans_and_chains(graphs):
    @settings(max_examples=300, deadline=None)
    @given(graph=graphs)
    def agree(graph: TaskGraph) -> None:
        expected = list_schedule(graph)
        for engine in ENGINES:
            assert spans(engine, graph) == expected

    agree()


@pytest.mark.parametrize("seed", range(4))
def test_engines_agree_with_the_list_scheduler_on_many_graphs(seed):
    rng = np.random.default_rng(seed)
    for _ in range(500):
        graph = random_graph(int(rng.integers(1, 50)), int(rng.integers(2**32)))
        expected = list_schedule(graph)
        for engine in ENGINES:
            assert spans(engine, graph) == expected


@settings(max_examples=100, deadline=None)
@given(graph=task_graphs(longest=2**54))
def test_engines_agree_on_times_beyond_floating_point(graph):
    assert spans("compiled", graph) == list_schedule(graph)


def random_graph(num_tasks: int, seed: int) -> TaskGraph:
    rng = np.random.default_rng(seed)
    tasks = []
    for task in range(num_tasks):
        held = rng.choice(6, size=1 + (rng.random() < 0.3), replace=False)
        before = rng.integers(max(0, task - 200), task, size=2) if task else []
        tasks.append((int(rng.integers(1, 6)), sorted(held.tolist()), sorted(set(before))))
    return make_task_graph(tasks)


@pytest.mark.parametrize("seed", range(5))
def test_engines_agree_on_thousands_of_tasks(seed):
    graph = random_graph(3000, seed)
    assert spans("compiled", graph) == spans("event", graph)


@pytest.mark.parametrize("name", SCENARIOS)
def test_engines_agree_on_scenarios(name):
    path = ROOT / "scenarios" / f"{name}.toml"
    event, compiled = (
        flexsim.run(flexsim.load_scenario(path, [f"simulation.engine={engine}"]))
        for engine in ("event", "compiled")
    )
    assert (event.engine, compiled.engine) == ("event", "compiled")
    assert np.array_equal(event.timeline.start_ns, compiled.timeline.start_ns)
    assert event.metrics == compiled.metrics


@pytest.mark.parametrize("engine", ENGINES)
def test_a_cycle_is_named(engine):
    graph = make_task_graph([(1, [0], []), (1, [0], [2]), (1, [0], [1])])
    with pytest.raises(DeadlockError, match="op 1"):
        spans(engine, graph)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_task_of_no_time_is_refused(engine):
    with pytest.raises(FlexSimError, match="duration_ns = 0"):
        spans(engine, make_task_graph([(0, [0], [])]))


def test_the_default_goes_by_size_and_a_name_is_obeyed():
    assert choose_engine(None, EVENT_LIMIT) == "event"
    assert choose_engine(None, EVENT_LIMIT + 1) == "compiled"
    assert choose_engine("event", 10 * EVENT_LIMIT) == "event"
    with pytest.raises(FlexSimError, match="choose from compiled, event"):
        choose_engine("evnt", 1)
