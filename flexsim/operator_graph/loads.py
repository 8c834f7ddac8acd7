"""Work that depends on the box: parts that run over more, or less, than their even share.

A dimension may have a load: its extent in a part is its even share times a factor that depends on
which indices of another dimension the part has. Layouts do not change with it; work does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flexsim.operator_graph.graph import OperatorGraph
    from flexsim.operator_graph.records import Dim, Operator


@dataclass(frozen=True, slots=True)
class Largest:
    """What the most loaded index of ``along`` in a part asks for; ``factors`` have mean 1.

    Kernels over several experts are as long as their fullest one.
    """

    along: str
    factors: tuple[float, ...]

    def extent(self, even: int, low: int, high: int, size: int) -> int:
        """Return the extent of a part that has the indices [low, high) of ``size``."""
        return ceil(even * max(self.factors[low:high], default=0.0))


@dataclass(frozen=True, slots=True)
class Ramp:
    """What grows from nothing to twice the mean along ``along``: causal attention's keys."""

    along: str

    def extent(self, even: int, low: int, high: int, size: int) -> int:
        """Return the extent of a part that has the indices [low, high) of ``size``."""
        return ceil(even * (low + high) / size)


Load = Largest | Ramp


def lognormal_factors(count: int, variation: float, seed: int) -> tuple[float, ...]:
    """Return ``count`` random loads of mean 1 whose spread is ``variation`` times their mean.

    They are drawn from a lognormal distribution and divided by the mean of the draw. With one
    seed the largest grows with ``variation``, from 1.
    """
    import numpy as np

    spread = float(np.sqrt(np.log1p(variation**2)))
    drawn = np.exp(spread * np.random.default_rng(seed).standard_normal(count))
    return tuple(float(each) for each in drawn / drawn.mean())


def with_load(
    graph: OperatorGraph, dim: str, load: Load, applies: Callable[[Operator], bool]
) -> OperatorGraph:
    """Return a graph in which ``dim`` has a load on the operators that it ``applies`` to."""

    def loaded(dims: Sequence[Dim]) -> tuple[Dim, ...]:
        return tuple(replace(each, load=load) if each.name == dim else each for each in dims)

    operators = tuple(
        replace(op, dims=loaded(op.dims)) if applies(op) else op for op in graph.operators
    )
    return replace(graph, operators=operators)


def in_runs(graph: OperatorGraph) -> OperatorGraph:
    """Return a graph whose positions lie in their order, so that late parts see more keys.

    It makes a difference to kernels that skip what causality masks. Without it positions are
    dealt out so that early and late ones meet in each part (zigzag), which makes parts even.
    """
    return with_load(graph, "kv", Ramp("s"), _skips_masked)


def _skips_masked(operator: Operator) -> bool:
    has_positions = {"s", "kv"} <= operator.sizes.keys()
    return has_positions and any(step.work_fraction < 1 for step in operator.forward)
