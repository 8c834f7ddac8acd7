"""Max-min fair rates of flows over links, found by progressive filling in compiled loops.

All rates rise together until a link is full; the flows on it keep what they have and the others
rise on (Bertsekas and Gallager, *Data Networks*, 1992, section 6.5.2). Only flows that share a
link with those that begin or end, directly or through others, are looked at again.

A flow's *work* is the time that it would take alone, in whole nanoseconds, and its *speed* the
share of that pace which it gets: alone it runs at speed 1 and ends exactly on time. A flow has
ended when less than 2^-40 of its work is left, which is what rounding may leave behind.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexsim.numba_cache import inlined, kept_on_disk
from flexsim.ragged import Csr
from flexsim.task_graph.columns import Int32, Int64

Float64 = NDArray[np.float64]

NEVER_NS = 2**62
"""The end of a flow that does not run."""
_NONE = -1
_NEGLIGIBLE = 2.0**-40


class Shares(NamedTuple):
    """Flows, links and what each gets of the other; a *slot* is a flow on one of its links."""

    first: Int64
    """Flow to its first slot, and where the last flow's slots end."""
    link: Int32
    """Link of every slot."""
    owner: Int32
    """Flow of every slot."""
    most: Float64
    """The most bytes a second that a flow can take."""
    weight: Float64
    """Share of its link that a slot takes for each byte a second."""
    work_ns: Int64
    head: Int32
    """Link to the first slot of the flows that run on it; -1 for none."""
    after: Int32
    """Slot to the next one on its link; -1 at the end."""
    before: Int32
    left_ns: Float64
    """Work that a flow had left when its speed last changed."""
    speed: Float64
    """0 for a flow that does not run."""
    since_ns: Int64
    """When its speed last changed."""
    end_ns: Int64
    """When it will end at this speed."""
    running: Int32
    """Flows that run, ``counters[0]`` of them, in no order."""
    place: Int32
    """Position of a flow in ``running``; -1 for a flow that does not run."""
    counters: Int64
    """How many flows run, and how often rates were found."""
    met: Int64
    """Link to the number of the last search that met it (``counters[1]`` numbers them)."""
    seen: Int64
    """The same for flows."""
    free: Float64
    """Share of a link that is not given away, while rates are found."""
    rising: Int32
    """Flows on a link whose rates still rise, while rates are found."""
    rising_weight: Float64
    """What these take of the link for each byte a second."""
    rate: Float64
    """Bytes a second that a flow was found to get; negative while its rate still rises."""


def new_shares(
    routes: Csr,
    work_ns: Int64,
    most: Float64,
    capacity: Float64,
    own_capacity: Float64 | None = None,
) -> Shares:
    """Return the state in which no flow runs.

    ``capacity`` is what each link carries, in bytes a second; ``own_capacity``, a value a link
    of ``routes``, what it would carry of flows like that one alone, where these differ.
    """
    own = capacity[routes.values] if own_capacity is None else own_capacity
    num_flows, num_slots, num_links = len(work_ns), len(routes.values), len(capacity)
    return Shares(
        first=np.ascontiguousarray(routes.offsets, np.int64),
        link=np.ascontiguousarray(routes.values, np.int32),
        owner=routes.rows.astype(np.int32),
        most=np.ascontiguousarray(most, np.float64),
        weight=1.0 / own,
        work_ns=np.ascontiguousarray(work_ns, np.int64),
        head=np.full(num_links, _NONE, np.int32),
        after=np.full(num_slots, _NONE, np.int32),
        before=np.full(num_slots, _NONE, np.int32),
        left_ns=work_ns.astype(np.float64),
        speed=np.zeros(num_flows),
        since_ns=np.zeros(num_flows, np.int64),
        end_ns=np.full(num_flows, NEVER_NS),
        running=np.zeros(num_flows, np.int32),
        place=np.full(num_flows, _NONE, np.int32),
        counters=np.zeros(2, np.int64),
        met=np.zeros(num_links, np.int64),
        seen=np.zeros(num_flows, np.int64),
        free=np.zeros(num_links),
        rising=np.zeros(num_links, np.int32),
        rising_weight=np.zeros(num_links),
        rate=np.zeros(num_flows),
    )


@inlined
def _begin(shares: Shares, flow: int) -> None:
    """Put a flow on the links of its route."""
    for slot in range(shares.first[flow], shares.first[flow + 1]):
        link = shares.link[slot]
        following = shares.head[link]
        shares.before[slot], shares.after[slot] = _NONE, following
        if following != _NONE:
            shares.before[following] = slot
        shares.head[link] = slot
    shares.place[flow] = shares.counters[0]
    shares.running[shares.counters[0]] = flow
    shares.counters[0] += 1


@inlined
def _finish(shares: Shares, flow: int) -> None:
    """Take a flow off the links of its route."""
    for slot in range(shares.first[flow], shares.first[flow + 1]):
        before, after = shares.before[slot], shares.after[slot]
        if before == _NONE:
            shares.head[shares.link[slot]] = after
        else:
            shares.after[before] = after
        if after != _NONE:
            shares.before[after] = before
    shares.speed[flow], shares.end_ns[flow] = 0.0, NEVER_NS
    shares.counters[0] -= 1
    other, place = shares.running[shares.counters[0]], shares.place[flow]
    shares.running[place], shares.place[other] = other, place
    shares.place[flow] = _NONE


@inlined
def _meet(shares: Shares, flow: int, links: Int32, num_links: int) -> int:
    """Append the links of a flow that the search has not met; return how many there are now."""
    for slot in range(shares.first[flow], shares.first[flow + 1]):
        link = shares.link[slot]
        if shares.met[link] != shares.counters[1]:
            shares.met[link] = shares.counters[1]
            shares.free[link], shares.rising[link], shares.rising_weight[link] = 1.0, 0, 0.0
            links[num_links] = link
            num_links += 1
    return num_links


@inlined
def _affected(shares: Shares, changed: Int32, links: Int32, flows: Int32) -> tuple[int, int]:
    """Find all that shares links, at whatever remove, with the flows that changed."""
    shares.counters[1] += 1
    num_links, num_flows, at = 0, 0, 0
    for flow in changed:
        num_links = _meet(shares, flow, links, num_links)
        if shares.place[flow] != _NONE and shares.first[flow] == shares.first[flow + 1]:
            shares.rate[flow], flows[num_flows] = -1.0, flow
            num_flows += 1
    while at < num_links:
        slot = shares.head[links[at]]
        while slot != _NONE:
            flow = shares.owner[slot]
            shares.rising[links[at]] += 1
            shares.rising_weight[links[at]] += shares.weight[slot]
            if shares.seen[flow] != shares.counters[1]:
                shares.seen[flow] = shares.counters[1]
                shares.rate[flow], flows[num_flows] = -1.0, flow
                num_flows += 1
                num_links = _meet(shares, flow, links, num_links)
            slot = shares.after[slot]
        at += 1
    return num_links, num_flows


@inlined
def _still_rising(shares: Shares, links: Int32, num_links: int) -> int:
    """Keep the links on which rates still rise; return how many they are."""
    kept = 0
    for link in links[:num_links]:
        if shares.rising[link]:
            links[kept] = link
            kept += 1
    return kept


@inlined
def _lowest(shares: Shares, links: Int32, flows: Int32) -> float:
    """Return the rate at which the next link is full or the next flow has all it can take."""
    lowest = np.inf
    for link in links:
        lowest = min(lowest, shares.free[link] / shares.rising_weight[link])
    for flow in flows:
        lowest = min(lowest, shares.most[flow])
    return lowest


@inlined
def _full(shares: Shares, links: Int32, lowest: float, full: Int32) -> int:
    """Collect the links that are full when all rates have risen to ``lowest``."""
    count = 0
    for link in links:
        if shares.free[link] / shares.rising_weight[link] == lowest:
            full[count] = link
            count += 1
    return count


@inlined
def _fix(shares: Shares, flow: int, rate: float) -> None:
    shares.rate[flow] = rate
    for slot in range(shares.first[flow], shares.first[flow + 1]):
        link, weight = shares.link[slot], shares.weight[slot]
        shares.free[link] -= rate * weight
        shares.rising[link] -= 1
        shares.rising_weight[link] -= weight


@inlined
def _fix_on(shares: Shares, full: Int32, rate: float) -> None:
    """Fix the rate of every flow on a full link."""
    for link in full:
        slot = shares.head[link]
        while slot != _NONE:
            if shares.rate[shares.owner[slot]] < 0:
                _fix(shares, shares.owner[slot], rate)
            slot = shares.after[slot]


@inlined
def _fix_at_most(shares: Shares, flows: Int32, rate: float) -> int:
    """Fix flows that can take no more; keep those that still rise and return how many."""
    kept = 0
    for flow in flows:
        if shares.rate[flow] < 0 and shares.most[flow] == rate:
            _fix(shares, flow, rate)
        if shares.rate[flow] < 0:
            flows[kept] = flow
            kept += 1
    return kept


@inlined
def _take_speed(shares: Shares, flow: int, now_ns: int) -> bool:
    """Let a flow run on at the rate that was found; return whether its speed changed."""
    speed = shares.rate[flow] / shares.most[flow]
    if speed == shares.speed[flow]:
        return False
    shares.left_ns[flow] -= shares.speed[flow] * (now_ns - shares.since_ns[flow])
    left_ns = shares.left_ns[flow] - _NEGLIGIBLE * shares.work_ns[flow]
    shares.speed[flow], shares.since_ns[flow] = speed, now_ns
    shares.end_ns[flow] = now_ns + np.int64(max(1.0, np.ceil(left_ns / speed)))
    return True


@kept_on_disk
def change(shares: Shares, begun: Int32, finished: Int32, now_ns: int) -> Int32:
    """Let flows begin and finish at one instant; return those whose speed has changed."""
    for flow in finished:
        _finish(shares, flow)
    for flow in begun:
        _begin(shares, flow)
    changed = np.concatenate((finished, begun))
    links = np.empty(len(shares.head), np.int32)
    flows = np.empty(shares.counters[0], np.int32)
    num_links, num_flows = _affected(shares, changed, links, flows)
    affected = flows[:num_flows].copy()
    full = np.empty(num_links, np.int32)
    while num_flows:
        num_links = _still_rising(shares, links, num_links)
        lowest = _lowest(shares, links[:num_links], flows[:num_flows])
        num_full = _full(shares, links[:num_links], lowest, full)
        _fix_on(shares, full[:num_full], lowest)
        num_flows = _fix_at_most(shares, flows[:num_flows], lowest)
    kept = 0
    for flow in affected:
        if _take_speed(shares, flow, now_ns):
            affected[kept] = flow
            kept += 1
    return affected[:kept]


def fair_rates(routes: Csr, most: Float64, capacity: Float64) -> Float64:
    """Return the bytes a second of flows that all run at once.

    ``routes`` holds the links of every flow, ``most`` what a flow can take at most (infinite for
    no limit where it has a link), ``capacity`` what every link carries.
    """
    num_flows = len(most)
    shares = new_shares(routes, np.ones(num_flows, np.int64), most, capacity)
    change(shares, np.arange(num_flows, dtype=np.int32), np.zeros(0, np.int32), 0)
    return shares.rate
