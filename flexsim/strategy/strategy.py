"""A strategy: a config an operator, its stages, and how they run in time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flexsim.errors import StrategyError, choices_text
from flexsim.operator_graph.graph import OperatorGraph
from flexsim.operator_graph.keys import Key
from flexsim.strategy.config import ParallelConfig, check_config
from flexsim.strategy.mesh import Mesh
from flexsim.strategy.sharding import WHOLE, Sharding

OPTIMIZER, ACTIVATIONS = "optimizer", "activations"
"""What may be kept on the host."""


@dataclass(frozen=True, eq=False)
class Strategy:
    """How an operator graph runs on devices.

    ``configs`` and ``stage_of`` have an entry an operator; ``rank_of_stage`` places global
    stages on pipeline ranks. ``recompute`` lists segments of operators whose forward is
    repeated in the backward; ``offload`` names what is kept on the host (optimizer,
    activations). ``scatter_gather`` sends replicated activations between stages
    in shares; ``overlap_gradients`` starts a weight's synchronization as soon as its gradient
    is complete; ``gradient_norm`` adds the global all-reduce before the optimizer step. With
    ``blocking_transfers`` a stage goes on only after what it sends has arrived. ``sharding``
    says what replicas keep in shares. A microbatch passes one of ``num_lanes`` copies of the model,
    whose stages are numbered one copy after the other. Along ``ring_axes`` what attention
    gathers and scatters goes round in steps while its kernel works.
    """

    name: str
    configs: Mapping[str, ParallelConfig]
    stage_of: Mapping[str, int] = field(default_factory=dict)
    rank_of_stage: tuple[int, ...] = (0,)
    schedule: str = "gpipe"
    num_chunks: int = 1
    num_microbatches: int = 1
    recompute: tuple[tuple[str, ...], ...] = ()
    remade: tuple[tuple[str, ...], ...] = ()
    """Runs of operators of which nothing is kept: whatever reads their results in the backward
    has them made anew."""
    offload: tuple[str, ...] = ()
    overlap_gradients: bool = False
    scatter_gather: bool = False
    blocking_transfers: bool = False
    gradient_norm: bool = True
    sharding: Sharding = WHOLE
    num_lanes: int = 1
    ring_axes: tuple[str, ...] = ()
    num_slices: int = 1
    """Copies of the model, each for a slice of a sequence's positions, that all microbatches pass;
    their stages are numbered one copy after the other."""
    num_iterations: int | None = None
    """Iterations that are simulated where they follow one another without a flush; None: as many
    as show the steady state."""

    @property
    def num_stages(self) -> int:
        """Number of global stages."""
        return len(self.rank_of_stage)

    @property
    def passes_a_stage(self) -> int:
        """How many microbatches pass a stage."""
        return self.num_microbatches // self.num_lanes

    @property
    def num_ranks(self) -> int:
        """Number of pipeline ranks."""
        return max(self.rank_of_stage) + 1

    @cached_property
    def devices(self) -> NDArray[np.int32]:
        """Every device that some operator uses, sorted."""
        meshes = dict.fromkeys(config.mesh for config in self.configs.values())
        return np.unique(np.concatenate([mesh.flat for mesh in meshes]))

    @cached_property
    def meshes_of_stage(self) -> tuple[tuple[Mesh, ...], ...]:
        """The distinct meshes of every global stage, in program order."""
        found: list[dict[Mesh, None]] = [{} for _ in self.rank_of_stage]
        for name, config in self.configs.items():
            found[self.stage_of.get(name, 0)][config.mesh] = None
        return tuple(tuple(meshes) for meshes in found)


def check_strategy(strategy: Strategy, graph: OperatorGraph, num_devices: int) -> None:
    """Raise :class:`StrategyError` where a strategy does not fit a model and a cluster."""
    fitting: set[tuple[Key, ParallelConfig]] = set()
    for operator in graph.operators:
        if operator.name not in strategy.configs:
            raise StrategyError(f"strategy {strategy.name!r} leaves out {operator.name!r}")
        pair = operator.key, strategy.configs[operator.name]
        if pair not in fitting:
            check_config(operator, pair[1])
            fitting.add(pair)
    for name in (*strategy.configs, *strategy.stage_of, *_recomputed(strategy)):
        if name not in graph.by_name:
            known = choices_text(name, graph.by_name) if len(graph.by_name) < 20 else "none such"
            raise StrategyError(f"strategy {strategy.name!r}: no operator {name!r}: {known}")
    _check_stages(strategy)
    check_device(strategy, int(strategy.devices[-1]), num_devices)


def check_device(strategy: Strategy, device: int, num_devices: int) -> None:
    """Raise :class:`StrategyError` for a device of a strategy that a cluster does not have."""
    if device >= num_devices:
        raise StrategyError(
            f"strategy {strategy.name!r} names device {device}, but the cluster has "
            f"{num_devices} (0 to {num_devices - 1})"
        )


def _recomputed(strategy: Strategy) -> list[str]:
    return [name for segment in (*strategy.recompute, *strategy.remade) for name in segment]


def _check_stages(strategy: Strategy) -> None:
    if strategy.num_microbatches < 1:
        raise StrategyError(f"strategy {strategy.name!r} needs at least one microbatch")
    stages = [strategy.stage_of.get(name, 0) for name in strategy.configs]
    if strategy.num_microbatches % strategy.num_lanes:
        raise StrategyError(
            f"strategy {strategy.name!r}: {strategy.num_microbatches} microbatches do not divide "
            f"into {strategy.num_lanes} directions; choose a multiple"
        )
    empty = sorted(set(range(strategy.num_stages)) - set(stages))
    if empty or max(stages) >= strategy.num_stages:
        raise StrategyError(
            f"strategy {strategy.name!r} has {strategy.num_stages} stages, but "
            + (f"no operator on stage {empty[0]}" if empty else f"one on stage {max(stages)}")
        )
    for segment in strategy.recompute:
        if len({strategy.stage_of.get(name, 0) for name in segment}) > 1:
            raise StrategyError(
                f"strategy {strategy.name!r}: the recomputed run from {segment[0]!r} to "
                f"{segment[-1]!r} crosses a stage boundary"
            )
