"""Which runs of operators repeat their forward in the backward, by named policies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import groupby

from flexsim.errors import StrategyError, choices_text
from flexsim.operator_graph.graph import OperatorGraph
from flexsim.operator_graph.kinds.latent import UP_PROJECTION
from flexsim.operator_graph.records import Operator

Segments = tuple[tuple[str, ...], ...]
"""Runs of operators, each of which is repeated as one."""

CHEAP = "cheap"
"""The policy that keeps nothing of :func:`cheap_runs`, and repeats nothing else."""
POLICIES: Mapping[str, Callable[[Operator], str]] = {
    "none": lambda op: "",
    CHEAP: lambda op: "",
    "selective": lambda op: f"{op.block}/{op.group}" if _is_marked(op) else "",
    "full": lambda op: op.block,
}
"""What the operators of a run have in common; nothing where they are not repeated."""


NORMS = ("layer-norm", "rms-norm")
ACTIVATIONS = ("bias-gelu", "swiglu")


def cheap_runs(graph: OperatorGraph) -> Segments:
    """Return the runs of a block whose results are large and cheap to make anew.

    These are norms, activation functions, and the up-projections of latent attention with the
    norms before them and the rotation after (DeepSeek-AI 2024, arXiv 2412.19437, section 3.2.3;
    Megatron-Core's ``--recompute-modules layernorm mla_up_proj moe_act``).
    """
    runs: dict[str, list[str]] = {}
    for operator in graph.operators:
        key = _cheap_key(operator)
        if key:
            runs.setdefault(key, []).append(operator.name)
    return tuple(tuple(run) for run in runs.values())


def _cheap_key(operator: Operator) -> str:
    if operator.group == UP_PROJECTION:
        return f"{operator.block}/{operator.group}"
    activates = any(step.fusion in ACTIVATIONS for step in operator.forward)
    return operator.name if operator.block and (operator.kind in NORMS or activates) else ""


def _is_marked(operator: Operator) -> bool:
    return bool(operator.group) and operator.group != UP_PROJECTION


def recompute_segments(graph: OperatorGraph, policy: str) -> Segments:
    """Return the runs of operators that a policy recomputes.

    ``full`` repeats every block from its input, ``selective`` the operators that a model
    marks as cheap to repeat and large to keep (the attention core), ``none`` nothing.
    """
    if policy not in POLICIES:
        raise StrategyError(f"recompute = {policy!r} is unknown: {choices_text(policy, POLICIES)}")
    runs = groupby(graph.operators, POLICIES[policy])
    return tuple(tuple(op.name for op in run) for key, run in runs if key)


@dataclass(frozen=True)
class SomeLayers:
    """Which layers of a stage are recomputed: the first so many, of these every n-th.

    The first so many are Megatron-LM's ``--recompute-method block``.
    """

    layers: int | None = None
    every: int = 1

    def has(self, number: int) -> bool:
        """Whether a stage's layer with this number, from 0, is recomputed."""
        return number % self.every == 0 and (self.layers is None or number < self.layers)


ALL_LAYERS = SomeLayers()


def segments_of_stages(
    graph: OperatorGraph, stage_of: Mapping[str, int], policy: str, some: SomeLayers
) -> Segments:
    """Return the runs of a policy that are in some of the layers of every stage."""
    runs = recompute_segments(graph, policy)
    if some == ALL_LAYERS:
        return runs
    number = _numbers(graph, stage_of)
    return tuple(run for run in runs if some.has(number[run[0]]))


def _numbers(graph: OperatorGraph, stage_of: Mapping[str, int]) -> dict[str, int]:
    """Return for every operator the number of its block within its stage."""
    blocks_of_stage: dict[int, dict[str, int]] = {}
    numbers: dict[str, int] = {}
    for op in graph.operators:
        blocks = blocks_of_stage.setdefault(stage_of[op.name], {})
        if op.block:
            numbers[op.name] = blocks.setdefault(op.block, len(blocks))
    return numbers
