"""Merging products that read one tensor: projections to Q, K and V, branches of a module.

The merged kernel multiplies by the weights side by side, as one concatenated along its outputs;
results stay tensors of their own, so nothing has to be split. Output dimensions of equal name
and size become one; others are cut as the first product's leading one is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from flexsim.operator_graph.axes import Axis, Window
from flexsim.operator_graph.backward import derive_backward
from flexsim.operator_graph.graph import OperatorGraph
from flexsim.operator_graph.records import Dim, Map, Operator, Step, Use
from flexsim.operator_graph.transformations.products import (
    constants_of,
    is_product,
    joined_name,
    use_dims,
    weights_of,
)
from flexsim.operator_graph.transformations.rewrite import Rewrite, Rule, Site


def _find(graph: OperatorGraph) -> Iterator[Site]:
    found: dict[object, list[Operator]] = {}
    for operator in graph.operators:
        if is_product(graph, operator) and _is_derived(operator):
            found.setdefault(_likeness(operator), []).append(operator)
    for alike in found.values():
        weights = [weight for operator in alike for weight in weights_of(operator)]
        if len(alike) > 1 and len(set(weights)) == len(weights):
            yield tuple(operator.name for operator in alike)


def _is_derived(operator: Operator) -> bool:
    """Whether all products read one tensor alike, and the backward is what follows from them."""
    (step,) = operator.forward
    if len({m.reads[0] for m in step.maps}) > 1:
        return False
    derived = derive_backward(step, weights_of(operator), constants_of(operator))
    return operator.backward in ((), derived)


def _likeness(operator: Operator) -> object:
    """Return what operators that can be merged have in common."""
    first = operator.forward[0].maps[0]
    read = first.reads[0]
    dims = tuple(dim for dim in operator.dims if dim.name in use_dims(read))
    place = operator.kind, operator.block, operator.group
    return place, read, dims, first.points, constants_of(operator), not operator.backward


def _rewrite(graph: OperatorGraph, site: Site) -> Rewrite:
    first, *others = (graph.by_name[name] for name in site)
    merged = _Merged.begin(first)
    maps = list(first.forward[0].maps)
    for operator in others:
        names = merged.names(operator)
        maps += [_with_dims(m, names) for m in operator.forward[0].maps]
    weights = [weight for operator in (first, *others) for weight in weights_of(operator)]
    step = Step("forward", "F", tuple(maps), "matmul", merge="n")
    whole = replace(
        first,
        name=joined_name(first, *others),
        dims=merged.limited(),
        forward=(step,),
        backward=derive_backward(step, weights, constants_of(first)) if first.backward else (),
    )
    return Rewrite(site, whole, first.name)


@dataclass
class _Merged:
    """The dimensions of a merged operator while products are added; ``leader`` is cut for all."""

    shared: frozenset[str]
    leader: str
    dims: dict[str, Dim] = field(default_factory=dict)

    @classmethod
    def begin(cls, first: Operator) -> _Merged:
        m = first.forward[0].maps[0]
        shared = frozenset(use_dims(m.reads[0]))
        leader = next(dim for dim in m.write.dims if dim not in shared)
        return cls(shared, leader, {dim.name: dim for dim in first.dims})

    def names(self, operator: Operator) -> dict[str, str]:
        """Return the names that an operator's dimensions take, and note the new ones."""
        leading = next(d for d in operator.forward[0].maps[0].write.dims if d not in self.shared)
        found = {}
        for dim in operator.dims:
            if dim.name in self.shared or self.dims.get(dim.name) == dim:
                continue
            name = self._fresh(dim.name)
            follows = self.leader if dim.name == leading else ""
            self.dims[name] = Dim(name, dim.size, 1, follows)
            found[dim.name] = name
        return found

    def limited(self) -> tuple[Dim, ...]:
        """Return the dimensions, the leader cut at most as often as the smallest that follows."""
        sizes = [dim.size for dim in self.dims.values() if dim.follows == self.leader]
        own = self.dims[self.leader]
        most = min([own.max_degree or own.size, *sizes])
        limited = replace(own, max_degree=most) if sizes else own
        return tuple((self.dims | {self.leader: limited}).values())

    def _fresh(self, name: str) -> str:
        number = 1
        while f"{name}{number}" in self.dims:
            number += 1
        return f"{name}{number}" if name in self.dims else name


def _with_dims(m: Map, names: Mapping[str, str]) -> Map:
    reads, addends = (_uses(uses, names) for uses in (m.reads, m.addends))
    (write,) = _uses([m.write], names)
    points = tuple(names.get(dim, dim) for dim in m.points)
    return replace(m, reads=reads, addends=addends, write=write, points=points)


def _uses(uses: Sequence[Use], names: Mapping[str, str]) -> tuple[Use, ...]:
    return tuple(replace(u, axes=tuple(_axis(a, names) for a in u.axes)) for u in uses)


def _axis(axis: Axis, names: Mapping[str, str]) -> Axis:
    return axis if isinstance(axis, Window) else tuple(names.get(dim, dim) for dim in axis)


MERGE_PRODUCTS = Rule(_find, _rewrite, "products that read one tensor become one kernel")
