"""Results to report on, each made once a session: a run, a search and a sweep's table."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from small_gpt import small
from small_search import scenario as search_scenario

import flexsim

EVIL = '<script>document.title = "run by a name"</script><img src=x onerror=alert(1)> & "q"'
"""A name that would do something on a page that does not escape it."""


@cache
def run_folder() -> Path:
    """Return a directory that a run wrote, its title an attack; links were followed."""
    folder = Path(mkdtemp(prefix="flexsim-report-"))
    content = {"title": EVIL, **small(strategy={"fold": False, "chunks": 2}), "published": {}}
    content["published"] = {"iteration_time": "0.02 s", "source": EVIL}
    flexsim.run(flexsim.Scenario.from_dict(content, "small.toml")).save(folder)
    return folder


@cache
def search_folder() -> Path:
    """Return a directory that a search wrote."""
    folder = Path(mkdtemp(prefix="flexsim-report-"))
    one = search_scenario(search={"chains": 2, "budget": 40})
    flexsim.search(one).save(folder)
    return folder


COLUMNS = (
    "configuration", "strategy.tensor", "strategy.pipeline", "model.name", "status", "reason",
    "iteration_time_s", "mfu", "peak_memory_bytes", "fingerprint",
)  # fmt: skip
SWEEP = [
    (0, 1, 2, "gpt", "ok", "", 4.0, 0.2, 40 * 2**30, "a"),
    (1, 2, 1, EVIL, "ok", "", 2.0, 0.4, 60 * 2**30, "b"),
    (2, 2, 2, "gpt", "ok", "", 3.0, 0.27, 70 * 2**30, "c"),
    (3, 1, 1, "gpt", "out-of-memory", "", 1.5, 0.5, 200 * 2**30, "d"),
    (4, 4, 1, "gpt", "skipped", "strategy.tensor = 4 does not divide 6 heads", "", "", "", "e"),
    (5, 8, 1, "gpt", "skipped", "strategy.tensor = 8 does not divide 6 heads", "", "", "", "f"),
    (6, 8, 2, "gpt", f"error: {EVIL}", "", "", "", "", "g"),
]


def write_sweep(path: Path, rows: list[tuple[object, ...]] = SWEEP) -> Path:
    """Write the results of a sweep and return their path."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerows([COLUMNS, *rows])
    return path


@cache
def sweep_file() -> Path:
    """Return the results of a sweep."""
    return write_sweep(Path(mkdtemp(prefix="flexsim-report-")) / "results.csv")
