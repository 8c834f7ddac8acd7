"""How many configurations a sweep writes a second: settings of GPT-3 on 64 to 1,024 GPUs.

Every round is a process of its own that begins with nothing kept, so starting it and loading the
compiled code is part of the time, as it is for who types the command.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from processes import COMMAND, finished

from flexsim.sweep.file import load_sweep
from flexsim.sweep.work import Opened

FOLDER = Path(__file__).parent / "sweeps"
SWEEPS = {"GPipe and 1F1B": "gpt3-plain.toml", "interleaved as well": "gpt3-interleaved.toml"}


@pytest.mark.parametrize("schedules", SWEEPS)
@pytest.mark.parametrize("workers", [1, 2])
def test_sweep(workers: int, schedules: str, tmp_path: Path, measure: Callable[..., Any]) -> None:
    """Time a whole command with its pictures, and in it the sweep: from no row to the last."""
    file = FOLDER / SWEEPS[schedules]
    results = tmp_path / "results.csv"
    count = sum(1 for _ in Opened(load_sweep(file)).walk())

    def swept() -> dict[str, Any]:
        results.unlink(missing_ok=True)
        options = ["--output", str(results), "--workers", str(workers), "--json"]
        done = finished([COMMAND, "sweep", str(file), *options])
        return {"peak_bytes": done.peak_bytes, "sweep_seconds": json.loads(done.out)["seconds"]}

    facts = {"what": "sweep", "count": count, "unit": "configurations", "schedules": schedules}
    measure(swept, rounds=1, workers=workers, **facts)
    assert results.read_bytes().count(b"\n") == count + 1


def test_all_but_the_simulation(measure: Callable[..., Any]) -> None:
    """Time what a sweep adds to each configuration: expansion, scenario, fingerprint."""
    opened = Opened(load_sweep(FOLDER / SWEEPS["GPipe and 1F1B"]))
    numbers = list(opened.walk())

    def made() -> None:
        for number in opened.walk():
            opened.scenario(number)
            opened.fingerprint(number)

    facts = {"what": "sweep, without simulation", "count": len(numbers), "unit": "configurations"}
    measure(made, rounds=1, **facts)
