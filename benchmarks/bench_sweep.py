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

SWEEP = """
base = "gpt3-175b-64xa100"

[training]
global_batch = 1536

[strategy]
chunks = 1

[sweep]
where = [
    "cluster.devices % (strategy.tensor * strategy.pipeline) == 0",
    "training.global_batch % (strategy.data * training.micro_batch) == 0",
    "not strategy.sequence_parallel or strategy.tensor > 1",
    "strategy.pipeline == 1 or strategy.schedule != 'gpipe' or training.micro_batch == 1",
]

[sweep.derive]
strategy.data = "cluster.devices // (strategy.tensor * strategy.pipeline)"

[sweep.grid]
cluster.hosts = { from = 8, to = 128, factor = 2 }
strategy.tensor = { from = 1, to = 8, factor = 2 }
strategy.pipeline = { divisors_of = 96 }
strategy.sequence_parallel = [false, true]
strategy.schedule = ["gpipe", "1f1b"]
training.micro_batch = { from = 1, to = 8, factor = 2 }
training.recompute = ["none", "selective", "full"]
training.global_batch = [512, 1024, 1536]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the sweep as a file."""
    path = tmp_path / "gpt3.toml"
    path.write_text(SWEEP, encoding="utf-8")
    return path


@pytest.mark.parametrize("workers", [1, 2])
def test_sweep(workers: int, file: Path, tmp_path: Path, measure: Callable[..., Any]) -> None:
    """Time a whole command with its pictures, and in it the sweep: from no row to the last."""
    results = tmp_path / "results.csv"
    count = sum(1 for _ in Opened(load_sweep(file)).walk())

    def swept() -> dict[str, Any]:
        results.unlink(missing_ok=True)
        options = ["--output", str(results), "--workers", str(workers), "--json"]
        done = finished([COMMAND, "sweep", str(file), *options])
        return {"peak_bytes": done.peak_bytes, "sweep_seconds": json.loads(done.out)["seconds"]}

    facts = {"what": "sweep", "count": count, "unit": "configurations", "workers": workers}
    measure(swept, rounds=1, **facts)
    assert results.read_bytes().count(b"\n") == count + 1


def test_all_but_the_simulation(file: Path, measure: Callable[..., Any]) -> None:
    """Time what a sweep adds to each configuration: expansion, scenario, fingerprint."""
    opened = Opened(load_sweep(file))
    numbers = list(opened.walk())

    def made() -> None:
        for number in opened.walk():
            opened.scenario(number)
            opened.fingerprint(number)

    facts = {"what": "sweep, without simulation", "count": len(numbers), "unit": "configurations"}
    measure(made, rounds=1, **facts)
