"""Max-min fairness in exact fractions, worked out in another way than the engine does.

Rates: of all links, the one with the least capacity left a flow is found, its flows are given
that and taken out, and so on (the textbook's iterative bottlenecks; no rates that rise).
Times: between two events every flow moves rate x time, all in fractions.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import ceil


def exact_rates(routes: Sequence[Sequence[int]], capacity: Sequence[Fraction]) -> list[Fraction]:
    """Return the max-min fair rate of every flow; every route has a link."""
    left, rates = list(capacity), {}
    waiting = set(range(len(routes)))
    while waiting:
        users = {
            link: [flow for flow in waiting if link in routes[flow]] for link in range(len(left))
        }
        share, link = min((left[link] / len(each), link) for link, each in users.items() if each)
        for flow in users[link]:
            rates[flow] = share
            for each in routes[flow]:
                left[each] -= share
        waiting -= set(users[link])
    return [rates[flow] for flow in range(len(routes))]


def exact_ends(
    flows: Sequence[tuple[int, int, Sequence[int]]], capacity: Sequence[int]
) -> list[int]:
    """Return when flows of (start, work, route) end, at whole nanoseconds, rounded up.

    ``work`` is the time alone: at rate r, with m the most that the route allows, r/m of it is
    done in a nanosecond.
    """
    most = [Fraction(min(capacity[link] for link in route)) for _, _, route in flows]
    left = [Fraction(work) for _, work, _ in flows]
    ends: dict[int, int] = {}
    now = 0
    while len(ends) < len(flows):
        running = [n for n, each in enumerate(flows) if each[0] <= now and n not in ends]
        routes = [flows[n][2] for n in running]
        speeds = [
            rate / most[n]
            for n, rate in zip(
                running, exact_rates(routes, [Fraction(c) for c in capacity]), strict=True
            )
        ]
        stops = [now + ceil(left[n] / v) for n, v in zip(running, speeds, strict=True)]
        then = min([*stops, *(each[0] for each in flows if each[0] > now)])
        for n, speed in zip(running, speeds, strict=True):
            left[n] -= speed * (then - now)
            if left[n] <= 0:
                ends[n] = then
        now = then
    return [ends[n] for n in range(len(flows))]
