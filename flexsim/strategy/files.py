"""Strategies as files: versioned JSON that says which model and cluster it is for.

Meshes are listed once and referred to by number; a config is ``[mesh, {dimension: mesh axes}]``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flexsim.device_graph import DeviceGraph
from flexsim.errors import ModelError, StrategyError
from flexsim.files import whole_file
from flexsim.operator_graph.graph import OperatorGraph
from flexsim.operator_graph.transformations import repeat_all
from flexsim.strategy.config import ParallelConfig
from flexsim.strategy.fingerprint import (
    Content,
    cluster_content,
    cluster_differences,
    model_content,
    model_differences,
)
from flexsim.strategy.flexflow_files import read_flexflow
from flexsim.strategy.mesh import Mesh
from flexsim.strategy.sharding import WHOLE, Sharding
from flexsim.strategy.strategy import Strategy, check_strategy
from flexsim.validation import one_sentence

FORMAT = "flexsim-strategy"
VERSION = 1

_TABLES = ("configs", "stage_of", "sharding")
_PLAIN = tuple(f.name for f in fields(Strategy) if f.name not in _TABLES)
_DEFAULTS = {f.name: f.default for f in fields(Strategy)}


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Operator(_Table):
    kind: str
    dims: dict[str, int]
    whole: list[str]
    reads: list[str]
    writes: list[str]


class _Model(_Table):
    name: str
    precision: str
    fingerprint: str
    operators: dict[str, _Operator]
    transformations: list[tuple[str, list[tuple[str, ...]]]] = []


class _Cluster(_Table):
    name: str
    fingerprint: str
    devices: list[tuple[str, int]]
    hosts: list[tuple[int, int]]
    links: list[tuple[tuple[str, float, int], int]]


class _Mesh(_Table):
    axes: list[str]
    shape: list[int]
    devices: list[int]


class _Sharding(_Table):
    axes: list[str]
    optimizer: bool
    gradients: bool
    weights: bool
    reshard: bool
    prefetch: int = Field(ge=0)


class _Run(_Table):
    """The fields of a strategy beside its configs and stages."""

    name: str
    rank_of_stage: list[int]
    schedule: str
    num_chunks: int
    num_microbatches: int
    recompute: list[list[str]]
    remade: list[list[str]] = []
    overlap_gradients: bool
    scatter_gather: bool
    blocking_transfers: bool
    gradient_norm: bool
    sharding: _Sharding | None = None
    num_lanes: int = Field(default=1, ge=1)
    offload: list[str] = []
    ring_axes: list[str] = []
    num_slices: int = Field(default=1, ge=1)
    num_iterations: int | None = Field(default=None, ge=1)


class StrategyFile(_Table):
    """What a strategy file holds, not yet compared with a model and a cluster."""

    format: str
    version: int
    model: _Model
    cluster: _Cluster
    strategy: _Run
    meshes: list[_Mesh]
    configs: dict[str, tuple[int, dict[str, list[str]]]]
    stage_of: dict[str, int]


def write_strategy(
    path: Path, strategy: Strategy, graph: OperatorGraph, devices: DeviceGraph
) -> None:
    """Write a strategy with the model and the cluster that it is for, whole or not at all."""
    content = strategy_content(strategy, graph, devices)
    with whole_file(path) as temporary:
        temporary.write_text(_text(content), encoding="utf-8")


def read_strategy(path: Path, graph: OperatorGraph, devices: DeviceGraph) -> Strategy:
    """Return the strategy of a file.

    Raise :class:`StrategyError` in one sentence where it cannot be read, is for another model
    or cluster (with the difference), or does not fit them.
    """
    return strategy_of(parse_strategy(path), graph, devices, str(path))


def load_strategy(path: Path, graph: OperatorGraph, devices: DeviceGraph) -> Strategy:
    """Return the strategy of a file of either kind: JSON, or FlexFlow's text."""
    if is_flexflow(path):
        return read_flexflow(path, graph, devices.num_devices)
    return read_strategy(path, graph, devices)


def graph_of_file(path: Path, graph: OperatorGraph) -> OperatorGraph:
    """Return the graph that the strategy of a file is for: a model's, transformed as it says."""
    if is_flexflow(path):
        return graph
    try:
        return repeat_all(graph, parse_strategy(path).model.transformations)
    except ModelError as problem:
        raise StrategyError(f"{path}: model.transformations: {problem}") from problem


def microbatches_of(path: Path) -> int:
    """Return how many microbatches the strategy of a file is for; FlexFlow has one."""
    return 1 if is_flexflow(path) else parse_strategy(path).strategy.num_microbatches


def is_flexflow(path: Path) -> bool:
    """Whether a file begins with a number, as FlexFlow's text does, instead of JSON."""
    try:
        with path.open("rb") as stream:
            return stream.read(64).lstrip()[:1].isdigit()
    except OSError:
        return False


def parse_strategy(path: Path) -> StrategyFile:
    """Return the content of a strategy file, checked by itself."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else problem
        raise StrategyError(f"{path}: cannot be read: {reason}") from problem
    return strategy_file(content, str(path))


def strategy_file(content: Any, source: str) -> StrategyFile:
    """Return parsed JSON as a checked record; ``source`` names it in messages."""
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise StrategyError(f"{source}: this is no strategy file: format = {FORMAT!r} is missing")
    if content.get("version") != VERSION:
        version = content.get("version")
        raise StrategyError(f"{source}: version = {version!r}, but this flexsim reads {VERSION}")
    try:
        return StrategyFile.model_validate(content)
    except ValidationError as problem:
        raise StrategyError(one_sentence(source, problem, StrategyFile)) from problem


def strategy_of(
    file: StrategyFile, graph: OperatorGraph, devices: DeviceGraph, source: str
) -> Strategy:
    """Return the strategy that a file holds, for this model on this cluster."""
    _check_same(source, file, graph, devices)
    try:
        configs = configs_of(file.model_dump(include={"meshes", "configs"}))
        strategy = _strategy(file, configs)
        check_strategy(strategy, graph, devices.num_devices)
    except StrategyError as problem:
        raise StrategyError(f"{source}: {problem}") from problem
    return strategy


def _is_told(strategy: Strategy, name: str) -> bool:
    """Whether a field is written: all that files have had from the first, others where set."""
    field = _Run.model_fields.get(name)
    return field is None or field.is_required() or getattr(strategy, name) != _DEFAULTS[name]


def strategy_content(strategy: Strategy, graph: OperatorGraph, devices: DeviceGraph) -> Content:
    """Return a strategy, and what it is for, as plain lists and dictionaries."""
    plain = {name: getattr(strategy, name) for name in _PLAIN if _is_told(strategy, name)}
    if strategy.sharding != WHOLE:
        plain["sharding"] = asdict(strategy.sharding)
    return {
        "format": FORMAT,
        "version": VERSION,
        "model": model_content(graph),
        "cluster": cluster_content(devices),
        "strategy": json.loads(json.dumps(plain)),
        **configs_content(strategy.configs),
        "stage_of": dict(strategy.stage_of),
    }


def configs_content(configs: Mapping[str, ParallelConfig]) -> Content:
    """Return ``meshes`` and ``configs`` as plain lists and dictionaries."""
    number = {config.mesh: 0 for config in configs.values()}
    number = {mesh: index for index, mesh in enumerate(number)}
    return {
        "meshes": [_mesh_content(mesh) for mesh in number],
        "configs": {
            name: [number[config.mesh], {dim: list(axes) for dim, axes in config.splits}]
            for name, config in configs.items()
        },
    }


def configs_of(content: Mapping[str, Any]) -> dict[str, ParallelConfig]:
    """Return the configs that :func:`configs_content` made plain."""
    meshes = [_mesh(each) for each in content["meshes"]]
    return {name: _config(name, entry, meshes) for name, entry in content["configs"].items()}


def _mesh_content(mesh: Mesh) -> Content:
    shape, devices = list(mesh.shape), mesh.flat.tolist()
    return {"axes": list(mesh.names), "shape": shape, "devices": devices}


def _mesh(content: Mapping[str, Any]) -> Mesh:
    devices, shape = content["devices"], content["shape"]
    if any(size < 1 for size in shape) or int(np.prod(shape, dtype=np.int64)) != len(devices):
        raise StrategyError(f"a mesh of shape {shape} does not hold {len(devices)} devices")
    if any(device < 0 or device >= 2**31 for device in devices):
        raise StrategyError(f"a mesh names device {min(devices)}; devices are numbered from 0")
    return Mesh(content["axes"], np.array(devices, np.int32).reshape(shape))


def _config(name: str, entry: Sequence[Any], meshes: Sequence[Mesh]) -> ParallelConfig:
    number, splits = entry
    if not 0 <= number < len(meshes):
        raise StrategyError(f"operator {name!r}: there is no mesh {number}")
    return ParallelConfig.of(meshes[number], {dim: tuple(axes) for dim, axes in splits.items()})


def _strategy(file: StrategyFile, configs: Mapping[str, ParallelConfig]) -> Strategy:
    plain = file.strategy.model_dump()
    plain["rank_of_stage"] = _ranks(file.strategy.rank_of_stage)
    plain["recompute"] = tuple(tuple(segment) for segment in file.strategy.recompute)
    plain["remade"] = tuple(tuple(segment) for segment in file.strategy.remade)
    plain["sharding"] = _sharding(file.strategy.sharding)
    plain["offload"] = tuple(file.strategy.offload)
    plain["ring_axes"] = tuple(file.strategy.ring_axes)
    return Strategy(configs=configs, stage_of=file.stage_of, **plain)


def _sharding(table: _Sharding | None) -> Sharding:
    if table is None:
        return WHOLE
    return Sharding(**{**table.model_dump(), "axes": tuple(table.axes)})


def _ranks(rank_of_stage: Sequence[int]) -> tuple[int, ...]:
    if sorted(set(rank_of_stage)) != list(range(len(set(rank_of_stage)))) or not rank_of_stage:
        raise StrategyError(f"rank_of_stage = {list(rank_of_stage)} must use ranks 0, 1, … in all")
    return tuple(rank_of_stage)


def _check_same(
    source: str, file: StrategyFile, graph: OperatorGraph, devices: DeviceGraph
) -> None:
    """Raise :class:`StrategyError` where a file is for another model or another cluster."""
    found = json.loads(json.dumps(file.model_dump(include={"model", "cluster"})))
    model, cluster = (
        json.loads(json.dumps(f)) for f in (model_content(graph), cluster_content(devices))
    )
    for what, differs in (
        (f"model ({found['model']['name']!r})", model_differences(found["model"], model)),
        (f"cluster ({found['cluster']['name']!r})", cluster_differences(found["cluster"], cluster)),
    ):
        if differs:
            raise StrategyError(f"{source}: this strategy is for another {what}: {differs}")


def _text(content: Content) -> str:
    """Return JSON with one operator, mesh or config a line."""
    lines = [f"{json.dumps(key)}: {_indented(value, 1)}" for key, value in content.items()]
    return "{\n " + ",\n ".join(lines) + "\n}\n"


def _indented(value: Any, depth: int) -> str:
    """Return one entry a line as long as entries hold others, then all on one line."""
    inner = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list) or not any(isinstance(e, dict | list) for e in inner):
        return json.dumps(value)
    if isinstance(value, dict) and depth < 3:
        entries = [
            f"{json.dumps(key)}: {_indented(each, depth + 1)}" for key, each in value.items()
        ]
    elif isinstance(value, list) and depth < 2:
        entries = [json.dumps(each) for each in value]
    else:
        return json.dumps(value)
    opened, closed = "{}" if isinstance(value, dict) else "[]"
    pad = "\n" + " " * (depth + 1)
    return opened + pad + f",{pad}".join(entries) + "\n" + " " * depth + closed
