"""Concatenations that only a linear reads: it may sum over the pieces where they lie.

``concat(x, z) w`` is ``x w0 + z w1`` with the weight cut where the inputs meet, in one kernel:
nothing is copied together before, and nothing cut apart in the backward.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from flexsim.operator_graph.axes import Axis, Window, axis_dims, axis_size
from flexsim.operator_graph.backward import derive_backward
from flexsim.operator_graph.graph import OperatorGraph
from flexsim.operator_graph.records import Dim, Map, Operator, Step, Use, Weight, gradient
from flexsim.operator_graph.transformations.concatenations import joined, lengths_of
from flexsim.operator_graph.transformations.products import (
    are_neighbours,
    constants_of,
    is_product,
    joined_name,
    only_reader,
    weights_of,
)
from flexsim.operator_graph.transformations.rewrite import Rewrite, Rule, Site


def _find(graph: OperatorGraph) -> Iterator[Site]:
    for concat in graph.operators:
        found = joined(concat)
        linear = only_reader(graph, concat.outputs[0]) if found else None
        if not found or not linear or not _sums(graph, linear, found[0]):
            continue
        names = [use.tensor for use in found[1]]
        if are_neighbours(concat, linear) and len(set(names)) == len(names) > 1:
            yield concat.name, linear.name


def _sums(graph: OperatorGraph, linear: Operator, axis: int) -> bool:
    """Whether an operator is one product that sums over an axis of what it reads."""
    if not is_product(graph, linear) or len(linear.forward[0].maps) != 1:
        return False
    (m,) = linear.forward[0].maps
    summed, weight = m.reads[0].axes[axis], m.reads[1]
    if isinstance(summed, Window) or len(summed) != 1 or summed not in weight.axes:
        return False
    derived = derive_backward(linear.forward[0], weights_of(linear), constants_of(linear))
    is_own = only_reader(graph, weight.tensor) is not None
    return is_own and summed[0] in m.summed_dims and linear.backward in ((), derived)


def _rewrite(graph: OperatorGraph, site: Site) -> Rewrite:
    concat, linear = (graph.by_name[name] for name in site)
    axis, pieces = joined(concat) or (0, ())
    (m,) = linear.forward[0].maps
    names = tuple(use.tensor for use in pieces)
    dims = _dims(linear, axis_dims(m.reads[0].axes[axis])[0], lengths_of(graph, names, axis))
    sizes = {dim.name: dim.size for dim in dims}
    summed = list(sizes)[-len(names) :]
    maps = tuple(_share(m, axis, x, summed[k], k) for k, x in enumerate(names))
    step = replace(linear.forward[0], maps=maps, merge="k")
    width = graph.bytes_per_element(m.reads[1].tensor)
    operator = replace(
        linear,
        name=joined_name(concat, linear),
        dims=dims,
        forward=(step,),
        backward=_backward(step, _constants(concat, linear)) if linear.backward else (),
    )
    weights = tuple(_weight(share.reads[1], sizes, width) for share in maps)
    return Rewrite(site, operator, linear.name, weights=weights)


def _dims(linear: Operator, summed: str, lengths: Sequence[int]) -> tuple[Dim, ...]:
    """Return the dimensions with the summed one cut in pieces, which are split alike."""
    kept = tuple(dim for dim in linear.dims if dim.name != summed)
    first, *others = lengths
    leader = Dim(summed, first, min(lengths))
    pieces = (Dim(f"{summed}{k}", n, 1, summed) for k, n in enumerate(others, 1))
    return (*kept, leader, *pieces)


def _share(m: Map, axis: int, x: str, dim: str, number: int) -> Map:
    """Return the product of one piece and its share of the weight; the first adds the bias."""
    whole = m.reads[0].axes[axis]
    read, weight = (
        replace(use, axes=tuple((dim,) if a == whole else a for a in use.axes)) for use in m.reads
    )
    weight = replace(weight, tensor=f"{weight.tensor}.piece{number}")
    points = tuple(dim if (d,) == whole else d for d in m.points)
    addends = m.addends if number == 0 else ()
    reads = replace(read, tensor=x), weight
    return replace(m, reads=reads, addends=addends, points=points)


def _backward(step: Step, constants: tuple[str, ...]) -> tuple[Step, ...]:
    """Return the derived backward, one kernel for the gradients of all pieces."""
    weights = [use.tensor for m in step.maps for use in (m.reads[1], *m.addends)]
    steps = derive_backward(step, weights, constants)
    into = tuple(m for s in steps if s.pass_name == "I" for m in s.maps)
    joint = (Step("input", "I", into, step.kernel, merge="n"),) if into else ()
    rest = (replace(s, merge="m") if s.merge else s for s in steps if s.pass_name == "W")
    return (*joint, *rest)


def _constants(concat: Operator, linear: Operator) -> tuple[str, ...]:
    """Return the pieces that are data."""
    if constants_of(linear):
        return concat.inputs
    written = {use.tensor for step in concat.backward for use in step.writes}
    return tuple(x for x in concat.inputs if gradient(x) not in written)


def _weight(use: Use, sizes: dict[str, int], width: int) -> Weight:
    axes: tuple[Axis, ...] = use.axes
    return Weight(use.tensor, tuple(axis_size(axis, sizes) for axis in axes), width)


ABSORB_CONCATENATION = Rule(_find, _rewrite, "a linear sums over the pieces of a concatenation")
