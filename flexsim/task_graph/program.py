"""The program: what one microbatch does on every stage, forward and backward.

Operators are walked once in order and once in reverse. Every read brings its tensor into the
layout that the config asks for, every step becomes a row; nothing here knows a scheme.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from flexsim.operator_graph.graph import OperatorGraph
from flexsim.operator_graph.records import Operator, Step, Use
from flexsim.strategy.layout import Layout
from flexsim.strategy.mesh import Mesh
from flexsim.strategy.strategy import Strategy
from flexsim.strategy.transition import TensorSize
from flexsim.task_graph.bring import Carrier
from flexsim.task_graph.cuts import Cuts
from flexsim.task_graph.fetches import Fetches
from flexsim.task_graph.findings import Findings
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
    findings: Findings | None = None
    """Those of a program with the same graph and configs; None: it makes its own."""

    @cached_property
    def found(self) -> Findings:
        """What follows from the graph and the configs alone."""
        return self.findings or Findings(self.graph, self.strategy)

    @cached_property
    def cuts(self) -> Cuts:
        """The layouts of what operators touch."""
        return self.found.cuts

    @cached_property
    def transitions(self) -> Transitions:
        """How tensors get from layout to layout."""
        return self.found.transitions

    @cached_property
    def needs(self) -> Needs:
        """The layouts in which forwards read each tensor."""
        return self.found.needs

    @cached_property
    def uses(self) -> dict[str, list[tuple[Operator, Use]]]:
        """Who reads each tensor or weight in the forward, but the operator that writes it."""
        return self.found.uses

    @cached_property
    def fed(self) -> frozenset[str]:
        """Tensors that need no bringing: weights in their place, and the model's inputs."""
        return self.found.fed

    @cached_property
    def index(self) -> dict[str, int]:
        """Position of every operator."""
        return self.found.index

    @cached_property
    def _sizes(self) -> dict[str, TensorSize]:
        return self.found.sizes

    @cached_property
    def carrier(self) -> Carrier:
        """What writes communication."""
        spread, found = self.strategy.scatter_gather, self.found
        return Carrier(self.notebook, self.pricing, spread, found.transitions, found.plans)

    @cached_property
    def fetches(self) -> Fetches:
        """What gathers weights that are kept in shares."""
        return Fetches(self)

    @cached_property
    def offload(self) -> Offload:
        """What moves saved activations to the host and back."""
        return Offload(self)

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

    def stage(self, operator: Operator) -> int:
        """Return the global stage of an operator."""
        return self.strategy.stage_of.get(operator.name, 0)
