"""From one row of a table of runs to the scenario that it describes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from flexsim.accuracy.cells import Cells, UnsimulatableError
from flexsim.accuracy.run_cluster import Degrees, cluster_of, degrees_of, device_graph_of
from flexsim.accuracy.run_model import model_of
from flexsim.accuracy.run_pipeline import pipeline_of
from flexsim.accuracy.spellings import (
    PRECISIONS,
    RECOMPUTE,
    SOFTWARE,
    SOFTWARE_OF_DEVICES,
    ZERO,
    Software,
    spelled,
)
from flexsim.errors import ScenarioError
from flexsim.scenario.schema import Scenario

_YES = ("yes", "true", "1", "on", "y")


def build_scenario(cells: Cells, changes: Mapping[str, Any]) -> Scenario:
    """Return the scenario of a row; raise :class:`UnsimulatableError` where there is none.

    ``changes`` replaces keys, flat: ``{"training.software": "mine.toml"}``.
    """
    if cells.problem:
        raise UnsimulatableError(cells.problem)
    degrees = degrees_of(cells)
    content = {
        "model": model_of(cells, degrees.tensor, is_layer(cells)),
        "cluster": cluster_of(cells, degrees.num_devices),
        "training": _training(cells, degrees),
        "strategy": _strategy(cells, degrees),
    }
    for key, value in changes.items():
        table, _, name = key.partition(".")
        content.setdefault(table, {})[name] = value
    try:
        return Scenario.from_dict(content, cells.source)
    except ScenarioError as problem:
        raise UnsimulatableError(str(problem).removeprefix(f"{cells.source}: ")) from problem


def is_layer(cells: Cells) -> bool:
    """Whether layers alone were measured: a forward and a backward, not an iteration."""
    return {"forward_ms", "backward_ms"} <= set(cells.facts) and not cells.text("iter_time_s")


def software_of(cells: Cells) -> Software:
    """Return the software of a row, told by its words or else by the devices."""
    words = cells.words("software")
    usual = next(each for each in SOFTWARE_OF_DEVICES if each.pattern in cells.words("gpu"))
    if not words:
        return usual
    told = cells.words("software", "model")  # MT-NLG and BLOOM had DeepSpeed as it was then
    searched = told if "deepspeed" in words else words
    found = next((each for each in SOFTWARE if re.search(each.pattern, searched)), None)
    if found is None:
        raise UnsimulatableError(
            f"software = {cells.text('software')!r}: there is no software profile for it"
        )
    return found


def precision_of(cells: Cells) -> str:
    """Return the precision of the products: 16 bit unless the row says otherwise."""
    if not cells.text("precision"):
        return "fp16" if re.search("a100|[vp]100|k80|2080", device_graph_of(cells)) else "bf16"
    return cells.known("precision", PRECISIONS)


def recompute_of(cells: Cells) -> str:
    """Return none, selective or full."""
    return cells.known("recompute", RECOMPUTE)


def _training(cells: Cells, degrees: Degrees) -> dict[str, Any]:
    batch = cells.needed("gbs")
    whole = batch // degrees.data if degrees.pipeline == 1 else 1
    return {
        "global_batch": batch,
        "micro_batch": cells.count("mbs") or max(whole, 1),
        "precision": precision_of(cells),
        "software": software_of(cells).profile,
        "recompute": recompute_of(cells),
    }


def _strategy(cells: Cells, degrees: Degrees) -> dict[str, Any]:
    table: dict[str, Any] = {
        "name": "megatron",
        "tensor": degrees.tensor,
        "pipeline": degrees.pipeline,
        "data": degrees.data,
        "sequence_parallel": _has_sequence_parallelism(cells, degrees),
    }
    if degrees.context > 1:
        a_to_a = re.search(r"a2a|all-?to-?all|ulysses", cells.words("simulatable", "notes"))
        table |= {"context": degrees.context}
        table |= {"context_method": "ulysses" if a_to_a else "ring"}
    table |= {"expert": cells.count("ep") or 1} if (cells.count("ep") or 1) > 1 else {}
    return table | _sharding(cells) | _overlap(cells) | pipeline_of(cells, degrees)


def _has_sequence_parallelism(cells: Cells, degrees: Degrees) -> bool:
    """Whether what lies between the products stays in parts, as GSPMD does unless told."""
    said = cells.words("sp")
    is_given = said in _YES or re.search(r"\bsp\b", cells.words("recompute")) is not None
    by_itself = not said and software_of(cells).profile == "xla-spmd"
    return degrees.tensor > 1 and (is_given or by_itself)


def _sharding(cells: Cells) -> dict[str, Any]:
    words = cells.words("sharding")
    stage = spelled(words, [(pattern, str(stage)) for pattern, stage in ZERO])
    if stage is None:
        raise UnsimulatableError(f"sharding = {cells.text('sharding')!r} is not known")
    group = re.search(r"(\d+)-way fully sharded", words)
    found: dict[str, Any] = {"zero": int(stage)} if int(stage) else {}
    if group:
        found |= {"shard": int(group.group(1)), "order": "shard,tensor,replica,pipeline"}
    return found


def _overlap(cells: Cells) -> dict[str, bool]:
    """Return whether gradients are reduced during the backward, where the row tells it."""
    words = cells.words("software")
    if "no overlap" in words or "ddp=local" in words:
        return {"overlap_gradients": False}
    return {"overlap_gradients": True} if "overlap" in words else {}
