"""TeraPipe: a sequence passes the pipeline in slices of its positions."""

from __future__ import annotations

from dataclasses import replace

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
