"""Rounds: collectives whose steps are alike, replayed without writing all their flows down.

A ring of n members sends in each of its n - 1 or 2(n - 1) steps the same flows over the same
routes, n a channel, and each flow waits for one of the step before. So one step says all, and
the replay goes on for as many as there are (:mod:`flexsim.network.rounds_kernel`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flexsim.collectives.layouts import ring_orders
from flexsim.cost.collectives import Communication
from flexsim.network.roads import COLLECTIVE, find_roads, road_key
from flexsim.network.rounds_kernel import Lanes, Queue, replay_rounds
from flexsim.ragged import Csr, rows_of
from flexsim.task_graph.columns import Int64
from flexsim.units import NS_PER_S

_PASSES = {"all-reduce": 2, "reduce-scatter": 1, "all-gather": 1}
_DIRECTIONS = {"ring": (1,), "bidirectional-ring": (1, -1)}


@dataclass(frozen=True, eq=False)
class Rounds:
    """``num_steps`` times the same flows, a row each of which sends 1 / ``num_parts``.

    Flow j of a step starts when flow ``before[j]`` of the step before it has arrived.
    """

    source: Int64
    target: Int64
    before: Int64
    num_parts: int
    num_steps: int

    @property
    def num_flows(self) -> int:
        """Flows of all steps."""
        return len(self.source) * self.num_steps


@dataclass(frozen=True)
class Alone:
    """What a collective takes that nothing else disturbs, and how much of it was replayed."""

    time_ns: int
    num_flows: int
    num_replayed: int
    """Flows that were replayed one by one; the others repeat them."""


def rounds_of(collective: str, algorithm: str, layout: tuple[int, ...]) -> Rounds | None:
    """Return the program of a collective as rounds; None for one of another form.

    In a program the flows of a second time round also wait for earlier ones over the link from
    which their last one comes. These have arrived before it, since equal flows that take the
    same links in the same order cannot overtake each other.
    """
    if collective not in _PASSES or algorithm not in _DIRECTIONS:
        return None
    orders = ring_orders(layout)
    orders = np.concatenate([orders[:, ::way] for way in _DIRECTIONS[algorithm]])
    num_rings, n = orders.shape
    row = np.arange(num_rings * n).reshape(num_rings, n)
    return Rounds(
        source=orders.reshape(-1),
        target=np.roll(orders, -1, axis=1).reshape(-1),
        before=np.roll(row, 1, axis=1).reshape(-1),
        num_parts=num_rings * n,
        num_steps=_PASSES[collective] * (n - 1),
    )


def replay(
    rounds: Rounds,
    communication: Communication,
    devices: Int64,
    num_bytes: int,
    jumps: bool = True,
) -> Alone | None:
    """Return how long the rounds of ``num_bytes`` take among ``devices`` that do nothing else.

    Without ``jumps`` every flow is replayed; the result is the same. None where times are so
    long that they have no room beside the numbers of flows.
    """
    lanes = _lanes(rounds, communication, devices, num_bytes)
    width, shift = len(lanes.wire_ns), max(1, (rounds.num_flows - 1).bit_length())
    num_links = int(lanes.link.max(initial=-1)) + 1
    heap = np.arange(width, dtype=np.int64)
    queue = Queue(heap, np.zeros(num_links, np.int64), np.full(rounds.num_steps, width))
    fronts = np.zeros((2, 2 * width + num_links), np.int64)
    time_ns, num_replayed = replay_rounds(lanes, queue, shift, fronts, jumps)
    return None if time_ns < 0 else Alone(time_ns, rounds.num_flows, num_replayed)


def _lanes(rounds: Rounds, communication: Communication, devices: Int64, num_bytes: int) -> Lanes:
    """Return the flows of a step on their routes, whose links are numbered anew."""
    num_devices = communication.device_graph.num_devices
    ends = (devices[rounds.source], devices[rounds.target])
    keys, way = np.unique(road_key(COLLECTIVE, *ends, num_devices), return_inverse=True)
    roads, way = find_roads(communication, keys), way.reshape(-1)
    routes = rows_of(Csr(roads.first_link, roads.link), way)
    _, link = np.unique(routes.values, return_inverse=True)
    exact_ns = num_bytes / rounds.num_parts / roads.rate[way] * NS_PER_S
    after = np.empty_like(rounds.before)
    after[rounds.before] = np.arange(len(after))
    return Lanes(
        np.maximum(np.rint(exact_ns), 1).astype(np.int64),
        roads.latency_ns[way],
        routes.offsets,
        link.reshape(-1).astype(np.int32),
        after,
        rounds.before,
    )
