"""The compiled engine contracts unless it is told not to, and the result says so."""

from __future__ import annotations

import numpy as np
from small_gpt import simulate_small

from flexsim.scenario.report import summary_table


def test_contraction_is_told_and_switched_off_with_the_same_spans():
    by_actions = simulate_small(simulation={"engine": "compiled"})
    by_tasks = simulate_small(simulation={"engine": "compiled", "contract": False})
    assert "replayed for" in by_actions.contraction
    assert by_tasks.contraction == ""
    assert np.array_equal(by_actions.timeline.start_ns, by_tasks.timeline.start_ns)
    assert by_actions.metrics == by_tasks.metrics
    assert "contraction: " in _text(by_actions)
    assert "contraction: " not in _text(by_tasks)


def test_the_event_engine_replays_every_task():
    assert simulate_small(simulation={"engine": "event", "contract": True}).contraction == ""


def _text(result):
    from rich.console import Console

    console = Console(width=120)
    with console.capture() as captured:
        console.print(summary_table(result))
    return captured.get()
