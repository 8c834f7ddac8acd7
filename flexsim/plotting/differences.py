"""What differs between runs: a table of their metrics, each beside the first run's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from flexsim.plotting.bars import Bars
from flexsim.plotting.bubble_table import bubble_bars
from flexsim.plotting.quantities import quantity_of
from flexsim.timeline.spans import Timeline

if TYPE_CHECKING:
    import pandas as pd

_RATES = {"sequences": "tokens_per_s"}
"""The rate that people know, by what batches are made of; for others that of samples."""
_RATE = "samples_per_s"
_ALWAYS = (
    "iteration_time_s",
    "mfu",
    "hfu",
    "bubble_fraction",
    "compute_fraction",
)
_EXPOSED = "exposed_communication_s"
_MEMORY = "peak_memory_bytes"


@dataclass(frozen=True, eq=False)
class ComparedRun:
    """A run as it is compared: its name, its metrics and the bars of its timeline."""

    name: str
    metrics: Mapping[str, Any]
    bars: Bars
    samples: str = "sequences"
    """What its batch is made of: sequences, images, or samples of another kind."""


class Simulated(Protocol):
    """What is compared of a result."""

    @property
    def metrics(self) -> Mapping[str, Any]:
        """The numbers by name."""

    @property
    def timeline(self) -> Timeline:
        """When each task ran."""

    @property
    def samples(self) -> str:
        """What the batch is made of."""


def compared_run(name: str, result: Simulated) -> ComparedRun:
    """Return a simulated result as a run to compare."""
    return ComparedRun(name, result.metrics, bubble_bars(result.timeline), result.samples)


def samples_of_all(runs: Sequence[ComparedRun]) -> str:
    """Return what the batches of all runs are made of."""
    found = {run.samples for run in runs}
    return found.pop() if len(found) == 1 else "samples"


def checked_metrics(metrics: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return metrics that were read from a file; raise :class:`KeyError` where one lacks."""
    for name in (*_ALWAYS, *_RATES.values(), _RATE, _EXPOSED):
        metrics[name]
    return metrics


def difference_table(runs: Sequence[ComparedRun]) -> pd.DataFrame:
    """Return a row a metric and further run: its value, the first run's, and the difference.

    Columns: ``metric, run, base_run, base, value, difference, relative``. Values are in the
    units of the metrics; ``relative`` is difference / base, NaN where the base is zero. What a
    run does not know is NaN. Exposed communication has a row a kind that any run has.
    """
    import pandas as pd

    columns = ["metric", "run", "base_run", "base", "value", "difference", "relative"]
    found = [_numbers(run.metrics) for run in runs]
    rate = _RATES.get(samples_of_all(runs), _RATE)
    rows = [
        (metric, run.name, runs[0].name, _of(found[0], metric), _of(numbers, metric))
        for metric in _shown(found, rate)
        for run, numbers in zip(runs[1:], found[1:], strict=True)
    ]
    table = pd.DataFrame(rows, columns=columns[:5]).astype({"base": float, "value": float})
    difference = table["value"] - table["base"]
    relative = difference / table["base"].where(table["base"] != 0)
    return table.assign(difference=difference, relative=relative)[columns]


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    names = (*_ALWAYS, *_RATES.values(), _RATE, _MEMORY)
    plain = {name: metrics.get(name) for name in names}
    exposed = metrics.get(_EXPOSED, {})
    return plain | {f"{_EXPOSED}.{kind}": time_s for kind, time_s in exposed.items()}


def _of(numbers: Mapping[str, float | None], metric: str) -> float | None:
    """Return a metric; a kind of communication that a run does not have exposes nothing."""
    return numbers.get(metric, 0.0 if _is_exposed(metric) else None)


def _shown(found: Sequence[Mapping[str, float | None]], rate: str) -> list[str]:
    """Return the metrics in order: communication by kind where any run exposes some."""
    kinds = dict.fromkeys(name for numbers in found for name in numbers if _is_exposed(name))
    shown = [name for name in kinds if any(numbers.get(name) for numbers in found)]
    return [_ALWAYS[0], rate, *_ALWAYS[1:], *shown, _MEMORY]


def _is_exposed(name: str) -> bool:
    return name.startswith(f"{_EXPOSED}.")


def value_cells(table: pd.DataFrame) -> Iterator[tuple[str, list[str]]]:
    """Yield label and cells of every row: base, value, difference and relative difference."""
    for row in table.to_dict("records"):
        quantity = quantity_of(row["metric"])
        numbers = [row[name] * quantity.scale for name in ("base", "value", "difference")]
        texts = [_text(each) for each in numbers]
        texts[2] = _signed(texts[2], numbers[2])
        relative = "" if math.isnan(row["relative"]) else f"{100 * row['relative']:+.1f} %"
        yield quantity.axis_label, [*texts, relative.replace("-", "−")]


def _text(number: float) -> str:
    if math.isnan(number):
        return ""
    size = abs(number)
    return f"{number:,.0f}" if size >= 1000 else f"{number:.4g}" if size >= 1e-12 else "0"


def _signed(text: str, number: float) -> str:
    return f"+{text}" if number > 0 else text.replace("-", "−")
