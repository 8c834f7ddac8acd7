"""Shorter iterations that stand for longer ones: same order but for windows left out."""

from __future__ import annotations

import numpy as np
import pytest

from flexsim.engine.contraction_jump import jump_of
from flexsim.task_graph.rows import B, F
from flexsim.task_graph.schedules import PipelineShape, Schedule, build_schedule

CASES = [("1f1b", 2, 1, 40), ("1f1b", 8, 1, 300), ("interleaved-1f1b", 4, 3, 96)]


def orders(schedule: Schedule) -> list[list[str]]:
    return [[str(a) for a in schedule.actions(rank)] for rank in range(schedule.num_ranks)]


@pytest.mark.parametrize(("name", "ranks", "chunks", "microbatches"), CASES)
def test_a_jump_leaves_out_whole_windows(name, ranks, chunks, microbatches):
    def made(count: int) -> Schedule:
        return build_schedule(name, PipelineShape(ranks, count, chunks))

    step = 1 if chunks == 1 else ranks
    jump = jump_of(made(microbatches), made, step)
    assert jump is not None
    short, left_out = jump.schedule, jump.num_windows * step
    assert short.num_microbatches + left_out == microbatches
    for rank, (one, other) in enumerate(
        zip(orders(made(microbatches)), orders(short), strict=True)
    ):
        cut = int(jump.cut[rank] - short.rank_offsets[rank])
        assert one[:cut] == other[:cut]
        assert len(one) == len(other) + 2 * chunks * left_out
    kinds = short.kind[jump.actions]
    assert (kinds == kinds[0]).all()
    assert (np.count_nonzero(kinds == F, axis=1) == np.count_nonzero(kinds == B, axis=1)).all()
    assert (np.diff(short.microbatch[jump.actions], axis=0) == step).all()
    assert (np.diff(short.stage[jump.actions], axis=0) == 0).all()


def test_a_short_iteration_is_not_shortened():
    def made(count: int) -> Schedule:
        return build_schedule("1f1b", PipelineShape(8, count))

    assert jump_of(made(16), made, 1) is None


def test_an_order_that_does_not_repeat_is_not_shortened():
    def made(count: int) -> Schedule:
        return build_schedule("gpipe", PipelineShape(2, count))

    assert jump_of(made(200), made, 1) is None
