"""Schedules as files, in the CSV that ``torch.distributed.pipelining`` reads and writes.

A line is a rank, a cell an action such as 0F3, 1B2, 2I0 or 2W0; an empty cell is a wait. Actions
that overlap stand together: ``(0F7;7B3)OVERLAP_F_B``. PyTorch's files "with communication" also
name sends, receives and the gathering of weights; flexsim derives these and passes over them.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from flexsim.errors import ScheduleError
from flexsim.files import whole_file
from flexsim.task_graph.schedules.notation import Action, format_action, parse_action
from flexsim.task_graph.schedules.schedule import Schedule
from flexsim.task_graph.schedules.validity import ActionError, check

SUFFIX = ".csv"
_OVERLAP = re.compile(r"\((.*)\)(\w+)")
_TOGETHER = "OVERLAP_F_B"
_DERIVED = re.compile(r"\d+(?:UNSHARD|RESHARD|REDUCE_GRAD|(?:SEND|RECV)_[FB])\d*", re.ASCII)
_MOST_BYTES = 200_000_000


@dataclass(frozen=True)
class _Cell:
    """Where a set of actions stands; lines and cells count from 1."""

    line: int
    number: int
    actions: tuple[Action, ...]

    def __str__(self) -> str:
        return f"line {self.line}, cell {self.number}"


def read_schedule(path: str | Path) -> Schedule:
    """Return the schedule of a CSV file, complete and able to run.

    Raise :class:`ScheduleError` with the file, the line, the cell and the action at fault.
    """
    rows = _rows(Path(path))
    try:
        cells = [_cells(line, row) for line, row in enumerate(rows, 1)]
        return _checked(cells)
    except ScheduleError as problem:
        raise ScheduleError(f"{path}: {problem}") from problem


def write_schedule(schedule: Schedule, path: str | Path) -> None:
    """Write a schedule such that :func:`read_schedule` and PyTorch read it."""
    with whole_file(Path(path)) as temporary, temporary.open("w", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(schedule_cells(schedule))


def schedule_cells(schedule: Schedule) -> list[list[str]]:
    """Return the cells of every rank."""
    return [[_text(members) for members in schedule.sets(r)] for r in range(schedule.num_ranks)]


def _text(members: list[Action]) -> str:
    names = [format_action(action) for action in members]
    return names[0] if len(names) == 1 else f"({';'.join(names)}){_TOGETHER}"


def _rows(path: Path) -> list[list[str]]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ScheduleError(f"{path}: has more than {_MOST_BYTES:,} bytes")
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.reader(stream))
    except (OSError, ValueError, csv.Error) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else problem
        raise ScheduleError(f"{path}: cannot be read: {reason}") from problem
    while rows and not any(cell.strip() for cell in rows[-1]):
        rows.pop()
    if not rows:
        raise ScheduleError(f"{path}: has no actions; a line is a rank, a cell such as 0F3")
    return rows


def _cells(line: int, row: list[str]) -> list[_Cell]:
    cells = [
        _Cell(line, number, _actions(line, number, text)) for number, text in enumerate(row, 1)
    ]
    return [cell for cell in cells if cell.actions]


def _actions(line: int, number: int, text: str) -> tuple[Action, ...]:
    text = text.strip()
    if not text or _DERIVED.fullmatch(text):
        return ()
    overlap = _OVERLAP.fullmatch(text)
    if overlap and overlap[2] != _TOGETHER:
        raise ScheduleError(
            f"line {line}, cell {number}: {overlap[2]!r} in {text!r} is unknown; choose {_TOGETHER}"
        )
    parts = overlap[1].split(";") if overlap else [text]
    try:
        return tuple(parse_action(part) for part in parts)
    except ScheduleError as problem:
        raise ScheduleError(f"line {line}, cell {number}: {problem}") from problem


def _checked(cells: list[list[_Cell]]) -> Schedule:
    places = _places(cells)
    num_stages = 1 + max(action.stage for action in places)
    num_microbatches = 1 + max(action.microbatch for action in places)
    _check_size(places, num_stages, num_microbatches)
    rank_of_stage = [0] * num_stages
    for action, cell in places.items():
        rank_of_stage[action.stage] = cell.line - 1
    sets = [[cell.actions for cell in row] for row in cells]
    schedule = Schedule.from_sets(num_microbatches, rank_of_stage, sets)
    try:
        check(schedule)
    except ActionError as problem:
        line = f"line {1 + rank_of_stage[problem.action.stage]}"
        raise ScheduleError(f"{places.get(problem.action, line)}: {problem}") from problem
    return schedule


def _check_size(places: dict[Action, _Cell], num_stages: int, num_microbatches: int) -> None:
    """Refuse numbers that imply more forwards than there are actions, before tables are made."""
    if num_stages * num_microbatches <= len(places):
        return
    for what, number in (("stage", num_stages - 1), ("microbatch", num_microbatches - 1)):
        known = {getattr(action, what) for action in places}
        if len(known) <= number:
            action = next(each for each in places if getattr(each, what) == number)
            least = next(each for each in range(number) if each not in known)
            raise ScheduleError(
                f"{places[action]}: action {format_action(action)} is of {what} {number}, but "
                f"there is none of {what} {least}"
            )
    forwards = product(range(num_stages), "F", range(num_microbatches))
    missing = next(Action(*each) for each in forwards if each not in places)
    raise ScheduleError(f"action {format_action(missing)} is missing")


def _places(cells: list[list[_Cell]]) -> dict[Action, _Cell]:
    """Return the cell of every action; refuse one there twice, and a stage on two ranks."""
    places: dict[Action, _Cell] = {}
    home: dict[int, tuple[Action, _Cell]] = {}
    for cell in (cell for row in cells for cell in row):
        for action in cell.actions:
            name = format_action(action)
            if action in places:
                raise ScheduleError(f"{cell}: action {name} stands at {places[action]} already")
            other, first = home.setdefault(action.stage, (action, cell))
            if first.line != cell.line:
                raise ScheduleError(
                    f"{cell}: action {name} is on rank {cell.line - 1}, but {format_action(other)} "
                    f"({first}) has stage {action.stage} on rank {first.line - 1}"
                )
            places[action] = cell
    return places
