"""``summary.json``: what a run printed, and what a report needs beside the run's tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexsim.files import whole_file
from flexsim.scenario.schema import PublishedTable, Scenario

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from flexsim.scenario.runner import Result

SUMMARY = "summary.json"


@dataclass(frozen=True)
class PrintedTable:
    """A table as people read it, with the sentences that stand below it."""

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: list[str] = field(default_factory=list)


def write_run_summary(folder: Path, result: Result, written: Sequence[Path]) -> Path:
    """Write the printed tables, the metrics, the waterfall and the scenario; return the path.

    ``written`` are the files that a report reads beside it; those of other runs may lie there.
    """
    table = result.waterfall()
    tables, sizes = printed(result)
    content = {
        "kind": "run",
        "title": result.title,
        "scenario": scenario_toml(result.scenario),
        "metrics": dict(result.metrics),
        "end_ns": result.timeline.makespan_ns,
        "memory_capacity_bytes": result.memory_capacity_bytes,
        "waterfall": {
            "iteration_ns": table.iteration_ns,
            "num_devices": table.num_devices,
            "steps": [asdict(step) for step in table.steps],
        },
        "tables": [asdict(each) for each in tables],
        "sizes": sizes,
        "files": sizes_of(written),
    }
    return write_json(folder / SUMMARY, content)


def sizes_of(files: Sequence[Path]) -> dict[str, int]:
    """Return the bytes of each file by its name, so that one of another run is told apart."""
    return {path.name: path.stat().st_size for path in files}


def write_json(path: Path, content: Mapping[str, Any]) -> Path:
    """Write a mapping, whole or not at all, and return the path."""
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def printed(result: Result) -> tuple[list[PrintedTable], list[str]]:
    """Return the tables that ``flexsim run`` prints, and its last lines, on sizes."""
    from rich.console import Group

    from flexsim.scenario.report import summary_table

    shown = summary_table(result)
    assert isinstance(shown, Group)
    tables = list(_with_notes(shown.renderables))
    last = tables[-1].notes.pop()
    return tables, last.split("\n")


def _with_notes(parts: list[RenderableType]) -> Iterator[PrintedTable]:
    """Yield each table with the texts between it and the next one."""
    from rich.table import Table

    starts = [row for row, part in enumerate(parts) if isinstance(part, Table)]
    for first, last in zip(starts, [*starts[1:], len(parts)], strict=True):
        table = parts[first]
        assert isinstance(table, Table)
        notes = [str(part).strip() for part in parts[first + 1 : last]]
        yield _plain(table, [note for note in notes if note])


def _plain(table: Table, notes: list[str]) -> PrintedTable:
    """Return the cells of a table as text, without columns that have no header."""
    named = [column for column in table.columns if str(column.header)]
    headers = tuple(str(column.header) for column in named)
    cells = [[str(cell) for cell in column.cells] for column in named]
    return PrintedTable(headers[0], headers, tuple(zip(*cells, strict=True)), notes)


def scenario_toml(scenario: Scenario | None) -> str:
    """Return the keys that were given, as a scenario file; empty where there is no scenario.

    The directory of the outputs is left out: results do not depend on where they lie.
    """
    if scenario is None:
        return ""
    import tomli_w

    content = scenario.model_dump(
        by_alias=True, exclude_unset=True, exclude_none=True, exclude={"output": {"directory"}}
    )
    published = content.get("published", {})
    for key in _time_keys():
        if key in published:
            published[key] = f"{published[key]!r} s"
    return tomli_w.dumps({key: value for key, value in content.items() if value != {}})


def _time_keys() -> list[str]:
    """Return the keys of ``[published]`` whose values are times, which need their unit."""
    fields = PublishedTable.model_fields.values()
    return [each.alias for each in fields if each.alias]
