"""The space of a sweep: which configuration a number stands for, one after the other.

Configurations are numbered as they are written, the last axis fastest. They are walked in
another order, slow axes outside, so that neighbours share what is costly to build; a condition
is tried as soon as all that it depends on is known, and takes whole sub-spaces away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from flexsim.errors import SweepError
from flexsim.sweep.axes import Axis
from flexsim.sweep.expressions import Expression, NoValueError
from flexsim.sweep.facts import Facts

_SLOW = (
    "model.",
    "cluster.device_graph",
    "training.precision",
    "training.software",
    "training.optimizer",
    "simulation.",
    "strategy.name",
    "strategy.tensor",
    "strategy.sequence_parallel",
    "training.micro_batch",
    "training.recompute",
    "cluster.",
    "strategy.zero",
    "strategy.pipeline",
    "strategy.data",
    "strategy.chunks",
    "strategy.",
    "training.",
)
"""What costs most to build anew, first."""


@dataclass(frozen=True, eq=False)
class _Level:
    """One axis of the walk, and what can be told once its keys are set."""

    axis: Axis
    weight: int
    """What one step of the axis adds to the number."""
    num_below: int
    """Combinations of the axes inside it."""
    derived: tuple[tuple[str, Expression], ...]
    conditions: tuple[Expression, ...]


class Space:
    """The configurations of a sweep by number, and those for which the conditions hold."""

    def __init__(
        self,
        axes: tuple[Axis, ...],
        derived: Mapping[str, Expression],
        conditions: Sequence[Expression],
        facts: Facts,
    ) -> None:
        self.axes, self._facts = axes, facts
        self._derived = _in_order(derived, facts)
        self._conditions = tuple(conditions)
        self._weights = _weights([len(axis.steps) for axis in axes])
        self._steps = [
            (
                [dict(zip(axis.keys, step, strict=True)) for step in axis.steps],
                weight,
                len(axis.steps),
            )
            for axis, weight in zip(axes, self._weights, strict=True)
        ]
        self._levels = self._walked()

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that vary: those of the axes, then the derived ones."""
        return (*(key for axis in self.axes for key in axis.keys), *self._derived)

    @property
    def size(self) -> int:
        """Number of combinations, before conditions."""
        return prod(len(axis.steps) for axis in self.axes)

    def plain_values(self, number: int) -> dict[str, Any]:
        """Return the keys of the axes in configuration ``number``."""
        values: dict[str, Any] = {}
        for steps, weight, size in self._steps:
            values.update(steps[number // weight % size])
        return values

    def with_derived(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keys of the axes together with the derived ones.

        Raise :class:`NoValueError` where one of these has no value.
        """
        whole = dict(values)
        for key, expression in self._derived.items():
            whole[key] = _whole(expression.value(lambda name: self._value(name, whole)))
        return whole

    def walk(self, refused: Counter[str]) -> Iterator[int]:
        """Yield the number of every configuration for which the conditions hold.

        The others are counted in ``refused`` by the condition, as far as the walk has come.
        """
        return self._below(0, 0, {}, refused)

    def _below(
        self, depth: int, number: int, values: dict[str, Any], refused: Counter[str]
    ) -> Iterator[int]:
        if depth == len(self._levels):
            yield number
            return
        level = self._levels[depth]
        for position, step in enumerate(level.axis.steps):
            inner = dict(values)
            inner.update(zip(level.axis.keys, step, strict=True))
            why = self._settle(level, inner)
            if why:
                refused[why] += level.num_below
            else:
                yield from self._below(depth + 1, number + position * level.weight, inner, refused)

    def _settle(self, level: _Level, values: dict[str, Any]) -> str:
        """Add what is derived at a level; return the condition that does not hold, or ""."""
        for key, expression in level.derived:
            try:
                values[key] = _whole(expression.value(lambda name: self._value(name, values)))
            except NoValueError:
                continue
        for condition in level.conditions:
            try:
                if not condition.value(lambda name: self._value(name, values)):
                    return condition.text
            except _UnknownError:
                continue
            except NoValueError as problem:
                return str(problem)
        return ""

    def _value(self, name: str, values: Mapping[str, Any]) -> Any:
        if name in self._derived and name not in values:
            raise _UnknownError(name)
        try:
            return self._facts.value(name, values)
        except NoValueError as problem:
            raise _UnknownError(str(problem)) from problem

    def _walked(self) -> tuple[_Level, ...]:
        order = sorted(range(len(self.axes)), key=lambda i: _slowness(self.axes[i]))
        sizes = [len(self.axes[i].steps) for i in order]
        below = _weights(sizes)
        depth_of = {key: d for d, i in enumerate(order) for key in self.axes[i].keys}
        for key, expression in self._derived.items():
            depth_of[key] = self._depth(expression, depth_of)
        return tuple(
            _Level(
                self.axes[i],
                self._weights[i],
                below[depth],
                tuple((k, e) for k, e in self._derived.items() if depth_of[k] == depth),
                tuple(c for c in self._conditions if self._depth(c, depth_of) == depth),
            )
            for depth, i in enumerate(order)
        )

    def _depth(self, expression: Expression, depth_of: Mapping[str, int]) -> int:
        """Return the level at which all that an expression depends on is set."""
        keys = [key for name in expression.names for key in self._facts.follows_from(name)]
        return max((depth_of.get(key, 0) for key in keys), default=0)


class _UnknownError(NoValueError):
    """A name has no value here; simulating the configuration will tell why."""


def _in_order(derived: Mapping[str, Expression], facts: Facts) -> dict[str, Expression]:
    """Return what is derived so that each comes after what it follows from."""
    found: dict[str, Expression] = {}

    def add(key: str, asked: tuple[str, ...]) -> None:
        if key in asked:
            raise SweepError(f"{derived[key].where}: {key} would follow from itself")
        for other in _needed(key, derived, facts):
            add(other, (*asked, key))
        found[key] = derived[key]

    for key in derived:
        add(key, ())
    return found


def _needed(key: str, derived: Mapping[str, Expression], facts: Facts) -> list[str]:
    """Return the derived keys that another one follows from."""
    names = derived[key].names
    inner = [each for name in names for each in facts.follows_from(name) if each != key]
    return [each for each in dict.fromkeys([*names, *inner]) if each in derived]


def _weights(sizes: Sequence[int]) -> list[int]:
    """Return the number of combinations of all positions after each one."""
    return [prod(sizes[position + 1 :]) for position in range(len(sizes))]


def _slowness(axis: Axis) -> int:
    ranks = [i for i, start in enumerate(_SLOW) for key in axis.keys if key.startswith(start)]
    return min(ranks, default=len(_SLOW))


def _whole(value: Any) -> Any:
    """Return a whole number for a quotient that is one: sizes and degrees are counted."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
