"""Measured times in place of formulas: a table of kernels, collectives and transfers.

What stands in the table is taken as it was measured. A kernel of the same class, pass, fusion and
precision but another size is interpolated linearly in its work (floating-point operations of a
product, else bytes), and in proportion to it beyond the largest and smallest that were measured;
a collective or transfer in its bytes, at least as long as the smallest. A class of kernels that
was not measured is an error; collectives and transfers that were not are priced by formula.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexsim.cost.costs import CommunicationModel, Costs
from flexsim.cost.work import CostModel, Work
from flexsim.errors import ProfileError, choices_text

Float = NDArray[np.float64]
Int64 = NDArray[np.int64]
Int32 = NDArray[np.int32]

TRANSFER = "transfer"
KERNEL = "kernel"


@dataclass(frozen=True)
class Measurement:
    """One row of a table of measured times; every field is a column.

    ``measured`` is "kernel", "transfer" or the name of a collective (``num_bytes`` as in
    :meth:`~flexsim.cost.collectives.Communication.collective_ns`) among ``members``. ``time_ns``
    is the median (inside real steps the mean) of ``repeats`` measurements and ``spread`` the
    distance of their quartiles over it.
    """

    measured: str
    kernel: str = ""
    step: str = ""
    fusion: str = ""
    precision: str = ""
    batch: int = 0
    m: int = 0
    n: int = 0
    k: int = 0
    flops: int = 0
    num_bytes: int = 0
    members: int = 0
    time_ns: int = 0
    spread: float = 0.0
    repeats: int = 0

    @classmethod
    def of_work(cls, work: Work, time_ns: int, spread: float, repeats: int) -> Measurement:
        """Return the row of a kernel."""
        batch, m, n, k = work.matmul or (0, 0, 0, 0)
        return cls(
            measured=KERNEL,
            kernel=work.kind,
            step=work.step,
            fusion=work.fusion,
            precision=work.precision,
            batch=batch,
            m=m,
            n=n,
            k=k,
            flops=work.flops,
            num_bytes=work.num_bytes,
            time_ns=time_ns,
            spread=round(spread, 4),
            repeats=repeats,
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """What a kernel of the same class must share to take as long."""
        return self.batch, self.m, self.n, self.k, self.flops, self.num_bytes


COLUMNS = tuple(field.name for field in fields(Measurement))
_TEXTS = ("measured", "kernel", "step", "fusion", "precision")


def write_measured(path: Path, rows: Iterable[Measurement]) -> None:
    """Write a table of measured times."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows([getattr(row, name) for name in COLUMNS] for row in rows)


def read_measured(path: str | Path) -> list[Measurement]:
    """Read a table of measured times; raise :class:`ProfileError` with the line that is wrong."""
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as problem:
        raise ProfileError(f"{path}: cannot be read as a table of measured times") from problem
    reader = csv.DictReader(text.splitlines())
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise ProfileError(
            f"{path}: the column {missing[0]!r} is missing; a table of measured times has"
            f" {', '.join(COLUMNS)}"
        )
    return [_row(path, reader.line_num, cells) for cells in reader]


def _row(path: str | Path, line: int, cells: Mapping[str, str]) -> Measurement:
    values: dict[str, str | int | float] = {}
    for name in COLUMNS:
        cell = cells[name] or ""
        try:
            values[name] = cell if name in _TEXTS else _number(name, cell)
        except ValueError:
            raise ProfileError(f"{path}: line {line}: {name} = {cell!r} is no number") from None
    row = Measurement(**values)  # type: ignore[arg-type]
    if row.time_ns < 1:
        raise ProfileError(f"{path}: line {line}: time_ns = {row.time_ns} must be at least 1")
    return row


def _number(name: str, cell: str) -> int | float:
    return float(cell or 0) if name == "spread" else int(cell or 0)


@dataclass(frozen=True, eq=False)
class Curve:
    """Times against a size, increasing in it."""

    sizes: Float
    times_ns: Float

    @classmethod
    def of(cls, points: Iterable[tuple[int, int]]) -> Curve:
        """Build from pairs; of equal sizes the mean counts."""
        by_size = defaultdict(list)
        for size, time_ns in points:
            by_size[size].append(time_ns)
        sizes = sorted(by_size)
        times = [float(np.mean(by_size[size])) for size in sizes]
        return cls(np.array(sizes, np.float64), np.array(times))

    def proportional(self, size: float) -> float:
        """Return the time at a size, in proportion beyond both ends."""
        first, last = self.sizes[0], self.sizes[-1]
        if size <= first:
            return float(self.times_ns[0] * size / max(first, 1.0))
        if size >= last:
            return float(self.times_ns[-1] * size / last)
        return float(np.interp(size, self.sizes, self.times_ns))

    def floored(self, size: Float) -> Float:
        """Return times at sizes, at least the smallest's, in proportion beyond the largest."""
        inside = np.interp(size, self.sizes, self.times_ns)
        beyond = self.times_ns[-1] * size / max(self.sizes[-1], 1.0)
        return np.where(size > self.sizes[-1], beyond, inside)


class MeasuredTimes:
    """A cost model of measured kernels."""

    def __init__(self, rows: Sequence[Measurement], source: str) -> None:
        self._source = source
        self._exact: dict[tuple[object, ...], list[int]] = defaultdict(list)
        points: dict[tuple[str, ...], list[tuple[int, int]]] = defaultdict(list)
        for row in rows:
            if row.measured == KERNEL:
                kind = (row.kernel, row.step, row.fusion, row.precision)
                self._exact[(*kind, *row.shape)].append(row.time_ns)
                points[kind].append((row.flops if row.m else row.num_bytes, row.time_ns))
        self._curves = {kind: Curve.of(found) for kind, found in points.items()}

    def __call__(self, work: Work, device_type: str, /) -> int:
        """Return what a kernel was measured to take; raise :class:`ProfileError`."""
        kind = (work.kind, work.step, work.fusion, work.precision)
        shape = (*(work.matmul or (0, 0, 0, 0)), work.flops, work.num_bytes)
        exact = self._exact.get((*kind, *shape))
        if exact is not None:
            return max(1, round(float(np.mean(exact))))
        curve = self._curves.get(kind)
        if curve is None:
            raise ProfileError(self._missing(kind))
        return max(1, round(curve.proportional(work.flops if work.matmul else work.num_bytes)))

    def _missing(self, kind: tuple[str, ...]) -> str:
        name = "/".join(part for part in kind if part)
        known = ["/".join(part for part in each if part) for each in self._curves]
        return (
            f"{self._source}: no kernel {name} (class, pass, fusion, precision) was measured:"
            f" {choices_text(name, known)}"
        )


@dataclass(frozen=True, eq=False)
class MeasuredCommunication:
    """Communication as it was measured, and by ``formula`` where it was not."""

    rows: Sequence[Measurement]
    formula: CommunicationModel

    @cached_property
    def _curves(self) -> Mapping[tuple[str, int], Curve]:
        points: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
        for row in self.rows:
            if row.measured != KERNEL:
                members = 0 if row.measured == TRANSFER else row.members
                points[row.measured, members].append((row.num_bytes, row.time_ns))
        return {key: Curve.of(found) for key, found in points.items()}

    def collective_ns(self, collective: str, num_bytes: int, groups: Int32, /) -> Int64:
        """Return the time of one collective in each of ``groups``."""
        members = np.asarray(groups).shape[1]
        curve = self._curves.get((collective, members))
        if curve is None or num_bytes == 0:
            return self.formula.collective_ns(collective, num_bytes, groups)
        time_ns = curve.floored(np.array(float(num_bytes)))
        return np.full(len(groups), max(1, round(float(time_ns))), np.int64)

    def transfer_ns(self, num_bytes: Int64 | int, sources: Int32, targets: Int32, /) -> Int64:
        """Return the time of every transfer."""
        curve = self._curves.get((TRANSFER, 0))
        if curve is None:
            return self.formula.transfer_ns(num_bytes, sources, targets)
        size = np.broadcast_to(np.asarray(num_bytes, np.float64), np.asarray(sources).shape)
        return np.maximum(np.rint(curve.floored(size)), 1).astype(np.int64)


def with_measured(costs: Costs, path: str | Path, cost_model: CostModel | None = None) -> Costs:
    """Return costs in which what a table has measured replaces formulas.

    A ``cost_model`` of the caller's own goes before measured kernels.
    """
    rows = read_measured(path)
    kernels = MeasuredTimes(rows, str(path)) if cost_model is None else costs.compute
    return replace(
        costs, compute=kernels, communication=MeasuredCommunication(rows, costs.communication)
    )
