"""From a run's words about its pipeline to schedule, chunks and layers of stages."""

from __future__ import annotations

import math
import re
from typing import Any

from flexsim.accuracy.cells import Cells
from flexsim.accuracy.run_cluster import Degrees
from flexsim.accuracy.spellings import SCHEDULES

_SPLIT_SCHEDULES = ("zb-", "v-")
"""Schedules of the Zero Bubble papers, which check the step afterwards."""
_LIGHT_ENDS = r"first and last stage have one layer less"


def pipeline_of(cells: Cells, degrees: Degrees) -> dict[str, Any]:
    """Return the keys of a pipeline's schedule; none without a pipeline."""
    schedule = cells.known("schedule", SCHEDULES)
    if degrees.pipeline == 1:
        return {}
    stages, layers = degrees.pipeline, cells.needed("layers")
    light_ends = re.search(_LIGHT_ENDS, cells.words("notes")) is not None
    chunks = _chunks(cells, schedule, (layers + 2 * light_ends) // stages)
    if schedule == "interleaved-1f1b" and chunks == 1:
        schedule = "1f1b"
    found: dict[str, Any] = {"chunks": chunks} if chunks > 1 else {}
    found |= {"schedule": schedule} if schedule else {}
    if schedule.startswith(_SPLIT_SCHEDULES):
        found |= {"gradient_norm": False, "blocking_transfers": False}
    return found | _layers(cells, layers, stages * chunks, light_ends)


def _chunks(cells: Cells, schedule: str, layers_a_device: int) -> int:
    """Return the chunks of a device; an interleaved schedule has the fewest unless it is told."""
    text = cells.text("vpp").lower()
    if "each layer" in text or "max" in text:
        return layers_a_device
    given = cells.count("vpp")
    if given is not None:
        return given
    if schedule in ("zb-v", "v-half", "v-min", "dualpipe-v"):
        return 2
    if not schedule.startswith(("interleaved", "looped")):
        return 1
    return next((n for n in range(2, layers_a_device + 1) if layers_a_device % n == 0), 1)


def _layers(cells: Cells, layers: int, stages: int, light_ends: bool) -> dict[str, list[int]]:
    """Return layers by stage where they are not equal.

    Where two layers more would make them equal, embedding and head count as one each. DeepSpeed
    fills its first stages (runtime/utils.py, partition_balanced); others have the larger ones last.
    """
    if layers % stages == 0:
        return {}
    if light_ends or (layers + 2) % stages == 0:
        inner = math.ceil(layers / stages)
        return {"layers_per_stage": [inner - 1, *[inner] * (stages - 2), inner - 1]}
    if "deepspeed" in cells.words("software"):
        return {"layers_per_stage": _filled(layers, stages)}
    least, more = divmod(layers, stages)
    return {"layers_per_stage": [least + (stage >= stages - more) for stage in range(stages)]}


def _filled(layers: int, stages: int) -> list[int]:
    """Return stages that are filled one after the other; each of the rest is left one layer."""
    most, found = math.ceil(layers / stages), list[int]()
    for stage in range(stages):
        found.append(min(most, layers - sum(found) - (stages - stage - 1)))
    return found
