"""GPipe, 1F1B and interleaved 1F1B: one rule, which differs in how many forwards come first.

On every rank the n forwards and the n backwards of the iteration have each a fixed order of
their own. A rank runs its warm-up (w forwards), then forward and backward in turn while there
are forwards, then the backwards that are left. GPipe is w = n.
"""

from __future__ import annotations

import numpy as np

from flexsim.errors import ScheduleError
from flexsim.task_graph.columns import Int64
from flexsim.task_graph.kinds import ACTION_CODE
from flexsim.task_graph.schedules.schedule import PipelineShape, Schedule


def gpipe(shape: PipelineShape) -> Schedule:
    """Return all forwards, then all backwards (Huang et al. 2019, arXiv 1811.06965)."""
    warm_up = np.full(shape.num_ranks, shape.num_microbatches)
    return _one_forward_one_backward(shape, warm_up)


def one_f_one_b(shape: PipelineShape) -> Schedule:
    """Return 1F1B with a flush (PipeDream-flush, Narayanan et al. 2021, arXiv 2006.09503).

    Rank r warms up with p − 1 − r forwards. Its peak of microbatches in flight is
    min(m, p − r), where GPipe's is m.
    """
    return _one_forward_one_backward(shape, _ranks_behind(shape))


def interleaved_1f1b(shape: PipelineShape) -> Schedule:
    """Return Megatron's interleaved 1F1B (Narayanan et al. 2021, arXiv 2104.04473, §2.2).

    Rank r holds the global stages r, r + p, r + 2p … Microbatches go through the chunks in
    groups of p, and rank r warms up with 2(p − 1 − r) + (v − 1)·p forwards, both as in
    Megatron-Core. PyTorch's ``ScheduleInterleaved1F1B`` gives the same orders, and forms
    larger groups where the microbatches are no multiple of p; Megatron-Core refuses those
    unless told the group's size, and so they are an error here.
    """
    num_ranks, num_microbatches = shape.num_ranks, shape.num_microbatches
    if num_microbatches % num_ranks:
        below = num_microbatches // num_ranks * num_ranks
        choices = [str(n) for n in (below, below + num_ranks) if n]
        raise ScheduleError(
            f"interleaved 1F1B: microbatches = {num_microbatches} is not a multiple of the "
            f"{num_ranks} pipeline ranks; choose {' or '.join(choices)}"
        )
    warm_up = 2 * _ranks_behind(shape) + (shape.num_chunks - 1) * num_ranks
    return _one_forward_one_backward(shape, warm_up)


def _ranks_behind(shape: PipelineShape) -> Int64:
    """Return for each rank how many ranks follow it: p − 1 − r."""
    return np.arange(shape.num_ranks, dtype=np.int64)[::-1]


def _one_forward_one_backward(shape: PipelineShape, warm_up: Int64) -> Schedule:
    """Return the order in which rank r runs ``warm_up[r]`` forwards before its first backward."""
    num_passes = shape.num_chunks * shape.num_microbatches
    warm_up = np.minimum(warm_up, num_passes)
    is_backward, nth = _passes(num_passes, warm_up)
    chunk, microbatch = _chunk_and_microbatch(shape, nth)
    chunk = np.where(is_backward, shape.num_chunks - 1 - chunk, chunk)
    ranks = np.arange(shape.num_ranks)
    return Schedule(
        num_microbatches=shape.num_microbatches,
        rank_of_stage=(np.arange(shape.num_stages) % shape.num_ranks).astype(np.int32),
        kind=np.where(is_backward, ACTION_CODE["B"], ACTION_CODE["F"]).astype(np.uint8).ravel(),
        stage=(chunk * shape.num_ranks + ranks[:, None]).astype(np.int32).ravel(),
        microbatch=microbatch.astype(np.int32).ravel(),
        step=np.tile(np.arange(2 * num_passes, dtype=np.int32), shape.num_ranks),
        rank_offsets=2 * num_passes * np.arange(shape.num_ranks + 1, dtype=np.int64),
    )


def _passes(num_passes: int, warm_up: Int64) -> tuple[np.ndarray, Int64]:
    """Return for each (rank, position) whether it is a backward, and the how-manieth it is."""
    position = np.arange(2 * num_passes)
    after_warm_up = position - warm_up[:, None]
    left_in_turn = 2 * (num_passes - warm_up[:, None])
    in_turn = (after_warm_up >= 0) & (after_warm_up < left_in_turn)
    is_backward = (after_warm_up >= left_in_turn) | (in_turn & (after_warm_up % 2 == 1))
    num_backwards_before = np.cumsum(is_backward, axis=1) - is_backward
    nth = np.where(is_backward, num_backwards_before, position - num_backwards_before)
    return is_backward, nth


def _chunk_and_microbatch(shape: PipelineShape, nth: Int64) -> tuple[Int64, Int64]:
    """Return what the nth pass works on: p microbatches through each chunk, then the next p."""
    if shape.num_chunks == 1:
        return np.zeros_like(nth), nth
    group, within = np.divmod(nth, shape.num_ranks * shape.num_chunks)
    chunk, member = np.divmod(within, shape.num_ranks)
    return chunk, group * shape.num_ranks + member
