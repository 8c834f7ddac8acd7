"""The compiled loop of lowering: the rows of its message in the place of every task."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexsim.network.score_kernel import Roads, Score
from flexsim.numba_cache import inlined, kept_uncounted
from flexsim.task_graph.columns import Int32, Int64


class Tasks(NamedTuple):
    """The original tasks: what they hold, who follows them, and their message or -1.

    ``in_turn`` are the tasks that follow on the same streams, ``first_row`` the first rows.
    """

    duration_ns: Int64
    num_bytes: Int64
    first_held: Int64
    held: Int32
    first_next: Int64
    following: Int32
    first_in_turn: Int64
    in_turn: Int32
    message: Int64
    first_row: Int64


class Rows(NamedTuple):
    """The rows of the network level and its flows, to be filled; ``in_degree`` has zeros."""

    duration_ns: Int64
    num_bytes: Int64
    first_held: Int64
    held: Int32
    first_next: Int64
    following: Int32
    in_degree: Int32
    flow: Int64
    first_link: Int64
    link: Int32
    flow_rate: NDArray[np.float64]
    own_rate: NDArray[np.float64]
    """What each of the flows' links gives flows like it, bytes a second; empty if not asked."""


@kept_uncounted
def write_columns(
    tasks: Tasks, score: Score, roads: Roads, rows: Rows, first_resource: int
) -> None:
    """Fill all columns but those of edges.

    Link l is held as resource ``first_resource + l``; not at all where that is negative.
    """
    row, num_held, num_flows, num_links = 0, 0, 0, 0
    for task in range(len(tasks.message)):
        for place in range(tasks.first_held[task], tasks.first_held[task + 1]):
            rows.held[num_held] = tasks.held[place]
            num_held += 1
        message = tasks.message[task]
        if message < 0:
            rows.duration_ns[row] = tasks.duration_ns[task]
            rows.num_bytes[row] = tasks.num_bytes[task]
            row += 1
            rows.first_held[row] = num_held
            continue
        for line in range(score.first_row[message], score.first_row[message + 1]):
            rows.duration_ns[row] = score.duration_ns[line]
            rows.num_bytes[row] = score.num_bytes[line]
            for place in range(score.first_link[line], score.last_link[line]):
                rows.link[num_links] = roads.link[place]
                if first_resource >= 0:
                    rows.held[num_held] = first_resource + roads.link[place]
                    num_held += 1
                else:
                    rows.own_rate[num_links] = roads.hop_rate[place]
                num_links += 1
            if score.first_link[line] < score.last_link[line]:
                rows.flow[num_flows] = row
                rows.flow_rate[num_flows] = score.rate[line]
                num_flows += 1
                rows.first_link[num_flows] = num_links
            row += 1
            rows.first_held[row] = num_held


@inlined
def _follow(rows: Rows, num_edges: int, target: int) -> int:
    """Add an edge to ``target`` and return how many edges there are."""
    rows.following[num_edges] = target
    rows.in_degree[target] += 1
    return num_edges + 1


@kept_uncounted
def write_successors(tasks: Tasks, score: Score, rows: Rows) -> None:
    """Fill the successors and in-degrees of all rows, in their order."""
    row, num_edges = 0, 0
    for task in range(len(tasks.message)):
        message, first = tasks.message[task], row
        num_rows = 1
        if message >= 0:
            num_rows = score.first_row[message + 1] - score.first_row[message]
            for line in range(score.first_row[message], score.first_row[message + 1]):
                for place in range(score.first_next[line], score.first_next[line + 1]):
                    num_edges = _follow(rows, num_edges, first + score.following[place])
                row += 1
                rows.first_next[row] = num_edges
        row = first + num_rows
        for place in range(tasks.first_next[task], tasks.first_next[task + 1]):
            num_edges = _follow(rows, num_edges, tasks.first_row[tasks.following[place]])
        for place in range(tasks.first_in_turn[task], tasks.first_in_turn[task + 1]):
            num_edges = _follow(rows, num_edges, tasks.first_row[tasks.in_turn[place]])
        rows.first_next[row] = num_edges
