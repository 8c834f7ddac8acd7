"""PipeDream and PipeDream-2BW: 1F1B that never flushes, with weights of several versions."""

from __future__ import annotations

from dataclasses import replace

from flexsim.task_graph.columns import Int64
from flexsim.task_graph.kinds import ACTION_KINDS
from flexsim.task_graph.schedules.orders import one_f_one_b
from flexsim.task_graph.schedules.schedule import PipelineShape, Schedule


def pipedream(shape: PipelineShape) -> Schedule:
    """Return PipeDream's 1F1B (Narayanan et al. 2019, arXiv 1806.03377, §3.2).

    Weights are updated after every backward, and a microbatch's backward takes the weights of
    its forward: rank r stashes p − r versions.
    """
    return replace(_without_flush(shape), microbatches_an_update=1)


def pipedream_2bw(shape: PipelineShape) -> Schedule:
    """Return PipeDream-2BW (Narayanan et al. 2021, arXiv 2006.09503, §3.1).

    Gradients of an iteration's microbatches are added up before the update. All ranks take weights
    that are one update old (§3.1: the semantics of a delay of 1), so that two versions are enough
    however many ranks there are, as long as an iteration has as many microbatches as ranks; with
    fewer, weights are older and there are more versions.
    """
    behind = -(-shape.num_ranks // shape.num_microbatches)
    return replace(
        _without_flush(shape),
        microbatches_an_update=shape.num_microbatches,
        updates_behind=behind,
    )


def iterations_until_steady(num_ranks: int, num_microbatches: int) -> int:
    """Return how many iterations fill a pipeline that never flushes, and how many empty it.

    As many as have a microbatch for every rank.
    """
    return -(-num_ranks // num_microbatches)


def steady_iterations(num_ranks: int, num_microbatches: int) -> int:
    """Return how many iterations of ``num_microbatches`` show the steady state unless told.

    The pipeline fills and empties in half of them; the others are measured, which are a whole
    number of rounds of the ranks.
    """
    return 4 * iterations_until_steady(num_ranks, num_microbatches)


def _without_flush(shape: PipelineShape) -> Schedule:
    total = shape.num_microbatches * shape.num_iterations
    schedule = one_f_one_b(replace(shape, num_microbatches=total, num_iterations=1))
    return replace(schedule, num_iterations=shape.num_iterations)


def weight_versions(schedule: Schedule) -> list[int]:
    """Return for each rank how many versions of its weights are held at once.

    A microbatch holds the version that was the newest when it began on the rank until its
    backward there; the newest is held too. Where all weights are some updates old there are as
    many versions more. With a flush it is one.
    """
    every = schedule.microbatches_an_update
    if every is None or schedule.updates_behind:
        return [1 + schedule.updates_behind] * schedule.num_ranks
    return [_versions(schedule, rank, every) for rank in range(schedule.num_ranks)]


def _versions(schedule: Schedule, rank: int, every: int) -> int:
    held: dict[int, int] = {}
    done, most = 0, 1
    for action in schedule.actions(rank):
        if action.kind == "F":
            held[action.microbatch] = done // every
        elif action.kind == "B":
            most = max(most, len({*held.values(), done // every}))
            del held[action.microbatch]
            done += 1
    return most


def steady_iteration_ns(schedule: Schedule, end_ns: Int64) -> int | None:
    """Return the time from the end of one iteration to the end of the next, in steady state.

    ``end_ns`` is when every action ends. It is the mean over the iterations between the first
    and the last, None where there are fewer than three.
    """
    if schedule.num_iterations < 3:
        return None
    size = schedule.num_microbatches // schedule.num_iterations
    ends = [0] * schedule.num_iterations
    for row in range(schedule.num_actions):
        if ACTION_KINDS[schedule.kind[row]] != "F":
            iteration = int(schedule.microbatch[row]) // size
            ends[iteration] = max(ends[iteration], int(end_ns[row]))
    return (ends[-2] - ends[0]) // (schedule.num_iterations - 2)
