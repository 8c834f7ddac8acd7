"""Strategies that experts published for convolutional and for recurrent networks.

They are points in the same space of configs as any other, chosen by what operators do instead
of by search: Krizhevsky 2014 cuts what has many weights along them, Wu et al. 2016 place one
layer a device.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from string import digits

import numpy as np

from flexsim.errors import StrategyError
from flexsim.operator_graph.graph import SAMPLE_DIM, OperatorGraph
from flexsim.operator_graph.records import Operator
from flexsim.strategy.baselines import Degrees, ranks_of_devices, segments_of
from flexsim.strategy.config import ParallelConfig
from flexsim.strategy.mesh import Mesh
from flexsim.strategy.strategy import Strategy

_CLASSIFIER_KINDS = ("linear", "elementwise", "cross-entropy")


def one_weird_trick(graph: OperatorGraph, degrees: Degrees) -> Strategy:
    """Samples of convolutions cut over all devices, outputs of dense layers over ``tensor``.

    Krizhevsky 2014 (arXiv 1404.5997): convolutions have the work, the dense layers of the
    classifier the weights. Over ``data`` both are data parallel.
    """
    _leave(degrees, "one-weird-trick", "pipeline", "chunks", "sequence_parallel")
    first = _first_dense(graph)
    mesh = Mesh(("data", "tensor"), ranks_of_devices(degrees)[0])
    samples = ParallelConfig.of(mesh, {SAMPLE_DIM: mesh.names})
    configs = {
        op.name: samples if index < first else _dense_config(op, mesh)
        for index, op in enumerate(graph.operators)
    }
    return _strategy("one-weird-trick", graph, configs, degrees)


def layer_placement(graph: OperatorGraph, degrees: Degrees) -> Strategy:
    """Recurrent layers placed on ``pipeline`` devices by their depth, replicas over ``data``.

    GNMT's model parallelism (Wu et al. 2016, arXiv 1609.08144, section 3.1), as Jia, Zaharia
    and Aiken 2019 compare with it: operators of one depth share a device, and the devices of a
    replica are neighbours. The steps of a layer follow one another as their data allow, so that
    devices work on different steps.
    """
    _leave(degrees, "layer-placement", "tensor", "chunks", "sequence_parallel", "order")
    devices = np.arange(degrees.num_devices).reshape(degrees.data, degrees.pipeline)
    on_rank = [
        ParallelConfig.of(Mesh(("data",), column), {SAMPLE_DIM: ("data",)}) for column in devices.T
    ]
    ranks = _ranks(graph, degrees.pipeline)
    configs = {op.name: on_rank[ranks[op.name]] for op in graph.operators}
    return _strategy("layer-placement", graph, configs, degrees)


EXPERTS: Mapping[str, Callable[[OperatorGraph, Degrees], Strategy]] = {
    "one-weird-trick": one_weird_trick,
    "layer-placement": layer_placement,
}
EXPERT_DEGREES: Mapping[str, str] = {"one-weird-trick": "tensor", "layer-placement": "pipeline"}
"""The degree that is an expert's own, beside data parallelism."""


def _strategy(
    name: str, graph: OperatorGraph, configs: Mapping[str, ParallelConfig], degrees: Degrees
) -> Strategy:
    """Return a strategy of a single stage: operators start as soon as their data allow."""
    return Strategy(
        name=name,
        configs=configs,
        schedule=degrees.schedule,
        num_microbatches=degrees.num_microbatches,
        recompute=segments_of(graph, dict.fromkeys(graph.by_name, 0), degrees),
        offload=degrees.offload,
        overlap_gradients=degrees.overlap_gradients,
        scatter_gather=degrees.scatter_gather,
        blocking_transfers=degrees.blocking_transfers,
        gradient_norm=degrees.gradient_norm,
    )


def _leave(degrees: Degrees, name: str, *keys: str) -> None:
    """Raise :class:`StrategyError` where one of ``keys`` is not what it is by default."""
    for key in keys:
        value, default = getattr(degrees, key), getattr(Degrees(), key)
        if value != default:
            raise StrategyError(
                f"strategy.{key} = {str(value).lower()} does not go with strategy {name!r}; "
                f"leave it at {str(default).lower()}"
            )


def _first_dense(graph: OperatorGraph) -> int:
    """Return where the dense layers begin, after which nothing but a classifier may follow."""
    kinds = [op.kind for op in graph.operators]
    first = kinds.index("linear") if "linear" in kinds else 0
    if "convolution" not in kinds[:first] or set(kinds[first:]) - set(_CLASSIFIER_KINDS):
        raise StrategyError(
            f"strategy 'one-weird-trick' has no meaning for {graph.name!r}, which is not made of"
            " convolutions and then dense layers; choose 'data'"
        )
    return first


def _dense_config(operator: Operator, mesh: Mesh) -> ParallelConfig:
    """Return the config that cuts samples over ``data`` and outputs over ``tensor``."""
    dim = operator.forward[0].writes[0].dims[-1] if operator.kind != "cross-entropy" else "v"
    return ParallelConfig.of(mesh, {SAMPLE_DIM: ("data",), dim: ("tensor",)})


def _ranks(graph: OperatorGraph, num_ranks: int) -> dict[str, int]:
    """Return the rank of every operator.

    Operators before and after the layers get ranks of their own where there are enough.
    """
    depths = _depths(graph)
    layers = max(depths.values()) - 1
    if num_ranks > layers + 2:
        raise StrategyError(
            f"strategy.pipeline = {num_ranks} is more than the {layers} layers of"
            f" {graph.name!r}, what is before and what is after them; choose from 1 to"
            f" {layers + 2}"
        )
    own = min(max(num_ranks - layers, 0), 2)
    before = int(own == 2)
    inner = [before + index * (num_ranks - own) // layers for index in range(layers)]
    rank_of_depth = [0, *inner, num_ranks - 1]
    return {name: rank_of_depth[depth] for name, depth in depths.items()}


def _depths(graph: OperatorGraph) -> dict[str, int]:
    """Return 0 for embeddings, 1 and up for layers, and what remains after all of them."""
    if not any(op.kind == "lstm" for op in graph.operators):
        raise StrategyError(
            f"strategy 'layer-placement' has no meaning for {graph.name!r}, which has no"
            " recurrent layers; choose 'data'"
        )
    depth_of = _places_in_stacks(dict.fromkeys(op.block for op in graph.operators if op.block))
    last = max(depth_of.values()) + 1
    outside = {op.name: 0 if op.kind == "embedding" else last for op in graph.operators}
    return {op.name: depth_of.get(op.block, outside[op.name]) for op in graph.operators}


def _places_in_stacks(blocks: Iterable[str]) -> dict[str, int]:
    """Return the place of every layer in its stack, from 1.

    The second layer of a decoder is as deep as the second of the encoder.
    """
    places: dict[str, count[int]] = defaultdict(lambda: count(1))
    return {block: next(places[block.rstrip(digits)]) for block in blocks}
