"""The program: what one microbatch does on every stage, forward and backward.

Operators are walked once in order and once in reverse. Every read brings its tensor into the
layout that the config asks for, every step becomes a row; nothing here knows a scheme.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from flexsim.operator_graph.graph import OperatorGraph
from flexsim.operator_graph.records import Operator, Step, Use, gradient
from flexsim.strategy.layout import Layout
from flexsim.strategy.mesh import Mesh
from flexsim.strategy.strategy import Strategy
from flexsim.strategy.transition import TensorSize
from flexsim.task_graph.bring import Carrier
from flexsim.task_graph.cuts import Cuts
from flexsim.task_graph.fetches import Fetches
from flexsim.task_graph.gradients import Contribution
from flexsim.task_graph.needs import Needs
from flexsim.task_graph.offload import Offload
from flexsim.task_graph.pricing import Pricing
from flexsim.task_graph.rows import Notebook
from flexsim.task_graph.transitions import Transitions


@dataclass
class Program:
    """Rows of one microbatch, with what they leave behind.

    ``saved`` has, by stage and mesh, the layout in which a forward keeps each tensor that its
    backward reads.
    """

    graph: OperatorGraph
    strategy: Strategy
    notebook: Notebook
    pricing: Pricing
    weight_gradients: dict[str, list[Contribution]] = field(default_factory=dict)
    saved: dict[tuple[int, Mesh], dict[str, Layout]] = field(default_factory=dict)
    touched: dict[int, tuple[Operator, Step]] = field(default_factory=dict)
    """The step of an operator that every kernel's row is."""
    sums: dict[int, tuple[str, Layout]] = field(default_factory=dict)
    """What the rows write that add gradients."""
    splits: bool = False
    """Whether weight gradients may run later than input gradients."""
    narrow: frozenset[str] = frozenset()
    """Tensors that are kept in fp8."""
    narrow_gradients: bool = False
    """Whether what only products of weight gradients read later is kept in fp8 for them."""

    @cached_property
    def cuts(self) -> Cuts:
        """The layouts of what operators touch."""
        return Cuts(self.strategy)

    @cached_property
    def carrier(self) -> Carrier:
        """What writes communication."""
        spread = self.strategy.scatter_gather
        return Carrier(self.notebook, self.pricing, spread, self.transitions)

    @cached_property
    def transitions(self) -> Transitions:
        """How tensors get from layout to layout."""
        return Transitions()

    @cached_property
    def fetches(self) -> Fetches:
        """What gathers weights that are kept in shares."""
        return Fetches(self)

    @cached_property
    def offload(self) -> Offload:
        """What moves saved activations to the host and back."""
        return Offload(self)

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
        return self._sizes[tensor]

    def kept_bytes(self, tensor: str, layout: Layout) -> int:
        """Return the bytes of a tensor's largest part as the forward keeps it."""
        num_bytes = self.size(tensor).local_bytes(layout)
        return num_bytes // self.graph.widths[tensor] if tensor in self.narrow else num_bytes

    @cached_property
    def _sizes(self) -> dict[str, TensorSize]:
        """Sizes of tensors, weights and gradients; equal ones are one object."""
        distinct: dict[tuple[tuple[int, ...], int, bool], TensorSize] = {}
        sizes: dict[str, TensorSize] = {}
        for name in (*self.graph.tensors, *self.graph.weights):
            key = self.graph.shape(name), self.graph.widths[name], self.graph.is_unordered(name)
            size = distinct.get(key) or distinct.setdefault(key, TensorSize(*key))
            sizes[name] = sizes[gradient(name)] = size
        return sizes

    def stage(self, operator: Operator) -> int:
        """Return the global stage of an operator."""
        return self.strategy.stage_of.get(operator.name, 0)
