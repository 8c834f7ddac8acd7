"""What is wrong with a sweep as a whole, told before any of it is simulated."""

from __future__ import annotations

import math
from typing import Any

from pydantic import ValidationError

from flexsim.errors import SweepError, choices_text
from flexsim.scenario.schema import Scenario
from flexsim.sweep.columns import numeric
from flexsim.sweep.keys import with_values
from flexsim.sweep.work import Opened
from flexsim.validation import one_sentence

MOST_COMBINATIONS = 10**9


def check_sweep(sweep: Opened) -> None:
    """Raise :class:`SweepError` in one sentence for what no configuration could mend."""
    path, space, table = sweep.sweep.path, sweep.space, sweep.table
    if space.size > MOST_COMBINATIONS:
        raise SweepError(
            f"{path}: sweep makes {space.size:,} combinations; choose fewer values, so that there"
            f" are at most {MOST_COMBINATIONS:,}, or several sweeps"
        )
    both = [key for axis in space.axes for key in axis.keys if key in _derived(sweep)]
    if both:
        raise SweepError(f"{path}: sweep.derive: {both[0]} is varied too; leave it out of one")
    if table.best not in (known := numeric(sweep.metrics)):
        raise SweepError(f"{path}: sweep.best = {table.best!r}: {choices_text(table.best, known)}")
    searched = [key for key in space.keys if key.startswith("search.")]
    if searched and not table.search:
        raise SweepError(
            f"{path}: sweep varies {searched[0]}, but configurations are simulated, not searched;"
            " set sweep.search = true, or leave it out"
        )
    _check_prices(sweep)
    _check_base(sweep)


def _derived(sweep: Opened) -> tuple[str, ...]:
    num_varied = sum(len(axis.keys) for axis in sweep.space.axes)
    return sweep.space.keys[num_varied:]


def _check_prices(sweep: Opened) -> None:
    prices = sweep.table.price_per_device_hour
    key = f"{sweep.sweep.path}: sweep.price_per_device_hour"
    for price in prices.values() if isinstance(prices, dict) else (prices,):
        if prices is not None and not _is_price(price):
            raise SweepError(f"{key} = {price!r}: it should be a number above zero")
    if not isinstance(prices, dict):
        return
    for name in _values_of(sweep, "cluster.device_graph"):
        if name not in prices:
            raise SweepError(
                f"{key} has no price for cluster.device_graph = {name!r}, only for"
                f" {', '.join(sorted(prices))}"
            )


def _is_price(price: Any) -> bool:
    is_number = isinstance(price, int | float) and not isinstance(price, bool)
    return is_number and 0 < price < math.inf


def _values_of(sweep: Opened, key: str) -> list[Any]:
    for axis in sweep.space.axes:
        if key in axis.keys:
            return [step[axis.keys.index(key)] for step in axis.steps]
    table, _, name = key.partition(".")
    return [sweep.content.get(table, {}).get(name)]


def _check_base(sweep: Opened) -> None:
    """Raise where the scenario is wrong in what does not vary."""
    content = with_values(sweep.content, sweep.space.plain_values(0))
    try:
        Scenario.model_validate(content)
    except ValidationError as problem:
        if all(_may_vary(error["loc"], sweep.space.keys) for error in problem.errors()):
            return
        raise SweepError(one_sentence(sweep.sweep.path, problem, Scenario)) from problem


def _may_vary(location: tuple[int | str, ...], keys: tuple[str, ...]) -> bool:
    """Whether what is wrong may be right with other values of the keys that vary."""
    place = ".".join(map(str, location[:2]))
    return any(key == place or key.startswith(f"{place}.") for key in keys)
