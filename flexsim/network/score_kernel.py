"""The compiled loops that write the rows of messages, each message once.

A flow is one *wire* row and one row of latency for every segment, and with store-and-forward
for every segment and hop. A collective has a row of overhead before its flows and a row that
joins them behind.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexsim.numba_cache import inlined, kept_on_disk, kept_uncounted
from flexsim.task_graph.columns import Int32, Int64

Float64 = NDArray[np.float64]


class Shapes(NamedTuple):
    """Programs, one below the other: shape p has the flows ``first_flow[p]:first_flow[p + 1]``.

    Flow f sends ``parts[f] / num_parts[p]`` of a message on the ``way[f]``-th way of its
    message; ``following[first_next[f]:first_next[f + 1]]`` wait for it, numbered within p.
    """

    first_flow: Int64
    num_parts: Int64
    has_ends: NDArray[np.bool_]
    """Whether there is a row of overhead first and one that joins last."""
    way: Int32
    parts: Int64
    num_before: Int64
    first_next: Int64
    following: Int32
    num_pieces: Int64
    """In how many pieces at least the flows of p stream."""


class Sent(NamedTuple):
    """Messages: their shape, size and overhead, and the road of each of their ways.

    A transfer has no overhead; for it this is the least that it takes.
    """

    shape: Int64
    num_bytes: Int64
    overhead_ns: Int64
    first_way: Int64
    road: Int64


class Roads(NamedTuple):
    """Distinct routes: the links of each, and what one flow gets of them.

    ``hop_`` columns have a value a link of ``link``; what is late beyond the links' own latency
    comes with the last hop. Rates are in bytes a second.
    """

    first_link: Int64
    link: Int32
    hop_rate: Float64
    hop_latency_ns: Int64
    rate: Float64
    latency_ns: Int64


class Manner(NamedTuple):
    """How flows travel: in segments of so many bytes (0: whole), and hop by hop or not."""

    segment_bytes: int
    stores: bool


class Score(NamedTuple):
    """The rows of all messages: message m has ``first_row[m]:first_row[m + 1]``.

    A wire row takes the links ``road_link[first_link:last_link]``; other rows take none.
    ``following`` numbers rows within their message.
    """

    first_row: Int64
    duration_ns: Int64
    num_bytes: Int64
    rate: Float64
    first_link: Int64
    last_link: Int64
    first_next: Int64
    following: Int32


@inlined
def _num_segments(share: float, num_bytes: int, segment_bytes: int, least: int) -> int:
    """Return in how many pieces a flow of a share of a message travels."""
    size = share * num_bytes
    pieces = max(1.0, min(np.float64(least), np.floor(size)))
    if segment_bytes == 0:
        return int(pieces)
    return int(max(pieces, np.ceil(size / segment_bytes)))


@inlined
def _piece(total: float, index: int, num_pieces: int) -> int:
    """Return the whole part of ``total`` that falls to one of its equal pieces, at least 1."""
    end = np.rint(total * (index + 1) / num_pieces)
    return int(max(1.0, end - np.rint(total * index / num_pieces)))


@kept_on_disk
def count(shapes: Shapes, sent: Sent, roads: Roads, manner: Manner, counts: Int64) -> None:
    """Fill a row a message: its rows, wires, links of wires, and edges."""
    first_flow, num_parts, has_ends, way, parts, num_before, first_next, following, streams = shapes
    shape, num_bytes, _, first_way, road = sent
    segment_bytes, stores = manner
    for message in range(len(shape)):
        kind, size = shape[message], num_bytes[message]
        base, ends = first_flow[kind], np.int64(has_ends[kind])
        rows, wires, links, edges = 2 * ends, 0, 0, 0
        for flow in range(base, first_flow[kind + 1]):
            here = road[first_way[message] + way[flow]]
            length = roads.first_link[here + 1] - roads.first_link[here]
            share = parts[flow] / num_parts[kind]
            pieces = _num_segments(share, size, segment_bytes, streams[kind])
            hops = length if stores else 1
            wires += pieces * hops
            links += pieces * length
            edges += pieces * (2 * hops - 1) + (pieces - 1) * hops
            edges += ends * ((num_before[flow] == 0) + (first_next[flow] == first_next[flow + 1]))
            for place in range(first_next[flow], first_next[flow + 1]):
                share = parts[base + following[place]] / num_parts[kind]
                edges += _num_segments(share, size, segment_bytes, streams[kind])
        counts[message, 0], counts[message, 1] = rows + 2 * wires, wires
        counts[message, 2], counts[message, 3] = links, edges


@kept_on_disk
def write_rows(shapes: Shapes, sent: Sent, roads: Roads, manner: Manner, score: Score) -> None:
    """Fill all columns but those of edges."""
    first_flow, num_parts, has_ends, way, parts = shapes[:5]
    shape, num_bytes, overhead_ns, first_way, road = sent
    road_start, _, hop_rate, hop_latency_ns, rate, latency_ns = roads
    segment_bytes, stores = manner
    first_row, duration_ns, sizes, rates, first_link, last_link = score[:6]
    for message in range(len(shape)):
        kind, row = shape[message], first_row[message]
        last = first_row[message + 1] - 1
        if has_ends[kind]:
            duration_ns[row], duration_ns[last] = overhead_ns[message], 1
            row += 1
        for flow in range(first_flow[kind], first_flow[kind + 1]):
            here = road[first_way[message] + way[flow]]
            start, end = road_start[here], road_start[here + 1]
            share = parts[flow] / num_parts[kind]
            least = shapes.num_pieces[kind]
            pieces = _num_segments(share, num_bytes[message], segment_bytes, least)
            exact = share * num_bytes[message]
            for piece in range(pieces):
                for hop in range(start, end if stores else start + 1):
                    rates[row] = hop_rate[hop] if stores else rate[here]
                    duration_ns[row] = _piece(exact / rates[row] * 1e9, piece, pieces)
                    sizes[row] = _piece(exact, piece, pieces)
                    first_link[row], last_link[row] = hop, hop + 1 if stores else end
                    duration_ns[row + 1] = hop_latency_ns[hop] if stores else latency_ns[here]
                    row += 2
            if not has_ends[kind]:
                sent_ns = np.int64(np.rint(exact / rate[here] * 1e9))
                duration_ns[last] = max(duration_ns[last], overhead_ns[message] - sent_ns)


class Room(NamedTuple):
    """Room for one message: the first row of each flow, and of how many pieces it is."""

    first_row: Int64
    num_pieces: Int64


@inlined
def _lay_out(
    shapes: Shapes, sent: Sent, roads: Roads, manner: Manner, message: int, room: Room
) -> int:
    """Fill the room for a message and return the row behind its flows, numbered within it."""
    kind = sent.shape[message]
    base, row = shapes.first_flow[kind], int(shapes.has_ends[kind])
    for flow in range(shapes.first_flow[kind + 1] - base):
        road = sent.road[sent.first_way[message] + shapes.way[base + flow]]
        hops = roads.first_link[road + 1] - roads.first_link[road] if manner.stores else 1
        share = shapes.parts[base + flow] / shapes.num_parts[kind]
        least = shapes.num_pieces[kind]
        pieces = _num_segments(share, sent.num_bytes[message], manner.segment_bytes, least)
        room.first_row[flow], room.num_pieces[flow] = row, pieces
        row += 2 * pieces * hops
        room.first_row[flow + 1] = row
    return row


@inlined
def _arrive(flow: int, piece: int, followers: Int32, room: Room, next_edges: Int32) -> int:
    """Write the edges to the ``followers`` of a piece of a flow, and return how many.

    Of a follower in other pieces, those begin of which all bytes have arrived.
    """
    num_edges, pieces = 0, room.num_pieces[flow]
    for place in range(len(followers)):
        after = np.int64(followers[place])
        others = room.num_pieces[after]
        step = (room.first_row[after + 1] - room.first_row[after]) // others
        for other in range(piece * others // pieces, (piece + 1) * others // pieces):
            next_edges[num_edges] = room.first_row[after] + other * step
            num_edges += 1
    return num_edges


@kept_uncounted
def write_edges(
    shapes: Shapes, sent: Sent, roads: Roads, manner: Manner, score: Score, room: Room
) -> None:
    """Fill the successors of all rows."""
    edge, at = 0, 0
    for message in range(len(sent.shape)):
        kind = sent.shape[message]
        base, ends = shapes.first_flow[kind], shapes.has_ends[kind]
        behind = _lay_out(shapes, sent, roads, manner, message, room)
        if ends:
            for flow in range(shapes.first_flow[kind + 1] - base):
                if shapes.num_before[base + flow] == 0:
                    score.following[edge] = room.first_row[flow]
                    edge += 1
            at += 1
            score.first_next[at] = edge
        for flow in range(shapes.first_flow[kind + 1] - base):
            row, pieces = room.first_row[flow], room.num_pieces[flow]
            length = (room.first_row[flow + 1] - row) // pieces
            low, high = shapes.first_next[base + flow], shapes.first_next[base + flow + 1]
            for inside in range(pieces * length):
                piece = inside // length
                if inside % 2 == 0 or inside % length < length - 1:
                    score.following[edge] = row + inside + 1
                    edge += 1
                else:
                    followers, here = shapes.following[low:high], score.following[edge:]
                    edge += _arrive(flow, piece, followers, room, here)
                    if ends and low == high and piece == pieces - 1:
                        score.following[edge] = behind
                        edge += 1
                if inside % 2 == 0 and piece < pieces - 1:
                    score.following[edge] = row + inside + length
                    edge += 1
                at += 1
                score.first_next[at] = edge
        at += ends
        score.first_next[at] = edge
