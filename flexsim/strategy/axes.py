"""The axes of a stage's mesh, and which dimensions of an operator each of them cuts.

Beside tensor and data parallelism there are two more kinds of axes. Context parallelism cuts the
positions ``s`` of every operator; the key positions of attention are another dimension, so that
gathering keys and values follows. Expert parallelism takes a part of the axes of data (and
context) and cuts the experts ``e`` with it, where there are any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flexsim.errors import StrategyError, choices_text
from flexsim.operator_graph.graph import SAMPLE_DIM, OperatorGraph
from flexsim.operator_graph.records import Operator
from flexsim.strategy.mesh import Mesh
from flexsim.strategy.sharding import shard_axes

CONTEXT_METHODS = ("all-gather", "ring", "ulysses")
EXPERT_DIM = "e"
"""The dimension of experts; operators that keep it whole (routing) are cut as all others."""
TENSOR_DIMS = ("f", "v")
"""Dimensions that tensor parallelism cuts, beside the heads (g, r)."""
_OF_CONTEXT = "context.expert"

NamedAxis = tuple[str, int]


@dataclass(frozen=True)
class Replicas:
    """How many ways samples (``data``), positions (``context``) and, of these, experts are cut.

    ``shard`` replicas keep shares together (:func:`flexsim.strategy.sharding.shard_axes`).
    """

    data: int = 1
    context: int = 1
    expert: int = 1
    shard: int | None = None

    @property
    def expert_of_data(self) -> int:
        """How many ways samples are cut by the axis of experts."""
        return self.expert if self.data % self.expert == 0 else self.data

    @property
    def expert_of_context(self) -> int:
        """How many ways positions are cut by an axis of experts, where samples do not suffice."""
        return self.expert // self.expert_of_data

    def check(self) -> None:
        """Raise :class:`StrategyError` where experts cannot take their axis from the others."""
        given = self.expert_of_data * self.expert_of_context
        if given != self.expert or self.context % self.expert_of_context:
            fits = [n for n in _divisors(self.data * self.context) if self._fits(n)]
            raise StrategyError(
                f"strategy.expert = {self.expert} is taken from the {self.data} x {self.context} "
                f"ways of data x context, which it does not divide; choose from "
                f"{', '.join(map(str, fits))}"
            )
        if self.expert > 1 and self.shard is not None:
            raise StrategyError(
                f"strategy.shard = {self.shard} does not go with strategy.expert = {self.expert}, "
                "where experts are kept by fewer replicas than the rest; leave it out"
            )

    def _fits(self, expert: int) -> bool:
        if self.data % expert == 0:
            return True
        return expert % self.data == 0 and self.context % (expert // self.data) == 0

    @property
    def data_axes(self) -> tuple[NamedAxis, ...]:
        """The axes that cut samples only, the slowest first."""
        return shard_axes(self.data // self.expert_of_data, self.shard)

    @property
    def axes(self) -> tuple[NamedAxis, ...]:
        """All axes of replicas, the slowest first; those of one device only if they are data's."""
        inner = self.expert_of_context
        others = [
            ("expert", self.expert_of_data),
            ("context", self.context // inner),
            (_OF_CONTEXT, inner),
        ]
        return (*self.data_axes, *((name, size) for name, size in others if size > 1))

    @property
    def sharing_axes(self) -> tuple[str, ...]:
        """The axes whose replicas keep shares of optimizer state, or more, together."""
        return tuple(name for name, _ in self.axes if name != "data.replica")


def _divisors(size: int) -> list[int]:
    return [each for each in range(1, size + 1) if size % each == 0]


def check_replicas(graph: OperatorGraph, replicas: Replicas, context_method: str) -> None:
    """Raise :class:`StrategyError` where contexts or experts have nothing to cut, or not so."""
    replicas.check()
    if context_method not in CONTEXT_METHODS:
        known = choices_text(context_method, CONTEXT_METHODS)
        raise StrategyError(f"strategy.context_method = {context_method!r}: {known}")
    _check_divides(graph, ("context", replicas.context), "kv", ("attention", "positions"))
    _check_divides(graph, ("expert", replicas.expert), EXPERT_DIM, ("experts", "experts"))
    if replicas.context > 1:
        _check_positions(graph, replicas.context, context_method)


def _check_divides(
    graph: OperatorGraph, degree: tuple[str, int], dim: str, what: tuple[str, str]
) -> None:
    key, ways = degree
    found = [op.sizes[dim] for op in graph.operators if dim in op.sizes]
    if ways > 1 and not found:
        raise StrategyError(
            f"strategy.{key} = {ways} has no meaning for {graph.name!r}, which has no {what[0]}; "
            "choose 1"
        )
    if ways > 1 and min(found) % ways:
        raise StrategyError(
            f"strategy.{key} = {ways} does not divide the {min(found)} {what[1]} of "
            f"{graph.name!r}; choose from {', '.join(map(str, _divisors(min(found))))}"
        )


def _check_positions(graph: OperatorGraph, context: int, method: str) -> None:
    slots = [op.sizes["s"] for op in graph.operators if _has_experts(op)]
    if min(slots, default=context) < context:
        raise StrategyError(
            f"strategy.context = {context} is more than the {min(slots)} slots that an expert of "
            f"{graph.name!r} has for a sequence; choose at most {min(slots)}"
        )
    steps = (step for op in graph.operators for step in op.forward)
    if method == "ring" and not any(step.kernel == "attention" for step in steps):
        raise StrategyError(
            f"strategy.context_method = 'ring' works on blocks of keys, which the attention of "
            f"{graph.name!r} does not; choose 'all-gather', or model.attention = 'flash'"
        )


def ring_axes(replicas: Replicas, method: str) -> tuple[str, ...]:
    """Return the axes along which keys and values go round in blocks."""
    if method != "ring":
        return ()
    return tuple(name for name, _ in replicas.axes if name.split(".")[0] == "context")


def completed_order(order: Sequence[str], replicas: Replicas) -> list[str]:
    """Return the names of an order, the fastest first, with context and experts put in.

    Where they are not named they vary faster than data and slower than what stands before it
    (tensor - context - expert - data - pipeline, as in Megatron-Core).
    """
    names = list(order)
    for name, degree in (("context", replicas.context), ("expert", replicas.expert_of_data)):
        if degree > 1 and name not in names:
            places = [names.index(n) for n in ("data", "shard", "replica") if n in names]
            names.insert(min(places, default=len(names)), name)
    return names


def splits_of(
    operator: Operator, mesh: Mesh, sequence_parallel: bool, context_method: str = "all-gather"
) -> dict[str, tuple[str, ...]]:
    """Return which mesh axes cut each dimension of an operator, major first.

    With ``sequence_parallel`` tensor axes cut the positions of operators that have nothing else
    for them; with "ulysses" context axes cut the heads of attention in place of its positions.
    """
    sizes = operator.sizes
    data, tensor = _named(mesh, "data"), _named(mesh, "tensor")
    expert, context = _named(mesh, "expert"), _named(mesh, "context")
    splits = {SAMPLE_DIM: data + expert, "s": context}
    if _has_experts(operator):
        kept = tuple(name for name in context if name != _OF_CONTEXT)
        moved = tuple(name for name in context if name == _OF_CONTEXT)
        splits |= {SAMPLE_DIM: data, "s": kept, EXPERT_DIM: expert + moved}
    cut = _tensor_splits(operator, tensor)
    if "kv" in sizes and context_method == "ulysses" and context:
        splits["s"] = ()
        cut |= _with_context(operator, mesh, cut, context)
    if sequence_parallel and not cut:
        splits["s"] += tensor
    return {dim: axes for dim, axes in {**splits, **cut}.items() if dim in sizes and axes}


def _named(mesh: Mesh, family: str) -> tuple[str, ...]:
    return tuple(name for name in mesh.names if name.split(".")[0] == family)


def _has_experts(operator: Operator) -> bool:
    return any(dim.name == EXPERT_DIM and dim.max_degree != 1 for dim in operator.dims)


def _tensor_splits(operator: Operator, tensor: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    splits: dict[str, tuple[str, ...]] = {}
    if "g" in operator.sizes:
        splits |= {"g": tensor[:1], "r": tensor[1:]}
    cut = [dim for dim in TENSOR_DIMS if dim in operator.sizes]
    return splits | dict.fromkeys(cut[:1], tensor)


def _with_context(
    operator: Operator, mesh: Mesh, cut: dict[str, tuple[str, ...]], context: tuple[str, ...]
) -> dict[str, tuple[str, ...]]:
    """Return the cut of the heads with the context axes added to groups or, if whole, repeats."""
    ways = mesh.degree(context)
    groups, repeats = operator.sizes["g"], operator.sizes.get("r", 1)
    in_groups, in_repeats = (mesh.degree(cut.get(dim, ())) for dim in "gr")
    if groups % (in_groups * ways) == 0:
        return {"g": cut["g"] + context}
    if in_groups == groups and repeats % (in_repeats * ways) == 0:
        return {"r": cut["r"] + context}
    raise StrategyError(
        f"strategy.context = {ways} with context_method = 'ulysses' cuts heads, but "
        f"{in_groups * in_repeats} ways of tensor parallelism leave {groups // in_groups} key "
        f"heads each; choose a divisor of {groups // in_groups}, or 'ring'"
    )
