"""Strips of long stages: their repeatable layer laid out as often as there are layers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from flexsim.task_graph.columns import Int64
from flexsim.task_graph.strips import Strip


def stretched_order(strip: Strip, extra: int) -> Int64:
    """Return which tasks of a strip stand there where its repeatable layer does so otherwise."""
    middle = np.arange(strip.begin, strip.end)
    first = np.arange(strip.end if extra >= 0 else strip.begin)
    last = np.arange(strip.end, strip.num_tasks)
    return np.concatenate([first, np.tile(middle, max(extra, 0)), last])


def stretched(strip: Strip, extra: int) -> Strip:
    """Return a strip whose repeatable layer stands there ``1 + extra`` times.

    Where ``extra`` is -1 it is left out; the layer after it takes its inputs.
    """
    if not extra:
        return _with_added(strip, strip, extra)
    length, copies, order = strip.end - strip.begin, max(extra, 0), stretched_order(strip, extra)
    sources, targets = _stretched_edges(strip, extra)
    weights = np.setdiff1d(strip.tails, strip.exits)
    again = weights[(weights >= strip.begin) & (weights < strip.end)]
    more = (again[None, :] + length * np.arange(1, extra + 1)[:, None]).reshape(-1)
    once = strip.tails if extra > 0 else np.setdiff1d(strip.tails, again)
    tails = np.concatenate([strip.place(once, extra), more])
    copy = np.zeros(len(order), np.int32)
    copy[strip.end : strip.end + copies * length] = np.repeat(np.arange(1, extra + 1), length)
    found = replace(
        strip,
        operator=strip.operator[order],
        copy=copy,
        kind=strip.kind[order],
        duration_ns=strip.duration_ns[order],
        num_bytes=strip.num_bytes[order],
        toward=strip.toward[order],
        sources=sources,
        targets=targets,
        exits=strip.place(strip.exits, extra),
        tails=np.sort(tails),
        entries=strip.place(strip.entries, extra),
        heads=strip.place(strip.heads, extra),
        sends=strip.place(strip.sends, extra),
        issue_ns=strip.issue_ns[order],
    )
    return _with_added(found, strip, extra)


def _with_added(long: Strip, strip: Strip, extra: int) -> Strip:
    """Let the last task of a long strip wait for what ``strip`` says it does, in every layer."""
    if not len(strip.added):
        return long
    once = strip.added[strip.added < strip.begin]
    again = strip.added[strip.added >= strip.begin]
    copies = again + (strip.end - strip.begin) * np.arange(extra + 1)[:, None]
    more = np.concatenate([once, copies.reshape(-1)])
    last = np.full(len(more), long.num_tasks - 1)
    return replace(
        long,
        sources=np.concatenate([long.sources, more]),
        targets=np.concatenate([long.targets, last]),
        added=strip.added[:0],
    )


def _stretched_edges(strip: Strip, extra: int) -> tuple[Int64, Int64]:
    length = strip.end - strip.begin
    into = (strip.targets >= strip.begin) & (strip.targets < strip.end)
    after = strip.targets >= strip.end
    jumps = length * np.arange(1, extra + 1)[:, None]
    shift = length * extra
    before = ~after if extra > 0 else ~after & ~into
    sources = [
        strip.sources[before],
        (strip.sources[into] + jumps).reshape(-1),
        strip.sources[after] + shift,
    ]
    targets = [
        strip.targets[before],
        (strip.targets[into] + jumps).reshape(-1),
        strip.targets[after] + shift,
    ]
    return np.concatenate(sources), np.concatenate(targets)
