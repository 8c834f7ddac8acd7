"""The program: what one microbatch does on every stage, forward and backward.

Operators are walked once in order and once in reverse. Every read brings its tensor into the
layout that the config asks for, every step becomes a row; nothing here knows a scheme.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from flexsim.operator_graph.graph import OperatorGraph
from flexsim.operator_graph.records import GRADIENT, Operator
from flexsim.strategy.layout import Layout
from flexsim.strategy.mesh import Mesh
from flexsim.strategy.strategy import Strategy
from flexsim.strategy.transition import TensorSize
from flexsim.task_graph.gradients import Contribution
from flexsim.task_graph.pricing import Pricing
from flexsim.task_graph.rows import Notebook


@dataclass
class Program:
    """Rows of one microbatch, with what they leave behind.

    ``saved`` has, by stage and mesh, the layout in which a forward keeps each tensor that its
    backward reads; ``rebuilt`` what backward reads of each recomputed segment.
    """

    graph: OperatorGraph
    strategy: Strategy
    notebook: Notebook
    pricing: Pricing
    weight_gradients: dict[str, list[Contribution]] = field(default_factory=dict)
    saved: dict[tuple[int, Mesh], dict[str, Layout]] = field(default_factory=dict)
    rebuilt: list[tuple[int, dict[str, Layout]]] = field(default_factory=list)

    @cached_property
    def index(self) -> dict[str, int]:
        """Position of every operator."""
        return {op.name: i for i, op in enumerate(self.graph.operators)}

    def keep(self, tensor: str, layout: Layout, stage: int) -> None:
        """Note that a stage's forward keeps a tensor for its backward."""
        self.saved.setdefault((stage, layout.mesh), {})[tensor] = layout

    def saved_on(self, stage: int) -> dict[str, Layout]:
        """Return what a stage keeps, on whatever mesh."""
        found: dict[str, Layout] = {}
        for (at, _), layouts in self.saved.items():
            found |= layouts if at == stage else {}
        return found

    def size(self, tensor: str) -> TensorSize:
        """Return shape and bytes an element of a tensor, a weight or a gradient."""
        name = tensor.removeprefix(GRADIENT)
        return TensorSize(self.graph.shape(name), self.graph.bytes_per_element(name))

    def stage(self, operator: Operator) -> int:
        """Return the global stage of an operator."""
        return self.strategy.stage_of.get(operator.name, 0)
