"""``summary.json`` and ``timelines.csv``: what a report needs of a search beside its trace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from flexsim.files import whole_file
from flexsim.scenario.schema import Scenario
from flexsim.scenario.summary import scenario_toml, sizes_of, write_json
from flexsim.timeline.spans import Timeline
from flexsim.units import NS_PER_S

if TYPE_CHECKING:
    from flexsim.search.result import SearchResult

TIMELINES = "timelines.csv"


def write_search_summary(path: Path, result: SearchResult, written: Sequence[Path]) -> Path:
    """Write what a search found: its numbers, strategies side by side, the best by operator.

    Nothing in it depends on how long the search took. ``written`` are the files that a report
    reads. Return the path.
    """
    from flexsim.search.explain import lines, volumes, words

    numbers = {key: each for key, each in result.summary().items() if key != "proposals_per_s"}
    content = {
        "kind": "search",
        "title": _title(result.scenario),
        "scenario": scenario_toml(result.scenario),
        "numbers": numbers,
        "strategies": [asdict(each) for each in volumes(result)],
        "operators": [asdict(each) for each in lines(result.best_strategy, result.space)],
        "words": words(result),
        "refusals": dict(result.refusals),
        "num_devices": len(result.problem.devices.device_types),
        "files": sizes_of(written),
        "memory_limit_bytes": result.problem.memory_limit_bytes,
    }
    return write_json(path, content)


def _title(scenario: Scenario | None) -> str:
    return (scenario.title or scenario.name) if scenario else "search"


def write_timelines(path: Path, timelines: Mapping[str, Timeline]) -> None:
    """Write ``strategy, device, kind, start_ns, end_ns``: spans, neighbours of a kind joined."""
    import pandas as pd

    from flexsim.plotting.search_timelines import device_table

    tables = []
    for name, timeline in timelines.items():
        table = device_table(timeline)
        for key in ("start", "end"):
            table[f"{key}_ns"] = (table.pop(f"{key}_s") * NS_PER_S).round().astype("int64")
        table.insert(0, "strategy", name)
        tables.append(table)
    with whole_file(path) as temporary:
        pd.concat(tables).to_csv(temporary, index=False, lineterminator="\n")
