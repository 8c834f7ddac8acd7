"""From measurements to the tables of docs/performance.md, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Found = Sequence[Mapping[str, Any]]
NOT_MEASURED = "Not measured in this run."
_MIB = 2**20


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table whose first column is text and the others numbers."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    if not lines:
        return NOT_MEASURED
    rule = "|---|" + "--:|" * (len(head) - 1)
    return "\n".join(["| " + " | ".join(head) + " |", rule, *lines])


def engine_ratios(found: Found) -> str:
    """Return how many times faster the compiled engine is, by graph."""
    compiled, event = (_replay_of(found, engine) for engine in ("compiled", "event"))
    rows = [
        (key[0], f"{compiled[key]['count']:,}", f"{row['seconds'] / compiled[key]['seconds']:.0f}")
        for key, row in event.items()
        if key in compiled
    ]
    return markdown(("graph", "tasks", "compiled / SimPy"), rows)


def growth(found: Found) -> str:
    """Return the time a task in the largest graph of a kind over that in the smallest."""
    sizes: dict[str, list[Mapping[str, Any]]] = {}
    for (name, size), row in _replay_of(found, "compiled").items():
        if size:
            sizes.setdefault(name, []).append(row)
    rows = []
    for name, graphs in sizes.items():
        least, most = graphs[0], graphs[-1]
        ratio = _a_task(most) / _a_task(least)
        rows.append((name, f"{least['count']:,}", f"{most['count']:,}", f"{ratio:.2f}"))
    return markdown(("graph", "tasks", "to tasks", "time a task"), rows)


def build_ratios(found: Found) -> str:
    """Return build time over replay time, and the rate of both together."""
    replay = _replay_of(found, "compiled")
    plan, whole = (_build_of(found, start) for start in ("plan", "scenario"))
    rows = []
    for name, row in whole.items():
        if (name, 0) not in replay or name not in plan:
            continue
        replay_s = replay[name, 0]["seconds"]
        together = row["count"] / (row["seconds"] + replay_s)
        tiling, building = (each[name]["seconds"] / replay_s for each in (plan, whole))
        rows.append((name, _count(row), f"{tiling:.2f}", f"{building:.2f}", f"{together:,.0f}"))
    head = ("graph", "tasks", "plan / replay", "scenario / replay", "together, tasks/s")
    return markdown(head, rows)


def memory(found: Found) -> str:
    """Return bytes a task beyond the libraries, of scenarios that are run in Python."""
    runs = [row for row in _of(found, "scenario") if row["way"] == "in_python"]
    if not runs:
        return NOT_MEASURED
    libraries = min(row["peak_bytes"] for row in runs)
    rows = [
        (
            row["scenario"],
            f"{row['num_tasks']:,}",
            f"{row['peak_bytes'] / _MIB:,.0f}",
            f"{(row['peak_bytes'] - libraries) / row['num_tasks']:,.0f}",
        )
        for row in runs
        if row["num_tasks"] > 300_000
    ]
    table = markdown(("scenario", "tasks", "peak, MiB", "bytes a task"), rows)
    return f"{table}\n\nThe libraries take {libraries / _MIB:,.0f} MiB."


def replays(found: Found) -> str:
    """Return tasks a second of each engine, by graph."""
    compiled, event = (_replay_of(found, engine) for engine in ("compiled", "event"))
    rows = [
        (key[0], _count(row), _rate(row), _rate(event[key]) if key in event else "")
        for key, row in compiled.items()
    ]
    return markdown(("graph", "tasks", "compiled, tasks/s", "SimPy, tasks/s"), rows)


def builds(found: Found) -> str:
    """Return tasks built a second."""
    plan, whole = (_build_of(found, start) for start in ("plan", "scenario"))
    rows = [
        (name, _count(row), _rate(plan[name]), _rate(row), f"{row['seconds']:.2f}")
        for name, row in whole.items()
        if name in plan
    ]
    head = ("graph", "tasks", "from the plan, tasks/s", "from the scenario, tasks/s", "seconds")
    return markdown(head, rows)


def scenarios(found: Found) -> str:
    """Return wall time and peak memory of whole scenarios."""
    ways: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in _of(found, "scenario"):
        ways.setdefault(row["scenario"], {})[row["way"]] = row
    rows = []
    for name, by_way in ways.items():
        some = next(iter(by_way.values()))
        both = [_run(by_way.get(way)) for way in ("command", "in_python")]
        rows.append((name, f"{some['num_devices']:,}", f"{some['num_tasks']:,}", *sum(both, ())))
    head = ("scenario", "devices", "tasks", "command, s", "MiB", "in Python, s", "MiB")
    return markdown(head, rows)


def run_many(found: Found) -> str:
    """Return configurations a second."""
    rows = [
        (row["kept"], _count(row), f"{row['seconds']:.2f}", _rate(row))
        for row in _of(found, "run_many")
    ]
    return markdown(("what is kept before", "configurations", "seconds", "configurations/s"), rows)


def sweeps(found: Found) -> str:
    """Return configurations a second of whole sweeps."""
    rows = [
        (
            row["schedules"],
            str(row["workers"]),
            _count(row),
            f"{row['sweep_seconds']:.2f}",
            f"{row['count'] / row['sweep_seconds']:,.0f}",
            f"{row['seconds']:.2f}",
            f"{row['peak_bytes'] / 2**20:,.0f}",
        )
        for row in sorted(_of(found, "sweep"), key=lambda row: row["schedules"])
    ]
    times = ("sweep, s", "configurations/s", "command, s", "MiB")
    return markdown(("schedules", "processes", "configurations", *times), rows)


def starts(found: Found) -> str:
    """Return how long processes take."""
    rows = [(f"`{row['program']}`", f"{row['seconds'] * 1e3:.0f}") for row in _of(found, "start")]
    return markdown(("program", "ms"), rows)


def _of(found: Found, what: str) -> list[Mapping[str, Any]]:
    return [row for row in found if row["what"] == what]


def _replay_of(found: Found, engine: str) -> dict[tuple[str, int], Mapping[str, Any]]:
    rows = [row for row in _of(found, "replay") if row["engine"] == engine]
    return {(row["graph"], row["size"]): row for row in rows}


def _build_of(found: Found, start: str) -> dict[str, Mapping[str, Any]]:
    return {row["graph"]: row for row in _of(found, "build") if row["from"] == start}


def _a_task(row: Mapping[str, Any]) -> float:
    return float(row["seconds"] / row["count"])


def _count(row: Mapping[str, Any]) -> str:
    return f"{row['count']:,}"


def _rate(row: Mapping[str, Any]) -> str:
    return f"{row['count'] / row['seconds']:,.0f}"


def _run(row: Mapping[str, Any] | None) -> tuple[str, str]:
    if row is None:
        return "", ""
    return f"{row['seconds']:.2f}", f"{row['peak_bytes'] / _MIB:,.0f}"
