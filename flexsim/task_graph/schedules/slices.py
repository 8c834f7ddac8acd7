"""TeraPipe: a sequence passes the pipeline in slices of its positions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from flexsim.task_graph.schedules.orders import looped_bfs
from flexsim.task_graph.schedules.schedule import PipelineShape, Schedule


def terapipe(shape: PipelineShape) -> Schedule:
    """Return TeraPipe (Li et al. 2021, arXiv 2102.07988, §3.2).

    A microbatch is ``num_slices`` runs of positions: forwards go from the first on, because
    attention reads what is before, and all backwards from the last back. Microbatch i's slice j
    is called i · slices + j, and actions are of one slice.
    """
    total = shape.num_microbatches * shape.num_slices
    schedule = looped_bfs(replace(shape, num_microbatches=total, num_slices=1))
    return replace(schedule, num_slices=shape.num_slices)


def in_lanes_of_slices(schedule: Schedule) -> Schedule:
    """Return a schedule in which every slice of a sequence has stages of its own.

    Slice j of stage s is stage j · stages + s, on the rank of stage s: a copy of the model with the
    same weights, of the slice's own sizes. Schedules of whole sequences are returned as they are.
    """
    slices, stages = schedule.num_slices, schedule.num_stages
    if slices == 1:
        return schedule
    stage = schedule.stage + stages * (schedule.microbatch % slices)
    return replace(
        schedule,
        stage=stage.astype(np.int32),
        rank_of_stage=np.tile(schedule.rank_of_stage, slices),
    )
