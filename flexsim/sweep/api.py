"""``flexsim.sweep``: from a sweep file to a row a configuration."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexsim.errors import SweepError, choices_text
from flexsim.files import check_directory
from flexsim.models.selection import samples_of
from flexsim.sweep.checks import check_sweep
from flexsim.sweep.columns import OK, is_better_larger
from flexsim.sweep.equal_work import keys_of_work
from flexsim.sweep.file import Sweep, load_sweep, sweep_from
from flexsim.sweep.journal import Journal
from flexsim.sweep.parquet import check_parquet, journal_of, to_parquet
from flexsim.sweep.result import SweepResult
from flexsim.sweep.tally import Tally
from flexsim.sweep.work import Opened, Row
from flexsim.workers import WorkerDied, Workers, map_unordered

FORMATS = ("csv", "parquet")
Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class Standing:
    """How far a sweep is: rows written of all there will be, and the best metric so far."""

    done: int
    total: int
    best: float | None


Watch = Callable[[Standing], None]


def sweep(
    file: str | Path | Mapping[str, Any] | Sweep,
    output: str | Path,
    *,
    workers: Workers | int = 1,
    changes: Sequence[str] = (),
    watch: Watch | None = None,
) -> SweepResult:
    """Simulate every configuration of a sweep and write a row for each to ``output``.

    ``file`` is a sweep file or its content; ``changes`` replace keys of it
    (``"training.micro_batch=2"``). The results are CSV, or Parquet where ``output`` ends in
    .parquet. Rows that are there already are kept: a sweep that was stopped goes on where it
    was. ``workers`` are :class:`~flexsim.workers.Workers`, or a number of local processes (0 is
    one a core, 1 this process). ``watch`` is told how far it is. Raise a :class:`FlexSimError` in
    one sentence where the file is wrong or the results are those of another sweep.
    """
    path = checked_output(output)
    opened = Opened(_read(file, changes))
    check_sweep(opened)
    refused: Counter[str] = Counter()
    wanted = np.fromiter(opened.walk(refused), np.int64)
    if not len(wanted):
        raise _empty(opened, refused)
    if path.suffix == ".parquet":
        check_parquet(path, opened)
    spread = workers if isinstance(workers, Workers) else Workers(num_local=workers)
    begun = time.monotonic()
    with Journal(journal_of(path), opened.columns) as journal:
        tally, num_before = _done(opened, journal, spread, (wanted, watch))
    seconds = time.monotonic() - begun
    if path != journal.path:
        to_parquet(journal.path, path, opened)
    return _result(opened, path, (tally, refused), (num_before, seconds))


def _result(
    opened: Opened, path: Path, counts: tuple[Tally, Counter[str]], spent: tuple[int, float]
) -> SweepResult:
    tally, refused = counts
    num_before, seconds = spent
    model = opened.content.get("model", {})
    return SweepResult(
        path=path,
        name=opened.sweep.name,
        keys=opened.space.keys,
        ranked_by=opened.table.best,
        samples=samples_of(model.get("name"), model.get("preset")),
        statuses=dict(tally.statuses),
        skipped=dict(tally.reasons.most_common()),
        errors=dict(tally.errors.most_common()),
        refused=dict(refused.most_common()),
        best=tally.best,
        front=tally.front,
        nearest=tally.nearest,
        num_before=num_before,
        seconds=seconds,
    )


def checked_output(path: str | Path, file_format: str | None = None) -> Path:
    """Return where results go: ``path`` with the ending of a format, csv unless it has one.

    In a directory they are called results. Raise :class:`SweepError` where there is no such
    format, or the path ends otherwise.
    """
    found = Path(path)
    if found.is_dir():
        found /= "results"
    elif found.exists() and not found.is_file():
        return found  # a device takes rows as they come
    chosen = file_format or found.suffix[1:] or FORMATS[0]
    if chosen not in FORMATS:
        where = f"--format {file_format}" if file_format else f"{path}: results as {found.suffix}"
        raise SweepError(f"{where}: {choices_text(chosen, FORMATS)}")
    if not found.suffix:
        found = found.with_name(f"{found.name}.{chosen}")
    if found.suffix != f".{chosen}":
        raise SweepError(f"{path}: it should end in .{chosen} for --format {chosen}")
    check_directory(found.parent)
    return found


def _read(file: str | Path | Mapping[str, Any] | Sweep, changes: Sequence[str]) -> Sweep:
    if isinstance(file, Sweep):
        return file
    return sweep_from(file) if isinstance(file, Mapping) else load_sweep(file, changes)


def _done(
    opened: Opened, journal: Journal, workers: Workers, asked: tuple[Int64, Watch | None]
) -> tuple[Tally, int]:
    """Work on what has no row yet, and put all rows in order; return what they come to."""
    before = journal.check_rows(opened.fingerprint)
    wanted, watch = asked
    _check_are_wanted(opened, journal, before, wanted)
    if len(before) < len(wanted):
        left = wanted[~np.isin(wanted, before)]
        _append(opened, journal, _rows(opened, left, workers), (len(before), len(wanted), watch))
    journal.sync()
    journal.put_in_order()
    has_price = opened.table.price_per_device_hour is not None
    tally = Tally(opened.table.best, has_price, keys_of_work(opened.space.keys))
    for row in journal.rows():
        tally.add(row)
    return tally, len(before)


def _append(
    opened: Opened, journal: Journal, rows: Iterator[Row], watched: tuple[int, int, Watch | None]
) -> None:
    done, total, watch = watched
    metric, best = opened.table.best, None
    sign = 1 if is_better_larger(metric) else -1
    for row in rows:
        journal.append(row.line)
        done += 1
        value = row.metrics.get(metric) if row.status == OK else None
        if value is not None and (best is None or sign * value > sign * best):
            best = value
        if watch is not None:
            watch(Standing(done, total, best))


def _rows(opened: Opened, left: Int64, workers: Workers) -> Iterator[Row]:
    """Yield the row of every configuration that has none, as each is done."""
    numbers = array("q", left.tobytes())
    for index, found in map_unordered(opened.task(), numbers, workers):
        if isinstance(found, WorkerDied):
            yield opened.failed(numbers[index], found.reason)
        else:
            yield found


def _check_are_wanted(opened: Opened, journal: Journal, before: Int64, wanted: Int64) -> None:
    """Raise where the file has rows of configurations that this sweep leaves out."""
    left_out = len(before) - int(np.isin(before, wanted).sum())
    if left_out:
        raise SweepError(
            f"{journal.path}: {left_out} of its rows are of configurations that"
            f" {opened.sweep.path} leaves out now; choose another --output, or delete it"
        )


def _empty(opened: Opened, refused: Counter[str]) -> SweepError:
    told = ", ".join(f"{text!r} ({number:,} times)" for text, number in refused.most_common(3))
    return SweepError(
        f"{opened.sweep.path}: sweep.where holds for none of the {opened.space.size:,}"
        f" combinations: {told}"
    )
