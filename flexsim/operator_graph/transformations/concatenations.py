"""Concatenations and splits that undo each other."""

from __future__ import annotations

from collections.abc import Iterator

from flexsim.operator_graph.axes import Window
from flexsim.operator_graph.graph import OperatorGraph
from flexsim.operator_graph.records import Operator, Use, gradient
from flexsim.operator_graph.transformations.products import only_reader
from flexsim.operator_graph.transformations.rewrite import Rewrite, Rule, Site


def joined(operator: Operator) -> tuple[int, tuple[Use, ...]] | None:
    """Return the axis and the inputs of a concatenation; None for any other operator."""
    if operator.kind != "concatenation":
        return None
    (m,) = operator.forward[0].maps
    return _pieces(m.addends)


def cut(operator: Operator) -> tuple[int, tuple[Use, ...]] | None:
    """Return the axis and the reads of a split, one a result; None for any other operator."""
    if operator.kind != "split":
        return None
    return _pieces(tuple(m.reads[0] for m in operator.forward[0].maps))


def _pieces(uses: tuple[Use, ...]) -> tuple[int, tuple[Use, ...]] | None:
    places = {[isinstance(a, Window) for a in u.axes].index(True) for u in uses if u.windows}
    if len(places) != 1 or not all(use.windows for use in uses):
        return None
    return places.pop(), uses


def lengths_of(graph: OperatorGraph, names: tuple[str, ...], axis: int) -> list[int]:
    """Return the sizes of tensors along one axis."""
    return [graph.shape(name)[axis] for name in names]


def _find_split_concat(graph: OperatorGraph) -> Iterator[Site]:
    for split in graph.operators:
        found = cut(split)
        after = only_reader(graph, split.outputs[0]) if found else None
        back = after and joined(after)
        if not found or not after or not back or back[0] != found[0]:
            continue
        same = tuple(use.tensor for use in back[1]) == split.outputs
        alone = all(only_reader(graph, piece) is after for piece in split.outputs)
        if same and alone and _hands_on_gradients(after) and after.outputs[0] in graph.readers:
            yield split.name, after.name


def _find_concat_split(graph: OperatorGraph) -> Iterator[Site]:
    for concat in graph.operators:
        found = joined(concat)
        split = only_reader(graph, concat.outputs[0]) if found else None
        back = split and cut(split)
        if not found or not split or not back or back[0] != found[0]:
            continue
        xs = tuple(use.tensor for use in found[1])
        shapes = [lengths_of(graph, names, found[0]) for names in (xs, split.outputs)]
        read = all(piece in graph.readers for piece in split.outputs)
        if shapes[0] == shapes[1] and read and _hands_on_gradients(concat):
            yield concat.name, split.name


def _hands_on_gradients(concat: Operator) -> bool:
    """Whether gradients flow into every input, each of which is joined once, or there are none."""
    uses = concat.forward[0].maps[0].addends
    inputs = [use.tensor for use in uses]
    written = {use.tensor for step in concat.backward for use in step.writes}
    is_inference = not concat.backward
    all_written = written == {gradient(name) for name in inputs}
    return len(set(inputs)) == len(inputs) and (is_inference or all_written)


def _without_both(graph: OperatorGraph, site: Site) -> Rewrite:
    first, last = (graph.by_name[name] for name in site)
    inputs = (first.inputs[0],) if first.kind == "split" else first.inputs
    return Rewrite(site, renamed=dict(zip(last.outputs, inputs, strict=True)))


ELIMINATE_SPLIT_CONCAT = Rule(_find_split_concat, _without_both, "pieces joined again were whole")
ELIMINATE_CONCAT_SPLIT = Rule(_find_concat_split, _without_both, "what is joined and cut is there")
