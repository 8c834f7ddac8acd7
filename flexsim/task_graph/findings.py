"""What follows from a graph and the way in which its operators are cut."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from flexsim.operator_graph.graph import OperatorGraph
from flexsim.operator_graph.records import Operator, Use, gradient
from flexsim.strategy.layout import Layout
from flexsim.strategy.strategy import Strategy
from flexsim.strategy.transition import TensorSize
from flexsim.task_graph.bring import Plans
from flexsim.task_graph.cuts import Cuts
from flexsim.task_graph.needs import Needs
from flexsim.task_graph.transitions import Transitions


@dataclass(frozen=True, eq=False)
class Findings:
    """Found when it is first asked for; programs of equal configs may share it.

    Of the strategy only the configs and the way of transfers between stages matter.
    """

    graph: OperatorGraph
    strategy: Strategy
    plans: Plans = field(default_factory=dict)
    """How tensors are brought from several layouts to one."""
    smallest: dict[tuple[object, ...], Layout] = field(default_factory=dict)
    """In which layout a tensor is best kept."""

    @cached_property
    def cuts(self) -> Cuts:
        """The layouts of what operators touch."""
        return Cuts(self.strategy)

    @cached_property
    def transitions(self) -> Transitions:
        """How tensors get from layout to layout."""
        return Transitions()

    @cached_property
    def uses(self) -> dict[str, list[tuple[Operator, Use]]]:
        """Who reads each tensor or weight in the forward, but the operator that writes it."""
        found: dict[str, list[tuple[Operator, Use]]] = {}
        for operator in self.graph.operators:
            for step in operator.forward:
                for use in step.reads:
                    if use.tensor in operator.inputs:
                        found.setdefault(use.tensor, []).append((operator, use))
        return found

    @cached_property
    def fed(self) -> frozenset[str]:
        """Tensors that need no bringing: weights in their place, and the model's inputs."""
        return frozenset((*self.graph.weights, *self.graph.inputs))

    @cached_property
    def needs(self) -> Needs:
        """The layouts in which forwards read each tensor."""
        return Needs(self.uses, self.cuts, self.transitions)

    @cached_property
    def index(self) -> dict[str, int]:
        """Position of every operator."""
        return {op.name: i for i, op in enumerate(self.graph.operators)}

    @cached_property
    def sizes(self) -> dict[str, TensorSize]:
        """Sizes of tensors, weights and gradients; equal ones are one object."""
        distinct: dict[tuple[tuple[int, ...], int, bool], TensorSize] = {}
        sizes: dict[str, TensorSize] = {}
        for name in (*self.graph.tensors, *self.graph.weights):
            key = self.graph.shape(name), self.graph.widths[name], self.graph.is_unordered(name)
            size = distinct.get(key) or distinct.setdefault(key, TensorSize(*key))
            sizes[name] = sizes[gradient(name)] = size
        return sizes
