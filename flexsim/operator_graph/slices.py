"""A model whose sequences pass in slices of their positions: a copy of it for every slice.

Causal attention of a slice reads the keys and values of its own positions and of all before them,
which earlier slices have left on the same devices (TeraPipe, Li et al. 2021, arXiv 2102.07988).
The copies share their weights. A fused kernel skips what causality masks: a slice from ``begin`` to
``end`` has end² - begin² of the end-to-end pairs of query and key, so that the pairs of all slices
are those of the whole sequence. Kernels that mask whole rows compute all pairs up to ``end``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise

from flexsim.errors import ModelError
from flexsim.operator_graph.axes import axis_size
from flexsim.operator_graph.graph import OperatorGraph
from flexsim.operator_graph.lanes import copied, renaming
from flexsim.operator_graph.records import GRADIENT, Dim, Map, Operator, Step, Tensor, Use

POSITION, KEY = "s", "kv"
PAIRS = "reach"
"""The dimension that stands for keys where pairs of query and key are counted."""


def in_slices(graph: OperatorGraph, lengths: Sequence[int]) -> OperatorGraph:
    """Return copies of ``graph``, one a run of ``lengths`` positions, one after the other.

    The first keeps its names; operators and tensors of slice j are called ``slice<j>.<name>``.
    Raise :class:`ModelError` for a model that cannot pass in slices.
    """
    if len(lengths) < 2:
        return graph
    _check(graph, lengths)
    operators: list[Operator] = []
    tensors: dict[str, Tensor] = {}
    inputs: list[str] = []
    for number, end in enumerate(accumulate(lengths)):
        part = _Slice(graph, end - lengths[number], end)
        prefix = f"slice{number}." if number else ""
        rename = renaming(graph, prefix)
        operators += [copied(operator, number, prefix, rename) for operator in part.operators]
        named = {rename(name): tensor for name, tensor in part.tensors.items()}
        tensors |= {name: replace(tensor, name=name) for name, tensor in named.items()}
        inputs += [rename(name) for name in graph.inputs]
    return replace(
        graph,
        operators=tuple(operators),
        tensors=tensors,
        inputs=tuple(inputs),
        whole_flops=graph.flops,
    )


def one_slice(graph: OperatorGraph, begin: int, end: int) -> OperatorGraph:
    """Return what :func:`in_slices` makes of the positions from ``begin`` to ``end``."""
    part = _Slice(graph, begin, end)
    return replace(
        graph, operators=tuple(part.operators), tensors=part.tensors, whole_flops=graph.flops
    )


def even_slices(positions: int, num_slices: int) -> tuple[int, ...]:
    """Return lengths of slices that differ by one position at most."""
    ends = [positions * number // num_slices for number in range(num_slices + 1)]
    return tuple(end - begin for begin, end in pairwise(ends))


def _check(graph: OperatorGraph, lengths: Sequence[int]) -> None:
    total = graph.tokens_per_sequence
    for operator in graph.operators:
        if operator.sizes.get(POSITION) != total:
            raise ModelError(
                f"{graph.name}: operator {operator.name!r} does not work on the {total} positions "
                "of a sequence one by one, so that sequences cannot pass in slices; choose a model "
                "without experts and relative positions, such as gpt or llama"
            )
    if sum(lengths) != total or min(lengths) < 1:
        raise ModelError(
            f"{graph.name}: slices of {', '.join(map(str, lengths))} positions do not make up a "
            f"sequence of {total}; choose lengths from 1 up that add up to {total}"
        )


@dataclass(frozen=True)
class _Slice:
    """The positions from ``begin`` to ``end`` of every sequence."""

    graph: OperatorGraph
    begin: int
    end: int

    @cached_property
    def operators(self) -> list[Operator]:
        return [self._operator(operator) for operator in self.graph.operators]

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors in the slice's sizes, as they are written, or read where nothing does."""
        found: dict[str, Tensor] = {}
        for operator in self.graph.operators:
            sizes = self._sizes(operator)
            for step in operator.forward:
                for use in (*step.reads, *step.writes):
                    if use.tensor in self.graph.tensors and use.tensor not in found:
                        found[use.tensor] = self._tensor(use, sizes)
        return {name: found.get(name, self.graph.tensors[name]) for name in self.graph.tensors}

    def _tensor(self, use: Use, sizes: Mapping[str, int]) -> Tensor:
        return replace(self.graph.tensors[use.tensor], shape=_shape(use, sizes))

    def _operator(self, operator: Operator) -> Operator:
        sizes = self._sizes(operator)
        dims = tuple(replace(dim, size=sizes[dim.name]) for dim in operator.dims)
        if any(_skips_masked(step) for step in operator.steps):
            dims += (Dim(PAIRS, self.begin + self.end, max_degree=1),)
        return replace(
            operator,
            dims=dims,
            forward=tuple(self._step(step, sizes) for step in operator.forward),
            backward=tuple(self._step(step, sizes) for step in operator.backward),
        )

    def _sizes(self, operator: Operator) -> dict[str, int]:
        new = {POSITION: self.end - self.begin, KEY: self.end}
        return {name: new.get(name, size) for name, size in operator.sizes.items()}

    def _step(self, step: Step, sizes: Mapping[str, int]) -> Step:
        skips = _skips_masked(step)
        return replace(step, maps=tuple(self._map(each, sizes, skips) for each in step.maps))

    def _map(self, each: Map, sizes: Mapping[str, int], skips: bool) -> Map:
        points = each.points
        if skips and each.flops_per_point:
            points = tuple(PAIRS if dim == KEY else dim for dim in each.points or each.dims)
        return replace(
            each,
            reads=tuple(self._use(use, sizes) for use in each.reads),
            write=self._use(each.write, sizes),
            addends=tuple(self._use(use, sizes) for use in each.addends),
            points=points,
        )

    def _use(self, use: Use, sizes: Mapping[str, int]) -> Use:
        name = use.tensor.removeprefix(GRADIENT)
        weight = self.graph.weights.get(name)
        shape = weight.shape if weight is not None else self.tensors[name].shape
        return use if _shape(use, sizes) == shape else replace(use, sliced=True)


def _shape(use: Use, sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(axis_size(axis, sizes) for axis in use.axes)


def _skips_masked(step: Step) -> bool:
    """Whether a kernel executes less than its nominal work, of keys that causality masks."""
    return any(KEY in each.dims for each in step.maps) and step.kernel == "attention"
