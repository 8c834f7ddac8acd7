"""GPipe, 1F1B and interleaved 1F1B: one rule, which differs in how many forwards come first.

On every rank the n forwards and the n backwards of the iteration have each a fixed order of
their own. A rank runs its warm-up (w forwards), then forward and backward in turn while there
are forwards, then the backwards that are left. GPipe is w = n.
"""

from __future__ import annotations

import numpy as np

from flexsim.task_graph.columns import Int64
from flexsim.task_graph.kinds import ACTION_CODE
from flexsim.task_graph.schedules.schedule import PipelineShape, Schedule


def gpipe(shape: PipelineShape) -> Schedule:
    """Return all forwards, then all backwards (Huang et al. 2019, arXiv 1811.06965)."""
    warm_up = np.full(shape.num_ranks, shape.num_microbatches)
    return _one_forward_one_backward(shape, warm_up, shape.num_ranks)


def one_f_one_b(shape: PipelineShape) -> Schedule:
    """Return 1F1B with a flush (PipeDream-flush, Narayanan et al. 2021, arXiv 2006.09503).

    Rank r warms up with p − 1 − r forwards. Its peak of microbatches in flight is
    min(m, p − r), where GPipe's is m.
    """
    return _one_forward_one_backward(shape, _ranks_behind(shape), shape.num_ranks)


def interleaved_1f1b(shape: PipelineShape) -> Schedule:
    """Return Megatron's interleaved 1F1B (Narayanan et al. 2021, arXiv 2104.04473, §2.2).

    Rank r holds the global stages r, r + p, r + 2p … Microbatches go through the chunks in
    groups of n, and rank r warms up with 2(p − 1 − r) + (v − 1)·n forwards. Where p divides the
    microbatches n = p, as in Megatron-Core; elsewhere :func:`group_size` makes groups larger, as
    PyTorch's ``ScheduleInterleaved1F1B`` does.
    """
    group = group_size(shape)
    warm_up = 2 * _ranks_behind(shape) + (shape.num_chunks - 1) * group
    return _one_forward_one_backward(shape, warm_up, group)


def flexible_1f1b(shape: PipelineShape) -> Schedule:
    """Return 1F1B, interleaved with chunks, with ``warm_up`` more forwards before all backwards.

    They hide the transfers between stages, and hold more activations (Llama 3, arXiv 2407.21783,
    §3.3.2).
    """
    group, num_chunks = group_size(shape), shape.num_chunks
    hops = 2 if num_chunks > 1 else 1
    warm_up = hops * _ranks_behind(shape) + (num_chunks - 1) * group + shape.warm_up
    return _one_forward_one_backward(shape, warm_up, group)


def forward_only(shape: PipelineShape) -> Schedule:
    """Return inference: forwards only, microbatch after microbatch through every chunk."""
    num_passes = shape.num_chunks * shape.num_microbatches
    nth = np.tile(np.arange(num_passes), (shape.num_ranks, 1))
    chunk, microbatch = _chunk_and_microbatch(shape, nth, group_size(shape))
    return schedule_of(shape, np.full_like(nth, ACTION_CODE["F"]), chunk, microbatch)


def looped_bfs(shape: PipelineShape) -> Schedule:
    """Return looped breadth-first (Lamy-Poirier 2022, arXiv 2211.05953).

    All microbatches pass a chunk before any passes the next. Backwards start with the last
    microbatch, as in PyTorch's ``ScheduleLoopedBFS``.
    """
    num_passes = shape.num_chunks * shape.num_microbatches
    chunk, microbatch = np.divmod(np.arange(num_passes), shape.num_microbatches)
    there_and_back = [np.concatenate([each, each[::-1]]) for each in (chunk, microbatch)]
    codes = np.repeat([ACTION_CODE["F"], ACTION_CODE["B"]], num_passes)
    rows = (np.tile(each, (shape.num_ranks, 1)) for each in (codes, *there_and_back))
    return schedule_of(shape, *rows)


def interleaved_zero_bubble(shape: PipelineShape) -> Schedule:
    """Return ZB-H1 over chunks (Qi et al. 2023, arXiv 2401.10241), as PyTorch orders it.

    Rank r warms up with p − 1 − r + (v − 1)·n forwards and keeps r weight gradients back, so
    that all ranks hold as many activations as the first rank of 1F1B does.
    """
    num_ranks, group = shape.num_ranks, group_size(shape)
    num_passes = shape.num_chunks * shape.num_microbatches
    warm_up = np.minimum(_ranks_behind(shape) + (shape.num_chunks - 1) * group, num_passes)
    kind, nth = _split_passes(num_passes, warm_up, np.arange(num_ranks))
    chunk, microbatch = _chunk_and_microbatch(shape, nth, group)
    chunk = np.where(kind == ACTION_CODE["F"], chunk, shape.num_chunks - 1 - chunk)
    return schedule_of(shape, kind, chunk, microbatch)


def zb_h1(shape: PipelineShape) -> Schedule:
    """Return ZB-H1 (Qi et al. 2023, arXiv 2401.10241, §2.3): the memory of 1F1B, p microbatches.

    With equal stages and free transfers the idle time is (p − 1)(T_F + T_B − T_W).
    """
    return interleaved_zero_bubble(shape)


def zb_h2(shape: PipelineShape) -> Schedule:
    """Return ZB-H2, or ZB-2p (Qi et al. 2023, arXiv 2401.10241, §2.3): at most 2p microbatches.

    Rank r warms up with 2(p − r) − 1 forwards and keeps 2r + 1 weight gradients back. With
    T_F = T_B = T_W, free transfers and 2p microbatches or more no rank is idle between its
    first and its last action. Further forwards do not pay with p microbatches or fewer: those
    run as in ZB-H1.
    """
    if shape.num_microbatches <= shape.num_ranks:
        return zb_h1(shape)
    behind, num_microbatches = _ranks_behind(shape), shape.num_microbatches
    delay = 2 * np.arange(shape.num_ranks) + 1
    warm_up = np.minimum(2 * behind + 1, num_microbatches)
    kind, nth = _split_passes(num_microbatches, warm_up, delay, backward_first=True)
    return schedule_of(shape, kind, np.zeros_like(nth), nth)


def group_size(shape: PipelineShape) -> int:
    """Return how many microbatches pass a chunk before the next: p, or the least that is more.

    There are ⌊m / p⌋ groups, or one; the last is smaller where they do not divide m.
    """
    return -(-shape.num_microbatches // max(1, shape.num_microbatches // shape.num_ranks))


def _ranks_behind(shape: PipelineShape) -> Int64:
    """Return for each rank how many ranks follow it: p − 1 − r."""
    return np.arange(shape.num_ranks, dtype=np.int64)[::-1]


def _one_forward_one_backward(shape: PipelineShape, warm_up: Int64, group: int) -> Schedule:
    """Return the order in which rank r runs ``warm_up[r]`` forwards before its first backward."""
    num_passes = shape.num_chunks * shape.num_microbatches
    is_backward, nth = _passes(num_passes, np.minimum(warm_up, num_passes))
    chunk, microbatch = _chunk_and_microbatch(shape, nth, group)
    chunk = np.where(is_backward, shape.num_chunks - 1 - chunk, chunk)
    kind = np.where(is_backward, ACTION_CODE["B"], ACTION_CODE["F"])
    return schedule_of(shape, kind, chunk, microbatch)


def schedule_of(shape: PipelineShape, kind: Int64, chunk: Int64, microbatch: Int64) -> Schedule:
    """Return the schedule of a table (rank, position) whose ranks hold stages in turn."""
    num_ranks, num_actions = kind.shape
    ranks = np.arange(num_ranks)
    return Schedule(
        num_microbatches=shape.num_microbatches,
        rank_of_stage=(np.arange(shape.num_stages) % num_ranks).astype(np.int32),
        kind=kind.astype(np.uint8).ravel(),
        stage=(chunk * num_ranks + ranks[:, None]).astype(np.int32).ravel(),
        microbatch=microbatch.astype(np.int32).ravel(),
        step=np.tile(np.arange(num_actions, dtype=np.int32), num_ranks),
        rank_offsets=num_actions * np.arange(num_ranks + 1, dtype=np.int64),
    )


def _split_passes(
    num_passes: int, warm_up: Int64, delay: Int64, backward_first: bool = False
) -> tuple[Int64, Int64]:
    """Return kind and number of every pass (rank, position) where backwards are cut in two."""
    orders = [
        _split_order(num_passes, first, late, backward_first)
        for first, late in zip(warm_up.tolist(), delay.tolist(), strict=True)
    ]
    table = np.array(orders, np.int64)
    return table[:, :, 0], table[:, :, 1]


def _split_order(
    num_passes: int, warm_up: int, delay: int, backward_first: bool
) -> list[tuple[int, int]]:
    """Return a rank's passes: after its warm-up F, I, W in turn (I, W, F where ``backward_first``).

    W is ``delay`` passes behind I.
    """
    order = [("F", number) for number in range(warm_up)]
    for number in range(num_passes + delay):
        turn = [("F", warm_up + number), ("I", number), ("W", number - delay)]
        turn = [*turn[1:], turn[0]] if backward_first else turn
        order += [each for each in turn if 0 <= each[1] < num_passes]
    return [(ACTION_CODE[kind], number) for kind, number in order]


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


def _chunk_and_microbatch(shape: PipelineShape, nth: Int64, group: int) -> tuple[Int64, Int64]:
    """Return what the nth pass works on: a group through each chunk, then the next group."""
    if shape.num_chunks == 1:
        return np.zeros_like(nth), nth
    number, within = np.divmod(nth, group * shape.num_chunks)
    size = np.minimum(group, shape.num_microbatches - number * group)
    chunk, member = np.divmod(within, size)
    return chunk, number * group + member
