"""The compiled inner loop of tiling: write every task of every action, and its successors."""

from __future__ import annotations

from typing import NamedTuple

from flexsim.numba_cache import inlined, kept_on_disk
from flexsim.task_graph.columns import Int32, Int64, UInt8


class Patterns(NamedTuple):
    """Templates: columns with a value a member, in the order of their ids.

    ``first_member[t]:first_member[t + 1]`` are the members of template t, and
    ``first_edge[m]:first_edge[m + 1]`` the data edges from member m: to the task
    ``edge_local`` of the action of ``edge_template`` on the same microbatch, where there is one (a
    backward is whole or cut in two), or, to an update
    (templates from ``first_update`` on), only from the last action of the member's template among
    those that the update is for.
    """

    first_member: Int64
    operator: Int32
    kind: UInt8
    part: Int32
    duration_ns: Int64
    num_bytes: Int64
    first_held: Int64
    held: Int32
    first_edge: Int64
    edge_template: Int32
    edge_local: Int32
    first_update: int


class Order(NamedTuple):
    """Actions in program order, and what joins each to those that follow it on its rank.

    ``where`` is the action of a (template, microbatch); of updates, of a (template, number of the
    update). ``update`` tells which update every action is for, and ``last`` the last action of a
    (template, number of the update). The actions that follow action a are
    ``follower[first_follower[a]:first_follower[a + 1]]``; ``joint`` tells for each which joint to
    use. Joint j begins at row ``joint_row[j]``: the row of the source's number within its template
    holds the numbers of the targets within theirs.
    """

    template: Int64
    microbatch: Int64
    update: Int64
    base: Int64
    where: Int64
    last: Int64
    first_follower: Int64
    follower: Int64
    joint: Int64
    joint_row: Int64
    first_joined: Int64
    joined: Int32


class Tasks(NamedTuple):
    """The columns of a task graph, to be filled; ``in_degree`` begins with zeros."""

    action: Int32
    operator: Int32
    kind: UInt8
    part: Int32
    duration_ns: Int64
    num_bytes: Int64
    first_held: Int64
    held: Int32
    first_next: Int64
    following: Int32
    in_degree: Int32


@inlined
def _follow(target: int, num_edges: int, following: Int32, in_degree: Int32) -> int:
    """Add an edge to ``target`` and return how many edges there are."""
    following[num_edges] = target
    in_degree[target] += 1
    return num_edges + 1


@kept_on_disk
def tile_columns(patterns: Patterns, order: Order, tasks: Tasks) -> None:
    """Fill all columns but those of edges, action by action."""
    # Numba counts references at each access to a field, so the loop has a name for each.
    first_member, operator, kind, part, duration_ns, num_bytes, first_held, held = patterns[:8]
    actions, operators, kinds, parts, durations_ns, sizes, first_resource, resources = tasks[:8]
    task, num_held = 0, 0
    for action in range(len(order.template)):
        template = order.template[action]
        for member in range(first_member[template], first_member[template + 1]):
            actions[task] = action
            operators[task] = operator[member]
            kinds[task] = kind[member]
            parts[task] = part[member]
            durations_ns[task] = duration_ns[member]
            sizes[task] = num_bytes[member]
            for row in range(first_held[member], first_held[member + 1]):
                resources[num_held] = held[row]
                num_held += 1
            task += 1
            first_resource[task] = num_held


@kept_on_disk
def tile_edges(patterns: Patterns, order: Order, tasks: Tasks) -> None:
    """Fill the successors and in-degrees of all tasks, action by action."""
    first_member, first_edge, edge_template, edge_local = patterns[0], *patterns[8:11]
    first_update = patterns.first_update
    templates, microbatch, update, base, where, last = order[:6]
    first_follower, follower, joint, joint_row, first_joined, joined = order[6:]
    first_next, following, in_degree = tasks[8:]
    task, num_edges = 0, 0
    for action in range(len(templates)):
        template = templates[action]
        number = update[action]
        is_last = action == last[template, number]
        first = first_member[template]
        for member in range(first, first_member[template + 1]):
            for edge in range(first_edge[member], first_edge[member + 1]):
                after = edge_template[edge]
                if after < first_update:
                    there = where[after, microbatch[action]]
                    if there >= 0:
                        target = base[there] + edge_local[edge]
                        num_edges = _follow(target, num_edges, following, in_degree)
                elif is_last:
                    target = base[where[after, number]] + edge_local[edge]
                    num_edges = _follow(target, num_edges, following, in_degree)
            for place in range(first_follower[action], first_follower[action + 1]):
                row = joint_row[joint[place]] + member - first
                for column in range(first_joined[row], first_joined[row + 1]):
                    target = base[follower[place]] + joined[column]
                    num_edges = _follow(target, num_edges, following, in_degree)
            task += 1
            first_next[task] = num_edges
