"""The pass that adds a microbatch's gradients to their sum, where products do not do so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from flexsim.cost.profiles import SoftwareProfile
from flexsim.cost.work import Work
from flexsim.strategy.mesh import Mesh
from flexsim.task_graph.kinds import TASK_CODE
from flexsim.task_graph.parts import WeightPart
from flexsim.task_graph.program import Program
from flexsim.task_graph.rows import B, Row, unique


def added_bytes_per_parameter(
    software: SoftwareProfile, precision: str, num_microbatches: int
) -> float:
    """Return what the pass moves for every parameter; 0 where there is no such pass.

    There is none where the weight-gradient products add to the sum themselves, or where there is
    one microbatch only.
    """
    traffic = software.gradient_accumulation_bytes_per_parameter.get(precision, 0)
    return traffic if num_microbatches > 1 else 0


def accumulation(num_parameters: float, num_parts: int, traffic: float) -> Work:
    """Return the work of adding gradients: a kernel for every part."""
    num_bytes = round(num_parameters * traffic)
    return Work("elementwise", "W", 0, num_bytes, num_kernels=num_parts)


def accumulated(
    program: Program, parts: list[WeightPart], software: SoftwareProfile
) -> list[WeightPart]:
    """Write, by stage, the pass that adds a microbatch's gradients; return parts that follow it."""
    precision, strategy = program.graph.stored_precision, program.strategy
    traffic = added_bytes_per_parameter(software, precision, strategy.num_microbatches)
    if not traffic:
        return parts
    together: dict[tuple[int, Mesh], list[WeightPart]] = {}
    for part in parts:
        together.setdefault((part.stage, part.layout.mesh), []).append(part)
    row_of = {key: _write(program, some, traffic) for key, some in together.items()}
    return [replace(part, rows=(row_of[part.stage, part.layout.mesh],)) for part in parts]


def _write(program: Program, parts: list[WeightPart], traffic: float) -> int:
    stage, mesh = parts[0].stage, parts[0].layout.mesh
    kept = sum(part.num_parameters / part.gradient_shares for part in parts)
    work = accumulation(kept, len(parts), traffic)
    duration = program.pricing.durations([work], np.zeros(mesh.size, np.int64), mesh)
    counts = np.full(mesh.size, work.num_bytes, np.int64)
    needs = unique(row for part in parts for row in part.rows)
    code, places = TASK_CODE["weight-gradient"], program.notebook.on_mesh(mesh)
    row = Row(stage, B, code, -1, places, duration, counts, needs, True)
    return program.notebook.write(row._replace(issue_ns=program.pricing.issue_ns([work])))
