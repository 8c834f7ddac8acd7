"""The shapes of messages: the programs of collectives, and the one flow of a transfer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from flexsim.collectives.program import Program, program
from flexsim.cost.collectives import Communication
from flexsim.network.messages import Messages
from flexsim.network.roads import road_key, sort_of
from flexsim.network.score_kernel import Sent, Shapes
from flexsim.network.size import Key, check_program
from flexsim.ragged import Csr, offsets_of
from flexsim.task_graph.columns import Int64
from flexsim.task_graph.kinds import COLLECTIVES

_TRANSFER: Key = ("", "", (2,))
_NOBODY = np.zeros(0, np.int32)


@dataclass(frozen=True, eq=False)
class Shape:
    """The flows of a message between members: see :class:`~flexsim.collectives.Program`.

    Flow f goes from member ``source[way[f]]`` to member ``target[way[f]]``.
    """

    is_transfer: bool
    source: Int64
    target: Int64
    way: Int64
    parts: Int64
    num_parts: int
    num_before: Int64
    following: Csr
    num_pieces: int = 1


def shaped(
    messages: Messages, communication: Communication, memory_bytes: int | None = None
) -> tuple[Shapes, Sent, Int64]:
    """Return the shapes of messages, the messages themselves, and the keys of their roads.

    Raise :class:`~flexsim.errors.FlexSimError` for a program that ``memory_bytes`` cannot hold.
    """
    number: dict[Key, int] = {}
    shape, overheads, ways, counts = [], [], [], []
    for message in range(len(messages)):
        key, members, overhead_ns = _placed(messages, message, communication)
        check_program(key, memory_bytes)
        shape.append(number.setdefault(key, len(number)))
        overheads.append(overhead_ns)
        kind = shape_of(key)
        sources, targets = members[kind.source], members[kind.target]
        sort = sort_of(messages.algorithm[message])
        ways.append(road_key(sort, sources, targets, communication.device_graph.num_devices))
        counts.append(len(sources))
    keys, road = np.unique(np.concatenate([np.zeros(0, np.int64), *ways]), return_inverse=True)
    sent = Sent(
        np.array(shape, np.int64),
        messages.num_bytes,
        np.array(overheads, np.int64),
        offsets_of(np.array(counts, np.int64)),
        road.reshape(-1).astype(np.int64),
    )
    return _joined([shape_of(key) for key in number]), sent, keys


def _placed(
    messages: Messages, message: int, communication: Communication
) -> tuple[Key, Int64, int]:
    """Return the shape of a message, its members in order, and its overhead in ns."""
    members = messages.members.row(message).astype(np.int64)
    algorithm = messages.algorithm[message]
    if not algorithm:
        return _TRANSFER, members, round(communication.host_time_ns)
    collective = COLLECTIVES[messages.collective[message]]
    num_bytes = int(messages.num_bytes[message])
    overhead_ns = communication.overhead_ns(collective, algorithm, num_bytes, members)
    devices, layout = communication.placed(members, algorithm)
    return (collective, algorithm, layout), devices, max(1, overhead_ns)


@lru_cache(maxsize=64)
def shape_of(key: Key) -> Shape:
    """Return the shape of a collective by an algorithm in a layout, or that of a transfer."""
    if key == _TRANSFER:
        none, one = np.zeros(1, np.int64), np.ones(1, np.int64)
        nobody = Csr(np.zeros(2, np.int64), _NOBODY)
        return Shape(True, none, one, none, one, 1, none, nobody)
    return _shape_of_program(program(*key))


def _shape_of_program(flows: Program) -> Shape:
    packed = flows.source.astype(np.int64) * flows.num_members + flows.target
    ways, way = np.unique(packed, return_inverse=True)
    source, target = np.divmod(ways, flows.num_members)
    return Shape(
        False,
        source,
        target,
        way.reshape(-1).astype(np.int64),
        flows.parts,
        flows.num_parts,
        flows.after.counts,
        Csr.from_pairs(len(flows), flows.after.values, flows.after.rows.astype(np.int32)),
        flows.num_pieces,
    )


def _joined(shapes: list[Shape]) -> Shapes:
    """Put shapes one below the other."""
    counts = np.array([len(one.way) for one in shapes], np.int64)
    next_counts = [one.following.counts for one in shapes]
    return Shapes(
        first_flow=offsets_of(counts),
        num_parts=np.array([one.num_parts for one in shapes], np.int64),
        has_ends=np.array([not one.is_transfer for one in shapes], np.bool_),
        way=_below([one.way for one in shapes]).astype(np.int32),
        parts=_below([one.parts for one in shapes]),
        num_before=_below([one.num_before for one in shapes]),
        first_next=offsets_of(_below(next_counts)),
        following=np.concatenate([one.following.values for one in shapes] or [_NOBODY]),
        num_pieces=np.array([one.num_pieces for one in shapes], np.int64),
    )


def _below(columns: list[Int64]) -> Int64:
    return np.concatenate([np.zeros(0, np.int64), *columns])
