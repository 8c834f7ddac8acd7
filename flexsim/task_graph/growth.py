"""Growing a seed: the templates, memory and work of a long pipeline on given devices."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from flexsim.ragged import Csr
from flexsim.task_graph.columns import Int32, Int64, ResourceTable
from flexsim.task_graph.issue import issued_ns
from flexsim.task_graph.kinds import NUM_COMPUTE_KINDS
from flexsim.task_graph.places import Sorted
from flexsim.task_graph.rows import B, F
from flexsim.task_graph.site import Site
from flexsim.task_graph.strips import BLOCKS, Strip
from flexsim.task_graph.symbolic import SYMBOL
from flexsim.task_graph.templates import Ends, Templates
from flexsim.task_graph.uniform import Seed


class Grown:
    """A seed grown to a pipeline of equal stages with ``layers_per_stage`` layers each."""

    def __init__(self, seed: Seed, site: Site, layers_per_stage: int) -> None:
        """Keep what is given; nothing is computed yet."""
        self.seed = seed
        self.site = site
        self.extra = layers_per_stage - seed.num_blocks

    def like(self, stage: int) -> int:
        """Return the stage of the small pipeline that a global stage is like."""
        if stage == self.site.num_stages - 1:
            return self.seed.num_stages - 1
        return min(stage, 1)

    @cached_property
    def strips(self) -> dict[tuple[int, int], Strip]:
        """The strips of the small pipeline's stages with all their layers."""
        return self.seed.stretched(self.extra)

    @cached_property
    def order(self) -> list[tuple[int, int]]:
        """(stage, action) of every template of forward and backward, in order."""
        return [(stage, action) for stage in range(self.site.num_stages) for action in (F, B)]

    @cached_property
    def offsets(self) -> Int64:
        """The first task of every template of forward and backward, and the number of all."""
        sizes = [self.strips[self.like(stage), action].num_tasks for stage, action in self.order]
        return np.cumsum([0, *sizes])

    def templates(self) -> Templates:
        """Return the templates of forward and backward, and empty ones of the updates."""
        strips = [self.strips[self.like(stage), action] for stage, action in self.order]
        sources, targets = self._edges(strips)
        stage = np.repeat([stage for stage, _ in self.order], np.diff(self.offsets))
        held, table = self._held(strips, stage)
        nothing = [Ends(*[_nowhere()] * 5)] * self.site.num_ranks
        updates = np.full(self.site.num_ranks, self.offsets[-1])
        count = int(self.offsets[-1])
        return Templates(
            num_stages=self.site.num_stages,
            num_ranks=self.site.num_ranks,
            offsets=np.concatenate([self.offsets, updates]),
            operator=self._operators(strips, stage),
            kind=np.concatenate([strip.kind for strip in strips]),
            part=np.zeros(count, np.int32),
            duration_ns=self._durations_ns(strips),
            num_bytes=np.concatenate([strip.num_bytes for strip in strips]),
            held=held,
            resource_table=table,
            sources=sources,
            targets=targets,
            ends=(*(self._ends(number, strip) for number, strip in enumerate(strips)), *nothing),
        )

    def _operators(self, strips: list[Strip], stage: Int64) -> Int32:
        """Return the numbers of the tasks' operators in the long model; -1 for none."""
        seed, extra = self.seed, self.extra
        operator = np.concatenate([strip.operator for strip in strips])
        copy = np.concatenate([strip.copy for strip in strips])
        forward = np.repeat([action == F for _, action in self.order], np.diff(self.offsets))
        num_layers = seed.num_stages * seed.num_blocks
        layer, inside = np.divmod(operator - seed.num_before, seed.block_size)
        small_stage, local = np.divmod(layer, seed.num_blocks)
        middle = (local == 1) & (seed.num_blocks == BLOCKS)
        copy = np.where(forward, copy, extra - copy)
        local = local + np.where(middle, copy, np.where(local > 0, extra, 0))
        here = stage + small_stage - self._likes[stage]
        layers = here * (seed.num_blocks + extra) + local
        number = seed.num_before + layers * seed.block_size + inside
        more = (self.site.num_stages * (seed.num_blocks + extra) - num_layers) * seed.block_size
        number = np.where(layer >= num_layers, operator + more, number)
        outside = (layer < 0) | (operator < 0)
        return np.where(outside, operator, number).astype(np.int32)

    @cached_property
    def _likes(self) -> Int64:
        return np.array([self.like(stage) for stage in range(self.site.num_stages)])

    def _ends(self, number: int, strip: Strip) -> Ends:
        device = int(self.site.representatives[self.site.rank(self.order[number][0])])
        sides = (strip.exits, strip.tails, strip.entries, strip.heads, strip.sends)
        return Ends(*(Sorted(np.full(len(side), device, np.int32), side) for side in sides))

    def _durations_ns(self, strips: list[Strip]) -> Int64:
        """Return all durations, with prices for symbols of messages, and waits for the host."""
        durations_ns = np.concatenate([strip.duration_ns for strip in strips])
        symbolic = np.flatnonzero(durations_ns >= SYMBOL)
        template = np.searchsorted(self.offsets, symbolic, side="right") - 1
        stage = template // 2
        prices = self.prices
        durations_ns[symbolic] = prices[durations_ns[symbolic] - SYMBOL, stage]
        parts = np.split(durations_ns, self.offsets[1:-1])
        return np.concatenate([issued_ns(*pair) for pair in zip(strips, parts, strict=True)])

    @cached_property
    def prices(self) -> Int64:
        """The price of every message at every global stage; -1 where it does not occur."""
        table = np.full((len(self.seed.messages), self.site.num_stages), -1, np.int64)
        ranks = np.arange(self.site.num_stages) % self.site.num_ranks
        for number, message in enumerate(self.seed.messages):
            table[number] = self.site.prices_ns(message, self.seed)[ranks]
        return table

    def _held(self, strips: list[Strip], stage: Int64) -> tuple[Csr, ResourceTable]:
        """Return what every task holds: a stream of its rank, or a channel from it."""
        toward = np.concatenate([strip.toward for strip in strips])
        kind = np.concatenate([strip.kind for strip in strips]).astype(np.int64)
        on_compute = (kind < NUM_COMPUTE_KINDS) & (toward == 0)
        representatives = self.site.representatives.astype(np.int64)
        device = representatives[stage % self.site.num_ranks]
        peer = representatives[(stage + toward) % self.site.num_ranks]
        triples = np.stack(
            [np.where(on_compute, 0, kind), device, np.where(toward, peer, -1)], axis=1
        )
        return _resources(triples)

    def _edges(self, strips: list[Strip]) -> tuple[Int64, Int64]:
        sources = [strip.sources + at for strip, at in zip(strips, self.offsets, strict=False)]
        targets = [strip.targets + at for strip, at in zip(strips, self.offsets, strict=False)]
        for number, (stage, action) in enumerate(self.order):
            for crossing in self.seed.strips.crossings:
                if crossing.target != (self.like(stage), action):
                    continue
                near = crossing.source[0] - crossing.target[0]
                source = 2 * (stage + near) + crossing.source[1]
                old = self.seed.strips.of[crossing.source].num_tasks
                back = old - crossing.sources
                sources.append(self.offsets[source + 1] - back)
                targets.append(crossing.targets + self.offsets[number])
        return np.concatenate(sources), np.concatenate(targets)


def likes(num_stages: int, seed: Seed) -> Int64:
    """Return the stage of the small pipeline that each of ``num_stages`` stages is like."""
    found = np.minimum(np.arange(num_stages), 1)
    found[-1] = seed.num_stages - 1
    return found


def operator_in_long(grown: Grown, key: tuple[int, int], num_stages: int, kernel: int) -> int:
    """Return the number in the long model of the operator of a kernel; -1 for none.

    ``key`` is the global stage of ``num_stages``, and the action; kernels are counted in it.
    """
    seed, extra, (stage, action) = grown.seed, grown.extra, key
    like = int(likes(num_stages, seed)[stage])
    strip = grown.strips[like, action]
    kernels = np.flatnonzero(strip.kind < NUM_COMPUTE_KINDS)
    if not 0 <= kernel < len(kernels):
        return -1
    operator, copy = int(strip.operator[kernels[kernel]]), int(strip.copy[kernels[kernel]])
    layer, inside = divmod(operator - seed.num_before, seed.block_size)
    if operator < 0 or layer < 0:
        return operator
    num_layers = seed.num_stages * seed.num_blocks
    if layer >= num_layers:
        more = num_stages * (seed.num_blocks + extra) - num_layers
        return operator + more * seed.block_size
    small_stage, local = divmod(layer, seed.num_blocks)
    if local == 1 and seed.num_blocks == BLOCKS:
        local += copy if action == F else extra - copy
    elif local > 0:
        local += extra
    layers = (stage + small_stage - like) * (seed.num_blocks + extra) + local
    return seed.num_before + layers * seed.block_size + inside


def _nowhere() -> Sorted:
    return Sorted(np.zeros(0, np.int32), np.zeros(0, np.int64))


def _resources(triples: Int64) -> tuple[Csr, ResourceTable]:
    """Return one resource a task, and the table of (kind, device, peer) in this order."""
    width = int(triples[:, 1:].max(initial=0)) + 2
    keys = (triples[:, 0] * width + triples[:, 1]) * width + triples[:, 2] + 1
    distinct, ids = np.unique(keys, return_inverse=True)
    rest, peer = np.divmod(distinct, width)
    kind, device = np.divmod(rest, width)
    table = ResourceTable(
        kind.astype(np.uint8), device.astype(np.int32), (peer - 1).astype(np.int32)
    )
    return Csr(np.arange(len(triples) + 1), ids.reshape(-1).astype(np.int32)), table
