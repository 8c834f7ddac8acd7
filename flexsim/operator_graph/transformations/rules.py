"""The table of rules, and how one is applied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from flexsim.errors import ModelError, choices_text
from flexsim.operator_graph.graph import OperatorGraph
from flexsim.operator_graph.transformations.activations import FUSE_ACTIVATION
from flexsim.operator_graph.transformations.concatenations import (
    ELIMINATE_CONCAT_SPLIT,
    ELIMINATE_SPLIT_CONCAT,
)
from flexsim.operator_graph.transformations.joint_inputs import ABSORB_CONCATENATION
from flexsim.operator_graph.transformations.norms import FOLD_BATCH_NORM
from flexsim.operator_graph.transformations.parallel_products import MERGE_PRODUCTS
from flexsim.operator_graph.transformations.rewrite import Rule, Site, rewritten

TRANSFORMATIONS: Mapping[str, Rule] = {
    "fuse-bias-activation": FUSE_ACTIVATION,
    "merge-parallel-linears": MERGE_PRODUCTS,
    "eliminate-split-concat": ELIMINATE_SPLIT_CONCAT,
    "eliminate-concat-split": ELIMINATE_CONCAT_SPLIT,
    "absorb-concatenation": ABSORB_CONCATENATION,
    "fold-conv-batch-norm": FOLD_BATCH_NORM,
}


def find_rule(name: str) -> Rule:
    """Return a rule by name; raise :class:`ModelError` with the choices for another one."""
    if name not in TRANSFORMATIONS:
        raise ModelError(f"there is no rule {name!r}: {choices_text(name, TRANSFORMATIONS)}")
    return TRANSFORMATIONS[name]


def sites(graph: OperatorGraph, rule: str) -> tuple[Site, ...]:
    """Return where a rule applies, in program order; no operator is in two sites."""
    return tuple(find_rule(rule).find(graph))


def apply(graph: OperatorGraph, rule: str, site: Site) -> OperatorGraph:
    """Return the graph after a rule was applied at one of its :func:`sites`."""
    return apply_all(graph, rule, (site,))


def apply_all(graph: OperatorGraph, rule: str, chosen: Sequence[Site]) -> OperatorGraph:
    """Return the graph after a rule was applied at several sites at once."""
    found = find_rule(rule)
    known = set(sites(graph, rule))
    for site in chosen:
        if site not in known:
            names = ", ".join(site)
            raise ModelError(f"{graph.name}: rule {rule!r} does not apply to {names}")
    once = tuple(dict.fromkeys(chosen))
    after = rewritten(graph, [found.rewrite(graph, site) for site in once])
    return replace(after, transformations=(*graph.transformations, (rule, once)))


def repeat_all(graph: OperatorGraph, moves: Iterable[tuple[str, Sequence[Site]]]) -> OperatorGraph:
    """Return the graph after rules were applied in order, as another's ``transformations`` tell."""
    for rule, chosen in moves:
        graph = apply_all(graph, rule, chosen)
    return graph
