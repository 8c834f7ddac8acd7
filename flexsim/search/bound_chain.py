"""A lower bound for chains: every unit one operator, which reads what the one before writes.

A prefix of a chain with its configs is known by a few numbers a device: when its forward ends,
and how long after the backward of its last unit may begin what follows takes at least. Rows of
one device run in the order in which they become ready. So where an input gradient and the weight
gradients of an operator wait for the same rows, both run before the backward of the operator
below on that device: the paths of this bound run through both. Collectives of gradients follow
one another on the stream of their kind.

What follows a prefix is bounded by the least over all its configs, of two sums: the path to the
loss and back, and the path to the loss with all synchronizations after it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexsim.search.exhaustive_tables import NEVER, Bits, EdgeTable, UnitTable
from flexsim.search.prices import Int64


@dataclass(frozen=True, eq=False)
class Prefix:
    """Prefixes of a chain, a line each; arrays ``[line, device]`` or ``[line, from, end]``.

    ``ready_ns`` is when the forward ends. ``block_ns`` is the longest path from when all the
    backward of the last unit may begin on a device to the last task on another before its
    optimizer's step, if that unit's weight gradients are ready early (first line) or not;
    ``back_ns`` from when its input gradient may begin. ``queue_ns`` is for how long the last
    unit and those below it synchronize one after the other on a device. ``sync_ns``, ``load_ns``
    and ``parameters`` are sums by device.
    """

    ready_ns: Int64
    block_ns: Int64
    back_ns: Int64
    queue_ns: Int64
    sync_ns: Int64
    load_ns: Int64
    parameters: Int64
    is_kept: Bits

    def line(self, number: int) -> Prefix:
        """Return one of the prefixes."""
        at = slice(number, number + 1)
        return Prefix(
            self.ready_ns[at],
            self.block_ns[:, at],
            self.back_ns[at],
            self.queue_ns[:, at],
            self.sync_ns[at],
            self.load_ns[at],
            self.parameters[at],
            self.is_kept[at],
        )

    def renumbered(self, numbers: NDArray[np.int64]) -> Prefix:
        """Return a prefix with devices numbered anew."""
        ends = np.ix_(numbers, numbers)
        return Prefix(
            self.ready_ns[:, numbers],
            self.block_ns[:, :, ends[0], ends[1]],
            self.back_ns[:, ends[0], ends[1]],
            self.queue_ns[:, :, numbers],
            self.sync_ns[:, numbers],
            self.load_ns[:, numbers],
            self.parameters[:, numbers],
            self.is_kept,
        )


def begin(table: UnitTable) -> Prefix:
    """Return the prefixes of the first unit, a line a config."""
    shape = table.uses.shape
    below = np.full((2, *shape, shape[1]), NEVER, np.int64)
    queue = np.zeros((2, *shape), np.int64)
    kept = np.ones(shape[0], bool)
    ready = np.where(table.uses, table.forward_ns, NEVER)
    nothing = np.zeros(shape, np.int64)
    above = Prefix(nothing, below, below[0], queue, nothing, nothing, nothing, kept)
    return _extended(table, ready, (below[0], below[0], queue[0]), above, kept)


def extend(
    prefix: Prefix, form: int, edge: EdgeTable, below: UnitTable, table: UnitTable
) -> Prefix:
    """Return one prefix with every config of the next unit.

    The last unit of ``prefix``, in ``below``, has its ``form``-th first form.
    """
    forward, backward = edge.forward_ns[form], edge.backward_ns[form]
    arrives = (prefix.ready_ns[0][:, None] + forward).max(1)
    ready = np.where(table.uses, arrives + table.forward_ns, NEVER)
    joint = bool(below.is_joint[below.first_forms[form]]) | below.is_weightless
    early = edge.is_early[form] | joint
    certain = (early & prefix.is_kept[0]) | below.is_weightless
    block = np.where(certain[:, None, None], prefix.block_ns[0, 0], prefix.block_ns[1, 0])
    queue = np.where(certain[:, None], prefix.queue_ns[0, 0], prefix.queue_ns[1, 0])
    follows = np.diagonal(backward, axis1=1, axis2=2) > NEVER // 2
    is_next = (early[:, None] & follows)[:, :, None]
    own = np.where(is_next, block, np.where(follows[:, :, None], prefix.back_ns[0], NEVER))
    back = block if joint else np.broadcast_to(prefix.back_ns[0], block.shape)
    path = (backward[:, :, :, None] + back[:, None]).max(2)
    lower = (np.maximum(path, own), own, np.where(is_next[:, :, 0], queue, 0))
    return _extended(table, ready, lower, prefix, edge.is_kept[form])


def _extended(
    table: UnitTable,
    ready: Int64,
    lower: tuple[Int64, Int64, Int64],
    prefix: Prefix,
    kept: Bits,
) -> Prefix:
    """Return prefixes with a unit added, where ``lower`` has what comes after it in the backward.

    That is from the end of its input gradient, from the end of all its backward, and the
    synchronizations that follow its own.
    """
    after_back, after_block, queue = lower
    size = table.uses.shape[1]
    ends = np.where(np.eye(size, dtype=bool), 0, NEVER)
    back = table.back_ns[:, :, None] + np.maximum(after_back, ends)
    own = table.block_ns[:, :, None]
    heads = np.where((table.is_joint & kept)[:, None], table.sync_after_ns, table.sync_alone_ns)
    blocks, queues = [], []
    for in_order in (True, False):
        longest = np.maximum(own + ends, own + after_block if in_order else NEVER)
        goes_on = queue if in_order else np.zeros_like(queue)
        for k in range(len(heads)):
            end = _last(heads[k:], table.sync_ns[k:]) + goes_on
            longest = np.maximum(longest, end[:, :, None] + ends)
        blocks.append(np.where(table.uses[:, :, None], np.maximum(longest, back), NEVER))
        queues.append(table.sync_ns.sum(0) + goes_on)
    return Prefix(
        ready,
        np.stack(blocks),
        np.where(table.uses[:, :, None], back, NEVER),
        np.stack(queues),
        prefix.sync_ns + table.sync_ns.sum(0),
        prefix.load_ns + table.block_ns,
        prefix.parameters + table.parameters,
        kept,
    )


def _last(heads: Int64, syncs: Int64) -> Int64:
    """Return when synchronizations end that begin no earlier than the first of ``heads``."""
    begins: Int64 = np.where(syncs > 0, heads, -NEVER).min(0)
    return np.where((syncs > 0).any(0), begins + syncs.sum(0), NEVER)
