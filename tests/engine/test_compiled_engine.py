"""The compiled engine: hand-worked timelines, random graphs, what is kept on disk, bad graphs."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from graphs import make_task_graph
from list_scheduler import list_schedule
from shipped_scenarios import ROOT

from flexsim.engine import compiled
from flexsim.engine.table import ENGINES, load_engine
from flexsim.errors import DeadlockError, FlexSimError
from flexsim.task_graph.columns import TaskGraph

BY_HAND = {
    "two-device pipeline": (
        [
            (10, [0], []),  # forward 0 on device 0
            (10, [0], [0]),  # forward 1 on device 0
            (3, [2], [0]),  # transfer of 0
            (3, [2], [1]),  # transfer of 1
            (20, [1], [2]),  # forward 0 on device 1
            (20, [1], [3, 4]),  # forward 1 on device 1
        ],
        [(0, 10), (10, 20), (10, 13), (20, 23), (13, 33), (33, 53)],
    ),
    "ties go to the lower id": (
        [(5, [0], []), (5, [1], []), (1, [2], [1]), (2, [2], [0]), (4, [2], [0])],
        [(0, 5), (0, 5), (5, 6), (6, 8), (8, 12)],
    ),
    "earlier ready beats lower id": (
        [(4, [0], []), (3, [1], []), (1, [1], [0]), (9, [2], [1]), (2, [2], [0])],
        [(0, 4), (0, 3), (4, 5), (3, 12), (12, 14)],
    ),
    "a waiting collective reserves its streams": (
        [(10, [0], []), (2, [0, 1], []), (3, [1], [])],
        [(0, 10), (10, 12), (12, 15)],
    ),
    "a release and a join at one instant": (
        [(5, [0], []), (7, [0], []), (5, [1], []), (1, [0], [2])],
        [(0, 5), (5, 12), (0, 5), (12, 13)],
    ),
    "a successor is ready before what waits": (
        [(1, [0], []), (9, [1], []), (1, [0], [0]), (1, [0], [2]), (1, [0], [1])],
        [(0, 1), (0, 9), (1, 2), (2, 3), (9, 10)],
    ),
    "a wide fan in and out": (
        [(2, [0], []), *((3, [r], [0]) for r in range(6)), (1, [0, 5], range(1, 7))],
        [(0, 2), *[(2, 5)] * 6, (5, 6)],
    ),
    "one task twice before another": (
        [(2, [0], []), (3, [0], [0, 0])],
        [(0, 2), (2, 5)],
    ),
    "tasks that hold nothing": (
        [(2, [], []), (3, [0], [0]), (4, [], [0])],
        [(0, 2), (2, 5), (2, 6)],
    ),
    "times of months": (
        [(2**53 + 1, [0], []), (2**53 + 1, [0], [0]), (1, [0], [1])],
        [(0, 2**53 + 1), (2**53 + 1, 2**54 + 2), (2**54 + 2, 2**54 + 3)],
    ),
    "nothing": ([], []),
}


def spans(engine: str, graph: TaskGraph) -> list[tuple[int, int]]:
    timeline = load_engine(engine)(graph, None)
    return list(zip(timeline.start_ns.tolist(), timeline.end_ns.tolist(), strict=True))


@pytest.mark.parametrize("name", BY_HAND)
@pytest.mark.parametrize("engine", ENGINES)
def test_timelines_by_hand(engine, name):
    tasks, expected = BY_HAND[name]
    assert spans(engine, make_task_graph(tasks)) == expected


def random_graph(rng: np.random.Generator, longest: int) -> TaskGraph:
    """Return up to 30 tasks in random order of ids; many sources, chains or fans by chance."""
    num, num_resources = int(rng.integers(1, 31)), int(rng.integers(1, 6))
    reach, share = int(rng.choice([1, 4, 30])), rng.choice([0.1, 0.5, 0.9])
    order = rng.permutation(num)
    tasks = [(1, [0], [])] * num
    for task in range(num):
        near = range(max(0, task - reach), task)
        before = [order[p] for p in near if rng.random() < share][:6]
        held = rng.choice(num_resources, int(rng.integers(1, min(3, num_resources) + 1)), False)
        tasks[order[task]] = (int(rng.integers(1, longest + 1)), held.tolist(), before)
    return make_task_graph(tasks)


@pytest.mark.parametrize("longest", [1, 3, 2**56])
def test_a_thousand_random_graphs_equal_the_list_scheduler(longest):
    rng = np.random.default_rng(longest)
    for _ in range(1_000):
        graph = random_graph(rng, longest)
        assert spans("compiled", graph) == list_schedule(graph)


@pytest.mark.parametrize("key_bits", [5, 7, 9])
def test_tasks_whose_key_does_not_fit_wait_outside_the_heap(key_bits, monkeypatch):
    outside, refill = [], compiled._refill

    def counted(replay, *window):
        outside.append(int(replay.state[1]))
        refill(replay, *window)

    monkeypatch.setattr(compiled, "KEY_BITS", key_bits)  # 30 ids leave room for 0 to 15 ns
    monkeypatch.setattr(compiled, "_refill", counted)
    rng = np.random.default_rng(key_bits)
    for _ in range(300):
        graph = random_graph(rng, 20)
        assert spans("compiled", graph) == list_schedule(graph)
    assert sum(outside) > 300


@pytest.mark.parametrize("step", [1, 2, 7])
def test_a_replay_in_steps_is_the_same_and_is_reported(step, monkeypatch):
    monkeypatch.setattr(compiled, "_LEAST_STEP", step)
    rng = np.random.default_rng(step)
    for _ in range(200):
        graph, reports = random_graph(rng, 4), []
        timeline = compiled.simulate(graph, lambda done, of, reports=reports: reports.append(done))
        assert timeline.start_ns.tolist() == [start for start, _ in list_schedule(graph)]
        assert reports[:-1] == list(range(step, graph.num_tasks, step))
        assert reports[-1] == graph.num_tasks


def failure(engine: str, graph: TaskGraph) -> str:
    with pytest.raises(DeadlockError) as error:
        spans(engine, graph)
    return str(error.value)


def test_broken_graphs_give_the_event_engine_s_sentence():
    rng = np.random.default_rng(5)
    for _ in range(300):
        graph = random_graph(rng, 4)
        tasks = [
            (int(graph.duration_ns[t]), graph.resources.row(t).tolist(), [])
            for t in range(graph.num_tasks)
        ]
        for before, after in zip(graph.successors.rows, graph.successors.values, strict=True):
            tasks[after][2].append(int(before))
        victim = int(rng.integers(len(tasks)))
        if rng.random() < 0.5:
            tasks[victim][2].append(victim)  # waits for itself
        else:
            tasks[victim][1].append(tasks[victim][1][0])  # holds a resource twice
        broken = make_task_graph(tasks)
        assert failure("compiled", broken) == failure("event", broken)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_sum_of_times_beyond_64_bits_is_refused(engine):
    graph = make_task_graph([(1, [0], []), *[(2**61, [0], [0])] * 2])
    with pytest.raises(FlexSimError, match=r"3 tasks add up to 2\^62 ns .* task 1 \(0F1 op 1\)"):
        spans(engine, graph)


def test_the_columns_of_a_graph_are_left_alone():
    graph = make_task_graph([(2, [0], []), (3, [0], [0])])
    for column in (graph.duration_ns, graph.in_degree, graph.successors.values):
        column.flags.writeable = False
    assert spans("compiled", graph) == [(0, 2), (2, 5)]
    assert graph.in_degree.tolist() == [0, 1]


REPLAY = """
from graphs import make_task_graph
from flexsim.engine.table import load_engine
simulate = load_engine("compiled")
print([simulate(make_task_graph([(2, [0], []), (3, [0], [0])])).makespan_ns for _ in range(2)])
"""


def replay_elsewhere(before: str = "", **environment: str) -> str:
    """Replay a small graph twice in another process and return what it writes to stderr."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, "-c", before + REPLAY],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[5, 5]\n"
    return done.stderr


def test_compiled_once_and_loaded_by_the_next_process(tmp_path):
    said = "compiling the inner loops, which takes some seconds once\n"
    assert replay_elsewhere(NUMBA_CACHE_DIR=str(tmp_path)) == said
    assert replay_elsewhere(NUMBA_CACHE_DIR=str(tmp_path)) == ""


NO_DIRECTORY = """
from numba.core import caching
caching.CompileResultCacheImpl._locator_classes = []
"""
NO_SPACE = """
from numba.core import caching
def save(*_):
    raise OSError(28, "No space left on device")
caching.IndexDataCacheFile.save = save
"""


@pytest.mark.parametrize(
    ("trouble", "said"),
    [(NO_DIRECTORY, "start some seconds slower"), (NO_SPACE, "No space left on device")],
    ids=["no directory", "no space"],
)
def test_runs_where_its_code_cannot_be_kept(trouble, said, tmp_path):
    lines = replay_elsewhere(trouble, NUMBA_CACHE_DIR=str(tmp_path)).splitlines()
    assert len(lines) == 2
    assert "compiling" in "".join(lines)
    assert said in "".join(lines)


def test_the_package_does_not_import_numba_before_it_is_used():
    program = "import sys, flexsim, flexsim.engine.table; print('numba' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
