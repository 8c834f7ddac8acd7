"""Folding a batch norm into the convolution before it, for inference only.

With the statistics of training fixed, a norm multiplies every channel by a number and adds
another: a convolution whose weight is scaled and whose bias is the norm's does the same. In
training the statistics depend on the batch, so nothing is folded in a graph with a backward.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from flexsim.operator_graph.graph import OperatorGraph
from flexsim.operator_graph.records import Operator, Use
from flexsim.operator_graph.transformations.inference import is_forward_only
from flexsim.operator_graph.transformations.products import (
    are_neighbours,
    is_product,
    joined_name,
    only_reader,
    weights_of,
)
from flexsim.operator_graph.transformations.rewrite import Rewrite, Rule, Site


def _find(graph: OperatorGraph) -> Iterator[Site]:
    if not is_forward_only(graph):
        return
    for product in graph.operators:
        if product.kind != "convolution" or not is_product(graph, product):
            continue
        norm = only_reader(graph, product.outputs[0])
        if norm and _can_fold(graph, product, norm):
            yield product.name, norm.name


def _can_fold(graph: OperatorGraph, product: Operator, norm: Operator) -> bool:
    weights = [*weights_of(product), *(name for name in norm.inputs if name in graph.weights)]
    own = all(only_reader(graph, weight) for weight in weights)
    return norm.kind == "batch-norm" and are_neighbours(product, norm) and own


def _rewrite(graph: OperatorGraph, site: Site) -> Rewrite:
    product, norm = (graph.by_name[name] for name in site)
    (step,) = product.forward
    (m,) = step.maps
    scaled = norm.forward[0].maps[0]
    bias = Use(scaled.addends[0].tensor, (m.write.axes[1],))
    folded = replace(m, write=replace(m.write, tensor=scaled.write.tensor), addends=(bias,))
    operator = replace(
        product, name=joined_name(product, norm), forward=(replace(step, maps=(folded,)),)
    )
    return Rewrite(site, operator, product.name)


FOLD_BATCH_NORM = Rule(_find, _rewrite, "a batch norm scales a convolution's weight (inference)")
