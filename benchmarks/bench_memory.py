"""What memory through time costs beside the replay: peaks, and every moment for the picture.

    python benchmarks/bench_memory.py [SCENARIO...]

Prints milliseconds of processor time, the best of ten: the replay by the compiled engine task by
task, the peak of every device, and memory against time with its picture's columns.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import TypeVar

from flexsim.engine.compiled import simulate
from flexsim.plotting.memory_columns import highest_columns
from flexsim.scenario.load import load_scenario
from flexsim.scenario.runner import planned
from flexsim.timeline.memory import peak_memory
from flexsim.timeline.memory_series import memory_series
from flexsim.timeline.spans import Timeline

Result = TypeVar("Result")
SCENARIOS = ("gpt3-175b-64xa100", "sc21-1t-3072xa100", "llama3-405b-16384xh100")
COLUMNS = 1500
ROUNDS = 10


def main(names: list[str]) -> None:
    """Print a line a scenario."""
    heads = ("tasks", "replay", "peak", "against time", "peak / replay")
    print(f"{'scenario':26}" + "".join(f"{head:>15}" for head in heads))
    for name in names or SCENARIOS:
        plan, _ = planned(load_scenario(Path("scenarios") / f"{name}.toml"))
        graph = plan.task_graph()
        replay_ms, timeline = best_ms(lambda graph=graph: simulate(graph))
        peak_ms, _ = best_ms(lambda t=timeline: peak_memory(fresh(t)))
        series_ms, _ = best_ms(lambda t=timeline: against_time(fresh(t)))
        cells = [f"{graph.num_tasks:,}", *(f"{ms:.1f}" for ms in (replay_ms, peak_ms, series_ms))]
        print(f"{name:26}" + "".join(f"{c:>15}" for c in [*cells, f"{peak_ms / replay_ms:.2f}"]))


def fresh(timeline: Timeline) -> Timeline:
    """Return a timeline that remembers nothing."""
    return Timeline(timeline.task_graph, timeline.start_ns, timeline.end_ns)


def against_time(timeline: Timeline) -> None:
    """Follow memory through time as the picture does."""
    series = memory_series(timeline)
    assert series is not None
    for one in series.devices:
        highest_columns(one, series.end_ns, COLUMNS)


def best_ms(function: Callable[[], Result]) -> tuple[float, Result]:
    """Return the shortest of some runs and what it returned."""
    found = []
    for _ in range(ROUNDS):
        start = process_time()
        result = function()
        found.append(1e3 * (process_time() - start))
    return min(found), result


if __name__ == "__main__":
    main(sys.argv[1:])
