"""The operator graph: operators in program order, their tensors and weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from flexsim.errors import ModelError
from flexsim.operator_graph.axes import axis_size
from flexsim.operator_graph.records import Operator, Tensor, Weight, gradient

if TYPE_CHECKING:
    import networkx as nx

SAMPLE_DIM = "b"


@dataclass(frozen=True, eq=False)
class OperatorGraph:
    """One microbatch of all replicas: ``num_sequences`` is data degree x micro-batch.

    Operators stand in an order in which each reads only what stands before it.
    ``inputs`` are the tensors that nothing writes (tokens, labels). ``transformations`` are the
    rules that led here from the model's own graph, each with the operators that it replaced.
    """

    name: str
    operators: tuple[Operator, ...]
    tensors: Mapping[str, Tensor]
    weights: Mapping[str, Weight]
    inputs: tuple[str, ...]
    num_sequences: int
    tokens_per_sequence: int
    precision: str = "fp16"
    transformations: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...] = ()
    whole_flops: int | None = None
    """What :attr:`flops` was before sequences were cut into slices, which may leave out what
    causality masks; None: they are whole."""

    def __post_init__(self) -> None:
        _check(self)

    @property
    def stored_precision(self) -> str:
        """The precision of weights, activations and gradients: bf16 where products are in fp8."""
        return stored_precision(self.precision)

    @cached_property
    def by_name(self) -> dict[str, Operator]:
        """Operators by name."""
        return {operator.name: operator for operator in self.operators}

    @cached_property
    def num_parameters(self) -> int:
        """Number of trained parameters; a shared weight counts once."""
        return sum(weight.num_parameters for weight in self.weights.values())

    @cached_property
    def flops(self) -> int:
        """Nominal floating-point operations of one forward and backward, nothing recomputed."""
        if self.whole_flops is not None:
            return self.whole_flops
        return sum(op.flops(pass_name) for op in self.operators for pass_name in "FIW")

    @cached_property
    def readers(self) -> dict[str, tuple[str, ...]]:
        """Names of the operators whose forward reads each tensor, in program order."""
        found: dict[str, list[str]] = {}
        for operator in self.operators:
            for tensor in operator.inputs:
                found.setdefault(tensor, []).append(operator.name)
        return {tensor: tuple(names) for tensor, names in found.items()}

    @cached_property
    def writer(self) -> dict[str, str]:
        """Name of the operator that writes each tensor."""
        return {t: operator.name for operator in self.operators for t in operator.outputs}

    @cached_property
    def widths(self) -> dict[str, int]:
        """Bytes an element of every tensor, weight and gradient of one."""
        records: dict[str, Tensor | Weight] = {**self.tensors, **self.weights}
        widths = {name: record.bytes_per_element for name, record in records.items()}
        return widths | {gradient(name): width for name, width in widths.items()}

    def bytes_per_element(self, tensor: str) -> int:
        """Bytes an element of a tensor or weight."""
        record = self.weights.get(tensor) or self.tensors[tensor]
        return record.bytes_per_element

    def shape(self, tensor: str) -> tuple[int, ...]:
        """Sizes of a tensor or weight by axis."""
        record = self.weights.get(tensor) or self.tensors[tensor]
        return record.shape

    def is_unordered(self, tensor: str) -> bool:
        """Whether elements of a tensor or weight may lie in any order along its axes."""
        return tensor in self.tensors and self.tensors[tensor].unordered

    def to_networkx(self) -> nx.DiGraph[str]:
        """Return operators as vertices (kind, dims, block) and tensors as edges."""
        import networkx as nx

        graph: nx.DiGraph[str] = nx.DiGraph(name=self.name)
        for op in self.operators:
            graph.add_node(op.name, kind=op.kind, dims=op.sizes, block=op.block)
        for tensor, names in self.readers.items():
            for name in names:
                if tensor in self.writer:
                    _add_edge(graph, self.writer[tensor], name, tensor)
        return graph


def stored_precision(precision: str) -> str:
    """Return the precision of what is stored where products are in ``precision``."""
    return "bf16" if precision == "fp8" else precision


def soap(operator: Operator, dim: str, weights: Mapping[str, Weight]) -> str:
    """Return the SOAP letter of a dimension: S (batch), P (indexes a weight) or A.

    Letters are labels for people; nothing is decided by them.
    """
    if dim == SAMPLE_DIM:
        return "S"
    uses = (use for step in operator.forward for use in step.reads if use.tensor in weights)
    return "P" if any(dim in use.dims for use in uses) else "A"


def _add_edge(graph: nx.DiGraph[str], source: str, target: str, tensor: str) -> None:
    if graph.has_edge(source, target):
        graph.edges[source, target]["tensors"] += (tensor,)
    else:
        graph.add_edge(source, target, tensors=(tensor,))


def _check(graph: OperatorGraph) -> None:
    known = {*graph.inputs, *graph.weights}
    seen: set[str] = set()
    right: set[tuple[object, ...]] = set()
    for operator in graph.operators:
        if operator.name in seen:
            raise ModelError(f"{graph.name}: two operators are named {operator.name!r}")
        seen.add(operator.name)
        missing = [tensor for tensor in operator.inputs if tensor not in known]
        if missing:
            raise ModelError(
                f"{graph.name}: operator {operator.name!r} reads {missing[0]!r}, "
                "which nothing before it writes"
            )
        known.update(operator.outputs)
        _check_sizes(graph, operator, right)


def _check_sizes(graph: OperatorGraph, operator: Operator, right: set[tuple[object, ...]]) -> None:
    """Check the shapes that an operator indexes; ``right`` is what was found right before."""
    for step in operator.forward:
        for use in (*step.reads, *step.writes):
            shape = graph.shape(use.tensor)
            found = (operator.key, use.key, shape)
            if found in right:
                continue
            right.add(found)
            sizes = tuple(axis_size(axis, operator.sizes) for axis in use.axes)
            if sizes != shape and not use.sliced:
                raise ModelError(
                    f"{graph.name}: operator {operator.name!r} indexes {use.tensor!r} as "
                    f"{sizes}, but its shape is {shape}"
                )
