"""The compiled inner loop of lowering: write the rows of every task, and who follows whom.

A task that sends a message becomes, for a collective, a row of overhead, the rows of its flows
and a row that joins them; for a transfer the rows of its one flow. A flow is one *wire* row and
one row of latency a segment, and with store-and-forward so many a segment and hop.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexsim.numba_cache import inlined, kept_on_disk
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


class Sent(NamedTuple):
    """Messages: their shape, size and overhead, and the roads of their ways."""

    shape: Int64
    num_bytes: Int64
    overhead_ns: Int64
    first_way: Int64
    road: Int64


class Roads(NamedTuple):
    """Distinct routes: the links of each, and what one flow gets of them.

    ``hop_`` columns have a value a link of ``link``; a latency beyond that of the links comes
    with the last hop.
    """

    first_link: Int64
    link: Int32
    hop_bandwidth_bytes_per_s: Float64
    hop_latency_ns: Int64
    bandwidth_bytes_per_s: Float64
    latency_ns: Int64


class Manner(NamedTuple):
    """How flows travel; ``segment_bytes`` is 0 for whole messages."""

    segment_bytes: int
    stores: bool
    holds_links: bool
    first_link_resource: int


class Tasks(NamedTuple):
    """The original tasks: their message or -1, what they hold, who follows, and first rows.

    ``in_turn`` are the tasks that follow on the same streams.
    """

    message: Int64
    duration_ns: Int64
    num_bytes: Int64
    first_held: Int64
    held: Int32
    first_next: Int64
    following: Int32
    first_in_turn: Int64
    in_turn: Int32
    first_row: Int64


class Rows(NamedTuple):
    """The rows of the network level and its flows, to be filled; ``in_degree`` has zeros."""

    duration_ns: Int64
    num_bytes: Int64
    first_held: Int64
    held: Int32
    flow: Int64
    first_link: Int64
    link: Int32
    flow_bandwidth_bytes_per_s: Float64
    first_next: Int64
    following: Int32
    in_degree: Int32


@inlined
def _num_segments(parts: int, num_parts: int, num_bytes: int, segment_bytes: int) -> int:
    """Return in how many pieces a flow travels."""
    if segment_bytes == 0:
        return 1
    return max(1, np.int64(np.ceil(parts / num_parts * num_bytes / segment_bytes)))


@inlined
def _share(total: float, index: int, count: int) -> int:
    """Return the whole part of ``total`` that falls to one of ``count`` equal pieces."""
    return max(1, np.int64(np.rint(total * (index + 1) / count) - np.rint(total * index / count)))


@kept_on_disk
def count(shapes: Shapes, sent: Sent, roads: Roads, manner: Manner, counts: Int64) -> None:
    """Fill a row a message: rows, flows, links of flows, edges."""
    first_flow, num_parts, has_ends, way, parts, num_before, first_next, following = shapes
    shape, num_bytes, _, first_way, road = sent
    segment_bytes, stores, _, _ = manner
    for message in range(len(shape)):
        kind, size = shape[message], num_bytes[message]
        base, cuts = first_flow[kind], num_parts[kind]
        rows, flows, links, edges = 2 * has_ends[kind], 0, 0, 0
        for flow in range(base, first_flow[kind + 1]):
            here = road[first_way[message] + way[flow]]
            length = roads.first_link[here + 1] - roads.first_link[here]
            pieces = _num_segments(parts[flow], cuts, size, segment_bytes)
            hops = length if stores else 1
            flows += pieces * hops
            links += pieces * length
            rows += 2 * pieces * hops
            edges += pieces * (2 * hops - 1) + (pieces - 1) * hops
            edges += num_before[flow] == 0 and has_ends[kind]
            for place in range(first_next[flow], first_next[flow + 1]):
                after = base + following[place]
                edges += _num_segments(parts[after], cuts, size, segment_bytes)
            edges += first_next[flow] == first_next[flow + 1] and has_ends[kind]
        counts[message, 0], counts[message, 1] = rows, flows
        counts[message, 2], counts[message, 3] = links, edges


@kept_on_disk
def write_rows(
    tasks: Tasks, shapes: Shapes, sent: Sent, roads: Roads, manner: Manner, rows: Rows
) -> None:
    """Fill the columns of all rows, what they hold, and the flows."""
    # Numba counts references at each access to a field, so the loop has a name for each.
    first_flow, num_parts, has_ends, way, parts = shapes[:5]
    shape, sizes, overhead_ns, first_way, road = sent
    road_start, road_link, hop_rate, hop_late_ns, rate, late_ns = roads
    segment_bytes, stores, holds_links, first_resource = manner
    duration_ns, num_bytes, first_held, held = rows[:4]
    flows, first_link, links, flow_rate = rows[4:8]
    num_held, num_flows, num_links, row = 0, 0, 0, 0
    for task in range(len(tasks.message)):
        message = tasks.message[task]
        for place in range(tasks.first_held[task], tasks.first_held[task + 1]):
            held[num_held] = tasks.held[place]
            num_held += 1
        if message < 0:
            duration_ns[row], num_bytes[row] = tasks.duration_ns[task], tasks.num_bytes[task]
            row += 1
            first_held[row] = num_held
            continue
        kind, size = shape[message], sizes[message]
        if has_ends[kind]:
            duration_ns[row] = overhead_ns[message]
            row += 1
            first_held[row] = num_held
        for flow in range(first_flow[kind], first_flow[kind + 1]):
            here = road[first_way[message] + way[flow]]
            start, end = road_start[here], road_start[here + 1]
            exact = parts[flow] / num_parts[kind] * size
            pieces = _num_segments(parts[flow], num_parts[kind], size, segment_bytes)
            for piece in range(pieces):
                for hop in range(end - start if stores else 1):
                    low, high = (start + hop, start + hop + 1) if stores else (start, end)
                    speed = hop_rate[low] if stores else rate[here]
                    duration_ns[row] = _share(exact / speed * 1e9, piece, pieces)
                    num_bytes[row] = _share(exact, piece, pieces)
                    for place in range(low, high):
                        links[num_links] = road_link[place]
                        num_links += 1
                        if holds_links:
                            held[num_held] = first_resource + road_link[place]
                            num_held += 1
                    flows[num_flows], flow_rate[num_flows] = row, speed
                    num_flows += 1
                    first_link[num_flows] = num_links
                    row += 1
                    first_held[row] = num_held
                    duration_ns[row] = hop_late_ns[low] if stores else late_ns[here]
                    row += 1
                    first_held[row] = num_held
        if has_ends[kind]:
            duration_ns[row] = 1
            row += 1
            first_held[row] = num_held


@inlined
def _follow(target: int, num_edges: int, following: Int32, in_degree: Int32) -> int:
    """Add an edge to ``target`` and return how many edges there are."""
    following[num_edges] = target
    in_degree[target] += 1
    return num_edges + 1


@kept_on_disk
def write_edges(
    tasks: Tasks, shapes: Shapes, sent: Sent, roads: Roads, manner: Manner, rows: Rows
) -> None:
    """Fill the successors and in-degrees of all rows, in their order."""
    first_flow, num_parts, has_ends, way, parts, num_before, flow_next, flow_after = shapes
    segment_bytes, stores = manner.segment_bytes, manner.stores
    first_next, following, in_degree = rows[8:]
    most = 0
    for kind in range(len(num_parts)):
        most = max(most, first_flow[kind + 1] - first_flow[kind])
    first_row, pieces_of = np.empty(most + 1, np.int64), np.empty(most, np.int64)
    num_edges, row = 0, 0
    for task in range(len(tasks.message)):
        message = tasks.message[task]
        if message >= 0:
            kind = sent.shape[message]
            base, num_flows = first_flow[kind], first_flow[kind + 1] - first_flow[kind]
            ends = has_ends[kind]
            at = row + ends
            for flow in range(num_flows):
                here = sent.road[sent.first_way[message] + way[base + flow]]
                hops = roads.first_link[here + 1] - roads.first_link[here] if stores else 1
                pieces_of[flow] = _num_segments(
                    parts[base + flow], num_parts[kind], sent.num_bytes[message], segment_bytes
                )
                first_row[flow] = at
                at += 2 * pieces_of[flow] * hops
            first_row[num_flows] = at
            if ends:
                for flow in range(num_flows):
                    if num_before[base + flow] == 0:
                        num_edges = _follow(first_row[flow], num_edges, following, in_degree)
                row += 1
                first_next[row] = num_edges
            for flow in range(num_flows):
                pieces = pieces_of[flow]
                stride = (first_row[flow + 1] - first_row[flow]) // pieces
                low, high = flow_next[base + flow], flow_next[base + flow + 1]
                for piece in range(pieces):
                    for hop in range(stride // 2):
                        num_edges = _follow(row + 1, num_edges, following, in_degree)
                        if piece + 1 < pieces:
                            num_edges = _follow(row + stride, num_edges, following, in_degree)
                        row += 1
                        first_next[row] = num_edges
                        if 2 * hop + 2 < stride:
                            num_edges = _follow(row + 1, num_edges, following, in_degree)
                        else:
                            for place in range(low, high):
                                after = np.int64(flow_after[place])
                                step = (first_row[after + 1] - first_row[after]) // pieces_of[after]
                                begin = piece * pieces_of[after] // pieces
                                for later in range(begin, (piece + 1) * pieces_of[after] // pieces):
                                    target = first_row[after] + later * step
                                    num_edges = _follow(target, num_edges, following, in_degree)
                            if ends and low == high and piece + 1 == pieces:
                                num_edges = _follow(at, num_edges, following, in_degree)
                        if ends or flow + 1 < num_flows or row + 1 < at:
                            row += 1
                            first_next[row] = num_edges
        for place in range(tasks.first_next[task], tasks.first_next[task + 1]):
            target = tasks.first_row[tasks.following[place]]
            num_edges = _follow(target, num_edges, following, in_degree)
        for place in range(tasks.first_in_turn[task], tasks.first_in_turn[task + 1]):
            target = tasks.first_row[tasks.in_turn[place]]
            num_edges = _follow(target, num_edges, following, in_degree)
        row += 1
        first_next[row] = num_edges
