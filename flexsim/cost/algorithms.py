"""How long a collective's algorithms take on given rings, as α-β closed forms.

Each algorithm gives the seconds that bytes need and the seconds of latency, a value a group.
``S`` is the full message: the buffer of an all-reduce, the result of an all-gather, the input
of a reduce-scatter, each member's buffer of an all-to-all. ``n = H · k`` members, ``k`` on
each of ``H`` hosts; ``B`` and ``α`` are a ring's bandwidth and the latency of one step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexsim.collectives.ring import CHAIN_PIECES
from flexsim.cost.rings import Rings
from flexsim.units import NS_PER_S

Float = NDArray[np.float64]


class Cost(NamedTuple):
    """Seconds, one value a group."""

    transfer_s: Float
    latency_s: Float


Algorithm = Callable[[Float, Rings], Cost]


def flat_ring(passes: int) -> Algorithm:
    """Return the ring of all members, ``passes·(n-1)/n·S/B + passes·(n-1)·α``.

    Between hosts its channels use all rails at once: ``B = min(B_local, k·B_rail)``.
    An all-reduce passes twice, all-gather and reduce-scatter once.
    """

    def price(num_bytes: Float, rings: Rings) -> Cost:
        n = rings.num_members
        transfer = passes * (n - 1) / n * num_bytes / _ring_bandwidth(rings)
        return Cost(transfer, passes * (n - 1) * _mean_step_s(rings))

    return price


def hierarchical(passes: int) -> Algorithm:
    """Return local rings on ``S`` and, on each member's share ``S/k``, its own rail's ring."""

    def price(num_bytes: Float, rings: Rings) -> Cost:
        hosts, k = rings.num_hosts, rings.members_per_host
        local, local_latency = _local_part(num_bytes, rings)
        rail = (hosts - 1) / hosts * num_bytes / k / rings.rail_bandwidth_bytes_per_s
        rail_latency = (hosts - 1) * rings.rail_latency_ns / NS_PER_S
        return Cost(passes * (local + rail), passes * (local_latency + rail_latency))

    return price


def tree_all_reduce(num_bytes: Float, rings: Rings) -> Cost:
    """A double binary tree over the hosts: ``2·S/k/B + 2·⌈log₂ H⌉·α``, as NCCL 2.4 brought.

    Chunks stream through it, so that local rings and trees work side by side.
    """
    local, local_latency = _local_part(num_bytes, rings)
    rail = num_bytes / rings.members_per_host / rings.rail_bandwidth_bytes_per_s
    depth = np.ceil(np.log2(rings.num_hosts))
    rail_latency = depth * rings.rail_latency_ns / NS_PER_S
    return Cost(2 * np.maximum(local, rail), 2 * (local_latency + rail_latency))


def in_switch_all_reduce(num_bytes: Float, rings: Rings) -> Cost:
    """Sums inside the switch of one host, every byte up and down once: ``S/B + α``.

    A group of which some switch cannot sum, or on several hosts, takes the ring.
    """
    able = can_sum(rings)
    rate = np.minimum(rings.in_switch_bandwidth_bytes_per_s, rings.local_bandwidth_bytes_per_s)
    ring = flat_ring(2)(num_bytes, rings)
    transfer = np.where(able, num_bytes / np.where(able, rate, 1.0), ring.transfer_s)
    latency = np.where(able, rings.in_switch_latency_ns / NS_PER_S, ring.latency_s)
    return Cost(transfer, latency)


def can_sum(rings: Rings) -> NDArray[np.bool_]:
    """Return for which groups a switch sums: those in one host whose switch can."""
    able = rings.in_switch_bandwidth_bytes_per_s > 0
    return np.asarray((rings.num_hosts == 1) & able, np.bool_)


def star_all_reduce(num_bytes: Float, rings: Rings) -> Cost:
    """One member adds up whole buffers and hands the sum back; see :mod:`flexsim.cost.stars`."""
    return Cost(num_bytes * rings.star_s_per_byte, rings.star_latency_ns / NS_PER_S)


def pairwise_all_to_all(num_bytes: Float, rings: Rings) -> Cost:
    """Every member sends ``S/n`` to every other; local ports and rails work side by side."""
    n, k = rings.num_members, rings.members_per_host
    local = (k - 1) / n * num_bytes / rings.local_bandwidth_bytes_per_s
    rail = (n - k) / n * num_bytes / rings.rail_bandwidth_bytes_per_s
    latency = np.maximum(rings.local_latency_ns, rings.rail_latency_ns) / NS_PER_S
    return Cost(np.maximum(local, rail), latency)


def pipelined_broadcast(num_bytes: Float, rings: Rings) -> Cost:
    """A chain of all members in c pieces: ``(c+n-2)/c·S/B + (n-1)·α``."""
    steps = rings.num_members - 1
    filling = (CHAIN_PIECES + steps - 1) / CHAIN_PIECES
    return Cost(filling * num_bytes / _ring_bandwidth(rings), steps * _mean_step_s(rings))


STAR = "star"
ALGORITHMS: Mapping[str, Mapping[str, Algorithm]] = {
    "all-reduce": {
        "ring": flat_ring(2),
        "hierarchical": hierarchical(2),
        "tree": tree_all_reduce,
        "in-network": in_switch_all_reduce,
        STAR: star_all_reduce,
    },
    "all-gather": {"ring": flat_ring(1), "hierarchical": hierarchical(1)},
    "reduce-scatter": {"ring": flat_ring(1), "hierarchical": hierarchical(1)},
    "all-to-all": {"direct": pairwise_all_to_all},
    "broadcast": {"ring": pipelined_broadcast},
}
"""The algorithms of every collective that follow from rings alone."""


def _ring_bandwidth(rings: Rings) -> Float:
    rails = rings.members_per_host * rings.rail_bandwidth_bytes_per_s
    return np.minimum(rings.local_bandwidth_bytes_per_s, rails)


def _mean_step_s(rings: Rings) -> Float:
    """The mean over the ring's n steps, of which one a host crosses to the next host."""
    crossing = rings.num_hosts / rings.num_members * (rings.num_hosts > 1)
    mean = crossing * rings.rail_latency_ns + (1 - crossing) * rings.local_latency_ns
    return np.asarray(mean / NS_PER_S, np.float64)


def _local_part(num_bytes: Float, rings: Rings) -> tuple[Float, Float]:
    k = rings.members_per_host
    transfer = (k - 1) / k * num_bytes / rings.local_bandwidth_bytes_per_s
    return transfer, (k - 1) * rings.local_latency_ns / NS_PER_S
