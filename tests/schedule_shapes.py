"""Shapes of pipelines that suit a schedule, near the sizes that a test asks for."""

from __future__ import annotations

from flexsim.task_graph.schedules import SCHEDULES, PipelineShape


def fitting(name: str, num_ranks: int, num_microbatches: int, num_chunks: int = 1) -> PipelineShape:
    """Return the shape nearest to the given sizes that the schedule called ``name`` has."""
    entry = SCHEDULES[name]
    chunks = entry.num_chunks or (num_chunks if entry.supports_chunks else 1)
    if entry.num_lanes > 1:
        num_ranks += num_ranks % 2
        num_microbatches += num_microbatches % 2
    if name.startswith("dualpipe"):
        num_microbatches = max(num_microbatches, 2 * num_ranks)
    return PipelineShape(num_ranks, num_microbatches, chunks)
