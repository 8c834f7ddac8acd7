"""How many tasks a second each engine replays: all engines on the same graphs, on one core."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from graphs import PLANS, SIZES, SYNTHETIC, graph_of, num_tasks, random_graph

from flexsim.engine.table import ENGINES, load_engine

GRAPHS = [*((name, num) for name in SYNTHETIC for num in SIZES), *((name, 0) for name in PLANS)]
MANY = 300_000
"""Tasks beyond which the event engine replays a graph once."""


@pytest.fixture(autouse=True, scope="module")
def _compiled_before() -> None:
    load_engine("compiled")(random_graph(10, 10), None)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("name", "num"), GRAPHS)
def test_replay(
    name: str, num: int, engine: str, measure: Callable[..., Any], most: Callable[..., None]
) -> None:
    """Time the replay, and compare the starts with those of the compiled engine."""
    for option in ("--most", "--most-event") if engine == "event" else ("--most",):
        most(num_tasks(name, num), option)
    graph = graph_of(name, num)
    facts = {"what": "replay", "graph": name, "engine": engine, "size": num}
    once = engine == "event" and graph.num_tasks > MANY
    timeline = measure(
        load_engine(engine),
        graph,
        None,
        rounds=1 if once else 3,
        count=graph.num_tasks,
        unit="tasks",
        **facts,
    )
    if engine != "compiled":
        assert np.array_equal(timeline.start_ns, load_engine("compiled")(graph, None).start_ns)
