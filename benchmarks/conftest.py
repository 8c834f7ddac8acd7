"""What the benchmarks share: how large they may be, and a table of rates at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

ROWS = pytest.StashKey[list[str]]()
Measure = Callable[..., Any]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the bounds on the number of tasks."""
    parser.addoption("--most", type=int, default=10_000_000, help="tasks of a graph at most")
    parser.addoption(
        "--most-event", type=int, default=1_100_000, help="and where the event engine replays it"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make room for the table."""
    config.stash[ROWS] = []


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print what pytest-benchmark's table lacks: rates and peak memory."""
    terminalreporter.section("rates and peak memory")
    for row in config.stash[ROWS]:
        terminalreporter.write_line(row)


@pytest.fixture
def most(request: pytest.FixtureRequest) -> Iterator[Callable[[int, str], None]]:
    """Return a function that skips a test of more tasks than are wanted."""

    def check(num: int, option: str = "--most") -> None:
        limit = request.config.getoption(option)
        if num > limit:
            pytest.skip(f"{num:,} tasks are more than {option} {limit:,}")

    yield check


@pytest.fixture
def measure(benchmark: Any, request: pytest.FixtureRequest) -> Measure:
    """Return a function that times another one and notes what it did.

    ``measure(function, *arguments, rounds=3, what=…, count=…, unit=…, **facts)`` calls
    ``function`` so many times and returns its last result; ``count`` units were done a call.
    Facts, and what ``function`` returns where it is a dict, go with the result.
    """

    def timed(function: Callable[..., Any], *arguments: Any, rounds: int = 3, **facts: Any) -> Any:
        benchmark.group = facts["what"]
        result = benchmark.pedantic(function, arguments, rounds=rounds)
        benchmark.extra_info |= facts | (result if isinstance(result, dict) else {})
        config = request.config
        config.stash[ROWS].append(_row(request.node.name, benchmark.extra_info, benchmark.stats))
        return result

    return timed


def _row(name: str, facts: dict[str, Any], stats: Any) -> str:
    seconds = stats.stats.min
    rate = f"{facts['count'] / seconds:>14,.0f} {facts['unit']}/s" if "count" in facts else ""
    peak = f"{facts['peak_bytes'] / 2**20:>10,.0f} MiB" if "peak_bytes" in facts else ""
    return f"{name:75} {seconds:>10.4f} s {rate} {peak}"
