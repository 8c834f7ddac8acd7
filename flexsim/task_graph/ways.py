"""The ways on which messages of a pipeline go, and what messages of any size cost on them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import NamedTuple

import numpy as np

from flexsim.cost.collectives import Communication, Pace
from flexsim.cost.rings import Rings
from flexsim.task_graph.columns import Int64
from flexsim.task_graph.symbolic import Message

UNEQUAL = -2
"""The price of a message that costs more on some devices of a rank than on others."""
_MOST_SIZES = 10_000
"""Sizes of messages that are remembered for the same ways."""


@dataclass(frozen=True, eq=False)
class Ways:
    """Distinct ways on which messages go, and those of every rank.

    Members of rank r go on the ways ``sets[set_of_rank[r]]``.
    """

    distinct: Rings | Pace
    sets: tuple[tuple[int, ...], ...]
    set_of_rank: tuple[int, ...]
    content: Hashable
    """Equal where ways and sets are."""


class Fares:
    """What messages of one kind cost on given ways, found once for every size."""

    def __init__(self, communication: Communication, kind: str, ways: Ways) -> None:
        """Know no price yet."""
        self._communication, self._kind, self._ways = communication, kind, ways
        self._known: dict[int, tuple[int, ...]] = {}

    def of_sets(self, sizes: Sequence[int]) -> list[tuple[int, ...]]:
        """Return for each of ``sizes`` the price on every set of the ways."""
        if len(self._known) > _MOST_SIZES:
            self._known = {}
        known = self._known
        new = [size for size in dict.fromkeys(sizes) if size not in known]
        if new:
            known |= zip(new, self._found(np.array(new, np.int64)), strict=True)
        return [known[size] for size in sizes]

    def _found(self, sizes: Int64) -> list[tuple[int, ...]]:
        distinct = self._ways.distinct
        if isinstance(distinct, Pace):
            paced = self._communication.paced_ns(sizes[:, None], distinct)
            prices = np.where(np.isinf(distinct.bandwidth_bytes_per_s), 0, paced)
        else:
            prices = self._communication.ring_ns(self._kind, sizes, distinct)
        sets = [list(some) for some in self._ways.sets]
        return [tuple(one_price(row[some]) for some in sets) for row in prices]


def fares_of(communication: Communication, kind: str, ways: Ways) -> Fares:
    """Return the fares of a kind on ways like these, found now or before."""
    find = partial(Fares, communication, kind, ways)
    return communication.before.once((kind, ways.content), find)


class Line(NamedTuple):
    """Messages of a kind that go the same ways: their numbers and sizes.

    ``sets`` has the set of ways of each row of a :class:`Tariff`.
    """

    fares: Fares
    numbers: tuple[int, ...]
    sizes: tuple[int, ...]
    sets: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Tariff:
    """What the messages of a small pipeline go on; ranks with the same ways have a row in common.

    ``of_rank`` has the row of every rank.
    """

    lines: tuple[Line, ...]
    of_rank: Int64

    def prices_ns(self, times: int) -> tuple[Int64, Int64]:
        """Return what messages of ``times`` their size cost, and the row of every rank.

        There is a row for every set of prices, and a column a message.
        """
        columns: dict[int, list[int]] = {}
        for fares, numbers, sizes, sets in self.lines:
            prices = fares.of_sets([size * times for size in sizes])
            for number, price in zip(numbers, prices, strict=True):
                columns[number] = [price[one] for one in sets]
        ordered = [columns[number] for number in range(len(columns))]
        rows = list(zip(*ordered, strict=True)) or [()]
        place = {row: number for number, row in enumerate(sorted(set(rows)))}
        return np.array(list(place), np.int64), np.array([place[row] for row in rows])[self.of_rank]


def tariff_of(
    communication: Communication, messages: Sequence[Message], ways: Sequence[Ways], num_ranks: int
) -> Tariff:
    """Return the tariff of messages with their ways."""
    distinct = list(dict.fromkeys(ways))
    of_rank = list(zip(*(one.set_of_rank for one in distinct), strict=True)) or [()] * num_ranks
    row = {sets: number for number, sets in enumerate(dict.fromkeys(of_rank))}
    sets = dict(zip(distinct, zip(*row, strict=True), strict=True))
    together: dict[tuple[str, Ways], list[int]] = {}
    for number, (message, way) in enumerate(zip(messages, ways, strict=True)):
        together.setdefault((message.kind, way), []).append(number)
    lines = [
        Line(
            fares_of(communication, kind, way),
            tuple(some),
            tuple(messages[n].num_bytes for n in some),
            sets[way],
        )
        for (kind, way), some in together.items()
    ]
    return Tariff(tuple(lines), np.array([row[sets] for sets in of_rank]))


class Leg(NamedTuple):
    """Where a message of a small pipeline goes, whatever its size: places in its ranks.

    ``members`` are groups of places in the first replica, or the senders, in one column, of
    transfers to places of the rank ``ahead`` of theirs.
    """

    width: int
    group_size: int
    members: bytes
    receivers: bytes = b""
    ahead: int = 0

    def spread(self, places: bytes, num_replicas: int) -> Int64:
        """Return groups of places on all replicas."""
        starts = self.width * np.arange(num_replicas)[:, None, None]
        spread = starts + np.frombuffer(places, np.int64).reshape(1, -1, self.group_size)
        return spread.reshape(-1, self.group_size)


def leg_of(message: Message, devices_per_rank: int, num_replicas: int) -> Leg:
    """Return where a message of a small pipeline goes, as far as the first replica does."""
    width = devices_per_rank // num_replicas
    inside = message.members % devices_per_rank
    near = (inside < width).all(axis=1)
    leg = Leg(width, message.group_size, inside[near].tobytes())
    if message.kind != "transfer":
        return leg
    receivers = message.receivers % devices_per_rank
    ahead = 1 if message.receivers[0] > message.members[0, 0] else -1
    return leg._replace(receivers=receivers[near].tobytes(), ahead=ahead)


def one_price(prices: Int64) -> int:
    """Return the price that all members pay, at least 1; :data:`UNEQUAL` where they differ."""
    least = max(1, int(prices.min()))
    return least if least == max(1, int(prices.max())) else UNEQUAL


def joined_ways(
    kind: type[Rings] | type[Pace], found: Sequence[Rings | Pace], alike: list[int]
) -> Ways:
    """Join what was found for ranks that differ; ``alike`` has for every rank its place there."""
    names = [f.name for f in fields(kind)]
    columns = [np.concatenate([getattr(one, name) for one in found]) for name in names]
    first, number = _distinct(columns)
    distinct = [column[first] for column in columns]
    members = number.reshape(len(found), -1)
    sets = [tuple(sorted(set(row))) for row in members.tolist()]
    place = {one: i for i, one in enumerate(dict.fromkeys(sets))}
    of_rank = tuple(place[sets[rank]] for rank in alike)
    content = tuple(column.tobytes() for column in distinct), tuple(place)
    return Ways(kind(*distinct), tuple(place), of_rank, content)


def _distinct(columns: list[np.ndarray]) -> tuple[Int64, Int64]:
    """Return the first of each set of equal rows, and the set of every row."""
    count = len(columns[0])
    if all((column == column[0]).all() for column in columns):
        return np.zeros(1, np.int64), np.zeros(count, np.int64)
    table = np.stack([column.astype(np.float64) for column in columns], axis=1)
    _, first, number = np.unique(table, axis=0, return_index=True, return_inverse=True)
    return first.astype(np.int64), number.reshape(-1).astype(np.int64)
