"""Sums of gradients: what several readers of one tensor contribute."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from flexsim.strategy.layout import Layout
from flexsim.task_graph.rows import unique


class Contribution(NamedTuple):
    """An addend of a gradient: its layout, the rows that make it, the stage that they run for.

    ``num_addends`` counts tensors that still have to be added by a kernel.
    """

    layout: Layout
    rows: tuple[int, ...]
    stage: int
    num_addends: int = 1


def widest(layouts: Iterable[Layout]) -> Layout:
    """Return the layout with the most partial axes; addends replicated there count once."""
    return max(layouts, key=lambda layout: len(layout.partial))


def sum_partials(contributions: Sequence[Contribution]) -> list[Contribution]:
    """Sum contributions that lie alike, partial sums into the widest of nested ones.

    A replicated addend counts on one replica only, so adding it to partial sums is free of
    communication.
    """
    if len(contributions) == 1:
        return list(contributions)
    sums: list[Contribution] = []
    ordered = sorted(contributions, key=lambda c: -len(c.layout.partial))
    for one in ordered:
        match = next((i for i, total in enumerate(sums) if _nests(one, total)), None)
        if match is None:
            sums.append(one)
        else:
            sums[match] = _joined(sums[match], one)
    return sums


def _nests(one: Contribution, total: Contribution) -> bool:
    a, b = one.layout, total.layout
    return (
        one.stage == total.stage
        and a.mesh == b.mesh
        and a.axes == b.axes
        and a.partial_axes <= b.partial_axes
    )


def _joined(total: Contribution, one: Contribution) -> Contribution:
    rows = unique((*total.rows, *one.rows))
    return total._replace(rows=rows, num_addends=total.num_addends + one.num_addends)
