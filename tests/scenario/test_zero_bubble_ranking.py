"""Schedules rank as the Zero Bubble paper measured them, where its table is at hand."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT.parent / "shared" / "validation" / "zero_bubble.csv"
GROUPS = [
    ("GPT-3-like 1.5B", 144),
    ("GPT-3-like 1.5B", 192),
    ("GPT-3-like 1.5B", 384),
    ("GPT-3-like 6.2B", 72),
    ("GPT-3-like 6.2B", 96),
    ("GPT-3-like 14.6B", 48),
]


@pytest.mark.skipif(not TABLE.is_file(), reason=f"{TABLE} is not at hand")
@pytest.mark.parametrize(("model", "batch"), GROUPS)
def test_schedules_rank_as_measured(
    model: str, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    from zero_bubble_accuracy import iteration_s

    runs = pd.read_csv(TABLE)
    runs = runs[(runs.model == model) & (runs.gbs == batch)]
    assert len(runs) > 1
    simulated = [iteration_s(row) for _, row in runs.iterrows()]
    order = runs.assign(simulated=simulated)
    by_measured = order.sort_values("iter_time_s").schedule.tolist()
    assert order.sort_values("simulated").schedule.tolist() == by_measured
    errors = order.simulated / order.iter_time_s - 1
    assert errors.abs().mean() < 0.08
