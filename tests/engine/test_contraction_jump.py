"""Shorter iterations that stand for longer ones: same order but for windows left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flexsim.engine.contraction_jump import Jump, jump_of
from flexsim.task_graph.rows import B, F
from flexsim.task_graph.schedules import PipelineShape, Schedule, build_schedule

CASES = [
    ("1f1b", 2, 1, 40, 1),
    ("1f1b", 8, 1, 300, 1),
    ("1f1b", 1, 1, 30, 1),
    ("interleaved-1f1b", 4, 3, 96, 1),
    ("gpipe", 4, 1, 200, 2),
    ("gpipe", 1, 1, 17, 2),
]


def made(name: str, num_ranks: int, count: int, chunks: int) -> Schedule:
    return build_schedule(name, PipelineShape(num_ranks, count, chunks))


def found(name: str, num_ranks: int, chunks: int, microbatches: int, patience: int) -> Jump | None:
    """Return the jump with the least step that stands for so many microbatches."""
    for step in (1, num_ranks):
        numbers = step, microbatches % step, patience
        jump = jump_of(lambda count: made(name, num_ranks, count, chunks), num_ranks, numbers)
        if jump is not None and jump.stands_for(made(name, num_ranks, microbatches, chunks)):
            return jump
    return None


def orders(schedule: Schedule) -> list[list[str]]:
    return [[str(a) for a in schedule.actions(rank)] for rank in range(schedule.num_ranks)]


@pytest.mark.parametrize("patience", [1, 5])
@pytest.mark.parametrize(("name", "ranks", "chunks", "microbatches", "runs"), CASES)
def test_a_jump_leaves_out_whole_windows(name, ranks, chunks, microbatches, runs, patience):
    jump = found(name, ranks, chunks, microbatches, patience)
    assert jump is not None
    assert jump.cut.shape == (ranks, runs)
    short, num_windows = jump.schedule, jump.num_windows(microbatches)
    assert short.num_microbatches + num_windows * jump.step == microbatches
    long = made(name, ranks, microbatches, chunks)
    first = jump.cut[:, 0] - short.rank_offsets[:-1]
    for rank, (one, other) in enumerate(zip(orders(long), orders(short), strict=True)):
        assert one[: first[rank]] == other[: first[rank]]
        assert len(one) - len(other) == num_windows * int(jump.size[rank].sum())
        assert one[-1][:2] == other[-1][:2]


@pytest.mark.parametrize(("name", "ranks", "chunks", "microbatches", "runs"), CASES)
def test_windows_before_a_cut_repeat_one_another(name, ranks, chunks, microbatches, runs):
    jump = found(name, ranks, chunks, microbatches, 1)
    assert jump is not None
    short = jump.schedule
    for rank, run in np.ndindex(ranks, runs):
        cut, size = int(jump.cut[rank, run]), int(jump.size[rank, run])
        last, before = np.arange(cut - size, cut), np.arange(cut - 2 * size, cut - size)
        assert (short.kind[last] == short.kind[before]).all()
        assert (short.stage[last] == short.stage[before]).all()
        assert (short.microbatch[last] - short.microbatch[before] == jump.step).all()


def test_a_schedule_with_another_order_is_not_stood_for():
    jump = found("gpipe", 3, 1, 50, 1)
    assert jump is not None
    long = made("gpipe", 3, 50, 1)
    microbatch = long.microbatch.copy()
    microbatch[[60, 61]] = microbatch[[61, 60]]
    assert jump.stands_for(long)
    assert not jump.stands_for(replace(long, microbatch=microbatch))
    assert not jump.stands_for(made("1f1b", 3, 50, 1))


def test_a_short_iteration_is_not_shortened():
    assert found("1f1b", 8, 1, 12, 1) is None
    assert found("gpipe", 8, 1, 5, 1) is None


def test_windows_that_wait_for_ever_earlier_ones_are_not_left_out():
    """All microbatches pass a chunk before the next: the second waits for the whole first."""
    assert found("looped-bfs", 4, 2, 60, 1) is None


def test_roles_name_the_windows_before_each_cut():
    jump = found("gpipe", 2, 1, 100, 1)
    assert jump is not None
    short, roles = jump.schedule, jump.roles
    assert short.num_microbatches == 5
    expected = {F: [0, 0, 1, 1, 2], B: [2, 2, 3, 3, 4]}
    for rank, kind in np.ndindex(2, 2):
        rows = (short.rank == rank) & (short.kind == (F, B)[kind])
        assert roles.segment[rows].tolist() == expected[(F, B)[kind]]
    assert (roles.lag == 5).all()
