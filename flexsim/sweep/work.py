"""One configuration of a sweep, simulated or searched: from its number to its row.

What repeats among configurations (validated tables, device graphs, plans, prices) is kept by
the process, for as long as it works on the same sweep.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexsim.errors import FlexSimError
from flexsim.scenario.schema import Scenario
from flexsim.scenario.variants import Variants
from flexsim.sweep.axes import axes_of, check_distinct, check_key
from flexsim.sweep.columns import (
    COST,
    ERROR,
    OK,
    OUT_OF_MEMORY,
    SEARCH,
    SKIPPED,
    all_columns,
    line,
    metric_cells,
    metric_columns,
)
from flexsim.sweep.expressions import Expression, NoValueError, compiled
from flexsim.sweep.facts import Facts
from flexsim.sweep.file import Sweep
from flexsim.sweep.fingerprints import Fingerprints
from flexsim.sweep.keys import defaults, flat, flat_scenario, with_values
from flexsim.sweep.space import Space
from flexsim.sweep.table import SweepTable

if TYPE_CHECKING:
    from flexsim.scenario.batch import Batch

SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class Row:
    """What became of one configuration: a line of the results file, and what ranks it."""

    number: int
    status: str
    line: str
    metrics: Mapping[str, Any]


@dataclass(frozen=True)
class Simulate:
    """The function that workers map over the numbers of configurations.

    ``stamp`` changes with the files that the sweep names, so that nothing of old ones is kept.
    """

    sweep: Sweep
    stamp: str = ""

    def __call__(self, number: int) -> Row:
        """Return the row of a configuration."""
        return _opened(self.sweep, self.stamp).row(number)


@lru_cache(maxsize=2)
def _opened(sweep: Sweep, stamp: str) -> Opened:
    """Return a sweep ready for work, the same one as long as a process works on it."""
    return Opened(sweep)


class Opened:
    """A sweep with its expressions compiled, and what its configurations share.

    Raise a :class:`SweepError` where keys, lists or expressions are wrong.
    """

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        self.table = SweepTable.model_validate_json(sweep.table)
        self.content: dict[str, Any] = json.loads(sweep.content)
        self.space = _space(sweep, self.table, self.content)
        self._keys = self.space.keys
        self.metrics = metric_columns(
            self.table.full or self.table.search,
            self.table.search,
            self.table.price_per_device_hour is not None,
        )
        self.columns = all_columns(self.space.keys, self.metrics)
        asked = [self.table.search, self.table.full, self.table.price_per_device_hour]
        self._fingerprints = Fingerprints(
            flat_scenario(self.content), self.space.keys, asked, Path(sweep.source).parent
        )
        first = with_values(self.content, self.space.plain_values(0))
        self._variants = Variants(first, sweep.source)
        self._batch: Batch | None = None
        """Made with the first simulation: it is large."""

    def walk(self, refused: Counter[str] | None = None) -> Any:
        """Yield the numbers of all configurations; see :meth:`Space.walk`."""
        return self.space.walk(Counter() if refused is None else refused)

    def row(self, number: int) -> Row:
        """Simulate a configuration, or search for its best strategy."""
        values = self.space.plain_values(number)
        try:
            values = self.space.with_derived(values)
            metrics, status, reason = self._outcome(values)
        except NoValueError as problem:
            metrics, status, reason = {}, SKIPPED, self._plain(problem)
        return self._row(number, values, metrics, (status, reason))

    def task(self) -> Simulate:
        """Return what workers do with a number."""
        return Simulate(self.sweep, self._fingerprints.of_all(self.space.axes))

    def failed(self, number: int, why: str) -> Row:
        """Return the row of a configuration that could not be worked on at all."""
        return self._row(number, self._values(number), {}, (f"{ERROR}: {why}", ""))

    def fingerprint(self, number: int) -> str:
        """Return the fingerprint of a configuration."""
        return self._fingerprints.of(self._values(number))

    def scenario(self, number: int) -> Scenario:
        """Return the scenario of a configuration; raise a :class:`FlexSimError` for none."""
        try:
            return self._variants.scenario(self.space.with_derived(self.space.plain_values(number)))
        except NoValueError as problem:
            raise FlexSimError(str(problem)) from problem

    def _values(self, number: int) -> dict[str, Any]:
        values = self.space.plain_values(number)
        try:
            return self.space.with_derived(values)
        except NoValueError:
            return values

    def _outcome(self, values: Mapping[str, Any]) -> tuple[Mapping[str, Any], str, str]:
        """Return metrics, status and reason; whatever goes wrong is told, never raised."""
        try:
            scenario = self._variants.scenario(values)
            metrics = self._measured(scenario)
        except FlexSimError as problem:
            return {}, SKIPPED, self._plain(problem)
        except Exception as problem:
            self._batch = None  # what it keeps may be half made
            return {}, f"{ERROR}: {type(problem).__name__}: {problem}", ""
        return metrics, OUT_OF_MEMORY if metrics.get("fits_memory") is False else OK, ""

    def _measured(self, scenario: Scenario) -> dict[str, Any]:
        if self.table.search:
            metrics = _searched(scenario)
        elif self.table.full:
            metrics = _simulated_in_full(scenario)
        else:
            metrics = self._simulated(scenario)
        if (price := self.table.price(scenario.cluster.device_graph)) is not None:
            hours = metrics["iteration_time_s"] / SECONDS_PER_HOUR
            metrics[COST] = price * hours * metrics["num_devices"]
        return metrics

    def _simulated(self, scenario: Scenario) -> dict[str, Any]:
        if self._batch is None:
            from flexsim.scenario.batch import Batch

            self._batch = Batch()
        outcome = self._batch.run(scenario)
        if outcome.error:
            raise FlexSimError(outcome.error)
        return dict(outcome.metrics)

    def _row(
        self,
        number: int,
        values: Mapping[str, Any],
        metrics: Mapping[str, Any],
        state: tuple[str, str],
    ) -> Row:
        cells = metric_cells(metrics, self.metrics)
        text = line(
            [number, *map(values.get, self._keys), *state, *cells, self._fingerprints.of(values)]
        )
        return Row(number, state[0], text, {self.table.best: metrics.get(self.table.best)})

    def _plain(self, problem: Exception) -> str:
        return str(problem).removeprefix(f"{self.sweep.source}: ")


def _space(sweep: Sweep, table: SweepTable, content: Mapping[str, Any]) -> Space:
    """Return the space of a sweep, all keys and expressions checked."""
    axes = axes_of(table, sweep.path)
    check_distinct(axes, sweep.path)
    derived = _derived(table, sweep.path)
    conditions = [
        compiled(text, f"{sweep.path}: sweep.where", defaults()) for text in table.conditions
    ]
    return Space(axes, derived, conditions, Facts(flat_scenario(content), sweep.source))


def _derived(table: SweepTable, path: str) -> dict[str, Expression]:
    where = f"{path}: sweep.derive"
    found: dict[str, Expression] = {}
    for key, text in flat(table.derive, lambda each: False):
        check_key(key, where)
        found[key] = compiled(text, f"{where}: {key}", defaults())
    return found


def _simulated_in_full(scenario: Scenario) -> dict[str, Any]:
    from flexsim.scenario.runner import run

    return dict(run(scenario).metrics)


def _searched(scenario: Scenario) -> dict[str, Any]:
    """Return the metrics of the best strategy that the scenario's search finds."""
    from flexsim.search.api import search

    result = search(scenario)
    if result.interrupted:
        raise KeyboardInterrupt
    summary = result.summary()
    return {**result.best_metrics, **{key: summary[key] for key in SEARCH}}
