"""Rings along the dimensions of a torus, all dimensions and both directions at once.

Every dimension and direction begins with a share of the message and goes on to the next
dimension with what is left: Sack and Gropp, "Collective algorithms for multiported torus
networks", 2015. An all-gather takes the same ways backwards.
"""

from __future__ import annotations

import math

import numpy as np

from flexsim.collectives.flows import Flows, Plan, flows, in_turn, joined
from flexsim.collectives.program import Int64
from flexsim.collectives.ring import BACKWARD, FORWARD

_LEGS = {"all-reduce": (True, False), "reduce-scatter": (True,), "all-gather": (False,)}
"""Whether receivers add, for each time through all dimensions."""


def torus(collective: str, layout: tuple[int, ...]) -> Plan:
    """Return reduce-scatter, all-gather, or an all-reduce of both, on a torus of any sizes."""
    sizes = tuple(size for size in layout if size > 1)
    ways = [(first, way) for first in range(len(sizes)) for way in (FORWARD, BACKWARD)]
    shares = [_Share(sizes, *way, channel) for channel, way in enumerate(ways)]
    owner = np.concatenate([np.argsort(share.part) for share in shares])
    plans = [share.flows(_LEGS[collective]) for share in shares]
    return Plan(joined(plans), len(shares) * math.prod(sizes), owner)


class _Share:
    """One share of the message: it takes the dimensions in turn from ``first`` on.

    Part p of it belongs to the member whose coordinates, in this order of dimensions, are
    the digits of p.
    """

    def __init__(self, sizes: tuple[int, ...], first: int, way: int, channel: int) -> None:
        self.order = [(first + at) % len(sizes) for at in range(len(sizes))]
        self.sizes, self.way, self.channel = sizes, way, channel
        self.members = np.arange(math.prod(sizes), dtype=np.int64)
        self.places = np.unravel_index(self.members, sizes)
        turned = tuple(self.places[dim] for dim in self.order)
        self.part = np.ravel_multi_index(turned, [sizes[dim] for dim in self.order])

    def flows(self, legs: tuple[bool, ...]) -> Flows:
        """Return reduce-scatters along the order of dimensions and all-gathers against it."""
        dims = range(len(self.order))
        passes = [(at, reducing) for reducing in legs for at in (dims if reducing else dims[::-1])]
        return in_turn([self._round(at, reducing) for at, reducing in passes])

    def _round(self, at: int, reducing: bool) -> Flows:
        """Return one time round the rings of one dimension."""
        dim = self.order[at]
        size, here = self.sizes[dim], self.places[dim]
        below = math.prod(self.sizes[d] for d in self.order[at + 1 :])
        step = np.arange(size - 1, dtype=np.int64)[:, None]
        block = (here - self.way * (step + reducing)) % size
        above = self.part // (below * size)
        return flows(
            step=step,
            channel=self.channel,
            source=self.members,
            target=self._neighbour(dim),
            first_part=self.channel * len(self.members) + (above * size + block) * below,
            part_stride=1,
            parts=below,
            sums=int(reducing),
        )

    def _neighbour(self, dim: int) -> Int64:
        places = list(self.places)
        places[dim] = (places[dim] + self.way) % self.sizes[dim]
        return np.asarray(np.ravel_multi_index(tuple(places), self.sizes), np.int64)
