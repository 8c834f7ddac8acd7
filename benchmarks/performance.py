"""Run all benchmarks once and write docs/performance.md from them.

    python benchmarks/performance.py                  # half an hour on a quiet machine
    python benchmarks/performance.py --most 100000    # a short run, to see that it works

``--results`` writes the page from an earlier run's ``--benchmark-json``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from string import Template
from typing import Any

from machine import machine
from tables import (
    build_ratios,
    builds,
    engine_ratios,
    growth,
    markdown,
    memory,
    replays,
    run_many,
    scenarios,
    starts,
    sweeps,
)

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "performance.md"
TEMPLATE = Template((HERE / "performance.md.in").read_text(encoding="utf-8"))


def main() -> None:
    """Measure, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=10_000_000, help="tasks of a graph at most")
    parser.add_argument("--most-event", type=int, default=1_100_000, help="and in SimPy")
    parser.add_argument("--results", type=Path, help="an earlier run's JSON")
    parser.add_argument("--output", type=Path, default=PAGE)
    chosen = parser.parse_args()
    facts = machine()
    results = _read(chosen.results) if chosen.results else _measure(chosen.most, chosen.most_event)
    chosen.output.write_text(page(facts, results), encoding="utf-8")
    print(f"wrote {chosen.output}")


def _measure(most: int, most_event: int) -> list[dict[str, Any]]:
    """Run the benchmarks in a process of their own and return what they found."""
    with tempfile.TemporaryDirectory() as directory:
        found = Path(directory) / "found.json"
        sizes = [f"--most={most}", f"--most-event={most_event}"]
        options = ["-o", "python_files=bench_*.py", f"--benchmark-json={found}", *sizes]
        subprocess.run(
            [sys.executable, "-m", "pytest", str(HERE), *options], cwd=HERE.parent, check=True
        )
        return _read(found)


def _read(path: Path) -> list[dict[str, Any]]:
    """Return the facts of every benchmark with the shortest time, ``seconds``."""
    rows = json.loads(path.read_text(encoding="utf-8"))["benchmarks"]
    return [row["extra_info"] | {"seconds": row["stats"]["min"]} for row in rows]


def page(facts: dict[str, str], found: list[dict[str, Any]]) -> str:
    """Return the page: the template with its tables."""
    return TEMPLATE.substitute(
        machine=markdown(("machine", ""), facts.items()),
        engine_ratios=engine_ratios(found),
        growth=growth(found),
        build_ratios=build_ratios(found),
        memory=memory(found),
        replays=replays(found),
        builds=builds(found),
        scenarios=scenarios(found),
        run_many=run_many(found),
        sweeps=sweeps(found),
        starts=starts(found),
    )


if __name__ == "__main__":
    main()
