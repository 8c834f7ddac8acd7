"""Algebraic transformations: operator graphs rewritten into equal ones that cost less.

Rules change what kernels there are, never what is computed. How operators are cut and placed is
no transformation here: it is the strategy's, see ``docs/transformations.md``.
"""

from flexsim.operator_graph.transformations.inference import forward_only, is_forward_only
from flexsim.operator_graph.transformations.rewrite import Rewrite, Rule, Site
from flexsim.operator_graph.transformations.rules import (
    TRANSFORMATIONS,
    apply,
    apply_all,
    find_rule,
    repeat_all,
    sites,
)

__all__ = [
    "TRANSFORMATIONS",
    "Rewrite",
    "Rule",
    "Site",
    "apply",
    "apply_all",
    "find_rule",
    "forward_only",
    "is_forward_only",
    "repeat_all",
    "sites",
]
