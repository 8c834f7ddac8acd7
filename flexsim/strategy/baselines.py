"""Named strategies: points that experts chose in the space of configs.

None has code below this module: each only maps dimensions, by their names, to mesh axes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, groupby

import numpy as np
from numpy.typing import NDArray

from flexsim.errors import StrategyError, choices_text
from flexsim.operator_graph.graph import OperatorGraph
from flexsim.operator_graph.keys import Key
from flexsim.operator_graph.records import Operator
from flexsim.strategy.axes import (
    Replicas,
    check_replicas,
    completed_order,
    ring_axes,
    splits_of,
)
from flexsim.strategy.config import ParallelConfig
from flexsim.strategy.mesh import Mesh
from flexsim.strategy.recompute import (
    ALL_LAYERS,
    CHEAP,
    SomeLayers,
    cheap_runs,
    segments_of_stages,
)
from flexsim.strategy.sharding import WHOLE, Sharding
from flexsim.strategy.strategy import Strategy

AXES = ("tensor", "data", "pipeline")
PLACEMENTS = ("loop", "v")
SHARD_AXES = frozenset(("shard", "replica"))
"""What may stand in place of data in an order: groups that keep shares, and the groups."""
SLOWEST_FIRST = ("pipeline", "data", "replica", "shard", "expert", "context", "tensor")
"""Axes in the order in which a stage's mesh has them."""


@dataclass(frozen=True)
class Degrees:
    """How many ways each named axis is cut, and how the pipeline runs.

    ``order`` names the axes from the fastest-varying device number to the slowest.
    ``chunks`` are stages a rank, cut equally unless ``layers_per_stage`` are given; ``recompute``
    is none, cheap, selective or full, in ``recompute_layers`` of every stage, or ``segments`` says
    which runs of operators; ``offload`` names what is kept on the host. ``zero`` is a stage of
    ZeRO over groups of ``shard`` replicas (all of them unless given), with weights dropped after
    the forward (``reshard``) and gathered ``prefetch`` layers ahead. ``placement`` says which rank
    holds which stage (:func:`ranks_of_stages`), and ``lanes`` are copies of the model.
    ``context`` cuts positions, keys and values brought by ``context_method``; ``expert`` is taken
    from data x context (:mod:`flexsim.strategy.axes`).
    """

    tensor: int = 1
    pipeline: int = 1
    data: int = 1
    chunks: int = 1
    sequence_parallel: bool = False
    order: str = "tensor,data,pipeline"
    schedule: str = "1f1b"
    num_microbatches: int = 1
    recompute: str = "none"
    recompute_layers: SomeLayers = ALL_LAYERS
    segments: tuple[tuple[str, ...], ...] | None = None
    layers_per_stage: tuple[int, ...] | None = None
    offload: tuple[str, ...] = ()
    overlap_gradients: bool = False
    scatter_gather: bool = False
    blocking_transfers: bool = False
    gradient_norm: bool = True
    zero: int = 0
    shard: int | None = None
    reshard: bool = True
    prefetch: int = 1
    placement: str = "loop"
    lanes: int = 1
    context: int = 1
    context_method: str = "all-gather"
    expert: int = 1
    slices: tuple[int, ...] = ()
    """Lengths of the slices in which a sequence passes; none: it passes whole."""
    iterations: int | None = None
    """Iterations without a flush; None: as many as show the steady state."""

    @property
    def num_slices(self) -> int:
        """Copies of the model, each for a slice of the positions."""
        return max(1, len(self.slices))

    @property
    def num_devices(self) -> int:
        """Product of the degrees; experts take theirs from the others."""
        return self.tensor * self.pipeline * self.data * self.context

    @property
    def replicas(self) -> Replicas:
        """How samples, positions and experts are cut."""
        return Replicas(self.data, self.context, self.expert, self.shard)


def single(graph: OperatorGraph, degrees: Degrees) -> Strategy:
    """Everything on one device."""
    check_degrees("single", degrees)
    return replace(megatron(graph, degrees), name="single")


def data(graph: OperatorGraph, degrees: Degrees) -> Strategy:
    """Data parallelism: the batch is cut, every weight replicated and synchronized."""
    check_degrees("data", degrees)
    return replace(megatron(graph, degrees), name="data")


def megatron(graph: OperatorGraph, degrees: Degrees) -> Strategy:
    """Tensor x pipeline x data parallelism in Megatron's rank order (Narayanan et al. 2021).

    The batch is cut over ``data``; heads, feed-forward and vocabulary over ``tensor``; with
    sequence parallelism the other operators' positions too (Korthikanti et al. 2022); layers
    over ``pipeline`` ranks, round-robin in chunks.
    """
    _check_tensor(graph, degrees.tensor)
    check_replicas(graph, degrees.replicas, degrees.context_method)
    tensor_axes = _tensor_axes(graph, degrees.tensor)
    meshes = [_mesh(degrees, tensor_axes, stage) for stage in ranks_of_devices(degrees)]
    stage_of = _stages(graph, degrees)
    placement = ranks_of_stages(degrees)
    found = Strategy(
        name="megatron",
        configs=_configs(graph, stage_of, [meshes[rank] for rank in placement], degrees),
        stage_of=stage_of,
        rank_of_stage=tuple(placement),
        schedule=degrees.schedule,
        num_chunks=degrees.chunks,
        num_microbatches=degrees.num_microbatches,
        offload=degrees.offload,
        overlap_gradients=degrees.overlap_gradients,
        scatter_gather=degrees.scatter_gather,
        blocking_transfers=degrees.blocking_transfers,
        gradient_norm=degrees.gradient_norm,
        sharding=sharding_of(degrees),
        num_lanes=degrees.lanes,
        ring_axes=ring_axes(degrees.replicas, degrees.context_method),
        num_slices=degrees.num_slices,
        num_iterations=degrees.iterations,
    )
    return recomputed(found, graph, degrees)


def recomputed(strategy: Strategy, graph: OperatorGraph, degrees: Degrees) -> Strategy:
    """Return a strategy that repeats in the backward what the degrees say, and nothing else."""
    remade = cheap_runs(graph) if degrees.recompute == CHEAP else ()
    segments = segments_of(graph, strategy.stage_of, degrees)
    return replace(strategy, recompute=segments, remade=remade)


BASELINES: Mapping[str, Callable[[OperatorGraph, Degrees], Strategy]] = {
    "single": single,
    "data": data,
    "megatron": megatron,
}


def on_first_rank(graph: OperatorGraph, degrees: Degrees) -> Strategy:
    """Return the strategy that runs all stages as one on the devices of the first rank.

    It tells what operators cost before they are cut into stages.
    """
    mesh = _mesh(degrees, _tensor_axes(graph, degrees.tensor), ranks_of_devices(degrees)[0])
    alone = replace(degrees, pipeline=1, chunks=1, placement="loop", lanes=1)
    alone = replace(alone, schedule="gpipe", num_microbatches=1, layers_per_stage=None)
    alone = replace(alone, slices=(), iterations=None)
    stage_of = dict.fromkeys(graph.by_name, 0)
    configs = _configs(graph, stage_of, [mesh], alone)
    return replace(megatron(graph, alone), configs=configs)


def segments_of(
    graph: OperatorGraph, stage_of: Mapping[str, int], degrees: Degrees
) -> tuple[tuple[str, ...], ...]:
    """Return the runs of operators that the degrees say are recomputed."""
    if degrees.segments is not None:
        return degrees.segments
    return segments_of_stages(graph, stage_of, degrees.recompute, degrees.recompute_layers)


def _check_tensor(graph: OperatorGraph, tensor: int) -> None:
    """Raise where tensor parallelism would cut no layer and only replicate them all."""
    if tensor > 1 and not any({"g", "f"} & op.sizes.keys() for op in graph.operators):
        raise StrategyError(
            f"strategy.tensor = {tensor} has no meaning for {graph.name!r}, which has neither "
            "attention heads nor feed-forward layers; choose 1"
        )


_FREE = {"single": (), "data": ("data",)}
"""Degrees that a named strategy leaves open, of those that leave not all of them open."""


_DEGREES = ("tensor", "pipeline", "data", "chunks", "context", "expert")


def check_degrees(name: str, degrees: Degrees) -> None:
    """Raise :class:`StrategyError` where a degree does not go with a named strategy."""
    free = _FREE.get(name, _DEGREES)
    for key in _DEGREES:
        value = getattr(degrees, key)
        if key not in free and value != 1:
            raise StrategyError(
                f"strategy.{key} = {value} does not go with strategy {name!r}; "
                f"leave it at 1 or choose 'megatron'"
            )


def ranks_of_devices(degrees: Degrees) -> NDArray[np.int32]:
    """Return the devices of every pipeline rank, ``[pipeline, data x context, tensor]``."""
    given = [name.strip() for name in degrees.order.split(",")]
    order = completed_order(given, degrees.replicas)[::-1]
    sizes = _sizes_of_axes(degrees, set(order))
    if sorted(order) != sorted(sizes):
        raise StrategyError(
            f"strategy.order = {degrees.order!r} must name {', '.join(AXES)} once each"
            + (", or shard and replica in place of data" if degrees.shard else "")
        )
    array = np.arange(degrees.num_devices, dtype=np.int32).reshape([sizes[name] for name in order])
    in_order = array.transpose([order.index(name) for name in SLOWEST_FIRST if name in sizes])
    return in_order.reshape(degrees.pipeline, degrees.data * degrees.context, degrees.tensor)


def _sizes_of_axes(degrees: Degrees, named: set[str]) -> dict[str, int]:
    """Return how long each axis is that an order must name."""
    replicas = degrees.replicas
    sizes = {"tensor": degrees.tensor, "pipeline": degrees.pipeline}
    if SHARD_AXES & named:
        *outer, (_, sizes["shard"]) = replicas.data_axes
        sizes["replica"] = outer[0][1] if outer else 1
    else:
        sizes["data"] = degrees.data // replicas.expert_of_data
    others = {"context": degrees.context, "expert": replicas.expert_of_data}
    return sizes | {name: size for name, size in others.items() if size > 1 or name in named}


def _mesh(degrees: Degrees, tensor_axes: tuple[int, int], stage: NDArray[np.int32]) -> Mesh:
    groups, repeats = tensor_axes
    axes = [*degrees.replicas.axes]
    if repeats == 1:
        axes += [("tensor", groups)]
    else:
        axes += [("tensor.group", groups), ("tensor.repeat", repeats)]
    return Mesh(tuple(name for name, _ in axes), stage.reshape([size for _, size in axes]))


def sharding_of(degrees: Degrees) -> Sharding:
    """Return what replicas keep shares of."""
    if degrees.data * degrees.context == 1:
        return WHOLE
    axes = degrees.replicas.sharing_axes
    return Sharding.stage(degrees.zero, axes, degrees.reshard, degrees.prefetch)


def _tensor_axes(graph: OperatorGraph, tensor: int) -> tuple[int, int]:
    """Return how many ways key heads are cut, and then the query heads that share one."""
    groups = [op.sizes["g"] for op in graph.operators if "g" in op.sizes]
    num_groups = min(groups, default=tensor)
    return (tensor, 1) if tensor <= num_groups else (num_groups, tensor // num_groups)


def _configs(
    graph: OperatorGraph, stage_of: Mapping[str, int], meshes: Sequence[Mesh], degrees: Degrees
) -> dict[str, ParallelConfig]:
    """Return the config of every operator, one object for all that are cut alike."""
    distinct: dict[tuple[Key, int], ParallelConfig] = {}
    configs: dict[str, ParallelConfig] = {}
    for op in graph.operators:
        key = op.key, stage_of[op.name]
        if key not in distinct:
            distinct[key] = _config(op, meshes[key[1]], degrees)
        configs[op.name] = distinct[key]
    return configs


def _config(operator: Operator, mesh: Mesh, degrees: Degrees) -> ParallelConfig:
    positions = degrees.sequence_parallel
    return ParallelConfig.of(mesh, splits_of(operator, mesh, positions, degrees.context_method))


def lighter_ends(num_layers: int, num_stages: int) -> int:
    """Return how many layers less the first and the last stage get than the others.

    It is 1 where equal runs are possible only if embedding and head count as a layer each, as
    for Llama 3's 126 layers on 16 stages (Grattafiori et al. 2024, section 3.3.2), else 0.
    """
    return int(num_layers % num_stages > 0 and (num_layers + 2) % num_stages == 0)


def ranks_of_stages(degrees: Degrees) -> list[int]:
    """Return the pipeline rank of every global stage, as ``degrees.placement`` says.

    ``loop`` goes round the ranks, chunk after chunk (Narayanan et al. 2021, arXiv 2104.04473);
    ``v`` comes back on every second chunk, so that the first rank has the last stage too (Qi et
    al. 2024, arXiv 2405.15362).
    """
    if degrees.placement not in PLACEMENTS:
        known = choices_text(degrees.placement, PLACEMENTS)
        raise StrategyError(f"there is no placement {degrees.placement!r}: {known}")
    forth = list(range(degrees.pipeline))
    turns = [forth, forth[::-1] if degrees.placement == "v" else forth]
    lane = [rank for chunk in range(degrees.chunks) for rank in turns[chunk % 2]]
    back = [degrees.pipeline - 1 - rank for rank in lane]
    lanes = [rank for number in range(degrees.lanes) for rank in (back if number % 2 else lane)]
    return lanes * degrees.num_slices


def _stages(graph: OperatorGraph, degrees: Degrees) -> dict[str, int]:
    """Return the global stage of every operator: blocks in runs, the rest at the ends."""
    num_stages = degrees.pipeline * degrees.chunks
    stages: dict[str, int] = {}
    for lane, operators in groupby(graph.operators, lambda op: op.lane):
        found = _stages_of(list(operators), graph.name, degrees)
        stages |= {name: lane * num_stages + stage for name, stage in found.items()}
    return stages


def _stages_of(operators: list[Operator], model: str, degrees: Degrees) -> dict[str, int]:
    blocks = list(dict.fromkeys(op.block for op in operators if op.block))
    stage_of_block = dict(zip(blocks, stages_of_layers(len(blocks), model, degrees), strict=True))
    last = degrees.pipeline * degrees.chunks - 1
    stages: dict[str, int] = {}
    here, is_over = 0, False
    for operator in operators:
        if operator.block:
            here = stage_of_block[operator.block]
            is_over = operator.block == blocks[-1]
        stages[operator.name] = last if is_over and not operator.block else here
    return stages


def stages_of_layers(num_blocks: int, model: str, degrees: Degrees) -> list[int]:
    """Return the stage of every layer of a lane: as the list says, or in equal runs."""
    num_stages = degrees.pipeline * degrees.chunks
    if degrees.layers_per_stage is not None:
        ends = list(accumulate(_checked_layers(num_blocks, model, degrees)))
        return [bisect_right(ends, index) for index in range(num_blocks)]
    lighter = lighter_ends(num_blocks, num_stages)
    run, left_over = divmod(num_blocks + 2 * lighter, num_stages)
    if num_stages > 1 and (not num_blocks or left_over):
        raise StrategyError(
            f"strategy.pipeline x strategy.chunks = {num_stages} does not divide the "
            f"{num_blocks} layers of {model}; choose a divisor, strategy.balance = 'time' or "
            "'memory', or strategy.layers_per_stage"
        )
    return [(index + lighter) // run for index in range(num_blocks)]


def _checked_layers(num_blocks: int, model: str, degrees: Degrees) -> tuple[int, ...]:
    """Return the layers of every stage; raise where they are not those of the model."""
    found = degrees.layers_per_stage or ()
    num_stages = degrees.pipeline * degrees.chunks
    if len(found) != num_stages or sum(found) != num_blocks or min(found) < 0:
        raise StrategyError(
            f"strategy.layers_per_stage = {list(found)} has {len(found)} stages and {sum(found)} "
            f"layers; give {num_stages} numbers (strategy.pipeline x strategy.chunks) that add up "
            f"to the {num_blocks} layers of {model}"
        )
    return found
