"""The outline of a program: who reads, writes and adds what, before any config is known.

A program of one stage and one microbatch is a fixed sequence of *slots*: the row of every step,
and before it what every read of it brings. What the reads of one tensor bring depends on one
another and on nothing else but the layouts asked for: they form a *chain*. A chain's rows wait
for its *inputs*, each a list of slots: the steps that write the tensor, or the gradients that
hold the communication of a backward back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from flexsim.errors import ModelError
from flexsim.operator_graph.graph import OperatorGraph
from flexsim.operator_graph.records import GRADIENT, Operator, Step, Use, gradient

FORWARD, LOSS, SAVED, UPSTREAM, AGAIN = range(5)
"""How a read brings: in the forward; in a backward that waits for no gradient; what was saved;
a gradient for the first time; and for a step of the same operator."""

ACTIVATION, SUM, PASSED = range(3)
"""What a chain brings: an activation, a sum of gradients, or what one step of a backward hands
to the next."""

Slots = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Read:
    """One read of a chain's tensor; ``gate`` is the input that holds it back, or -1."""

    how: int
    operator: Operator
    step: Step | None
    use: Use
    slot: int
    gate: int = -1

    @property
    def lenient(self) -> bool:
        """Whether the reading step takes partial sums as they are."""
        return self.step is not None and self.step.accepts_partial

    @property
    def is_needed(self) -> bool:
        """Whether a forward of another operator than the writer's reads."""
        return self.how == FORWARD and self.use.tensor in self.operator.inputs


@dataclass(frozen=True, eq=False)
class Write:
    """What a step leaves of a chain's tensor: that of the map at ``position``.

    ``held`` are further inputs for which it waits while it is a partial sum. The step takes
    partial sums from the reads in the slots ``lenient``, and leaves them.
    """

    operator: Operator
    step: Step
    position: int
    input: int
    lenient: Slots = ()
    held: list[int] = field(default_factory=list)


@dataclass(eq=False)
class Chain:
    """All reads and writes of one tensor, in program order."""

    number: int
    tensor: str
    what: int
    items: list[Read | Write] = field(default_factory=list)
    inputs: list[Slots] = field(default_factory=list)

    @property
    def reads(self) -> list[Read]:
        """The reads in order."""
        return [item for item in self.items if isinstance(item, Read)]

    @property
    def writes(self) -> list[Write]:
        """The writes in order."""
        return [item for item in self.items if isinstance(item, Write)]

    def input(self, slots: Slots) -> int:
        """Return the number of an input, a new one where there is none yet."""
        if slots not in self.inputs:
            self.inputs.append(slots)
        return self.inputs.index(slots)

    @property
    def form(self) -> tuple[object, ...]:
        """All that what a chain brings depends on, but its layouts and its tensor's size."""
        return self.what, tuple(map(_form, self.items))


def _form(item: Read | Write) -> tuple[object, ...]:
    if isinstance(item, Read):
        return item.how, item.lenient, item.is_needed, item.gate
    return item.input, tuple(item.held)


@dataclass(frozen=True, eq=False)
class Stage:
    """The slot of a step's row, and those of its reads; it waits for ``gate`` if for none."""

    operator: Operator
    step: Step
    slot: int
    reads: Slots
    gate: Slots


class Contributor(NamedTuple):
    """A step that adds to a weight's gradient, the map that does, and where its rows are."""

    operator: Operator
    step: Step
    position: int
    slots: Slots


@dataclass(eq=False)
class Outline:
    """Slots in program order, as the chains and steps that they belong to.

    The slots from ``first_backward`` on belong to the backward.
    """

    graph: OperatorGraph
    overlap_input_gradients: bool
    chains: list[Chain] = field(default_factory=list)
    steps: list[Stage] = field(default_factory=list)
    weights: dict[str, list[Contributor]] = field(default_factory=dict)
    """Who contributes to the gradient of each weight."""
    num_slots: int = 0
    first_backward: int = 0

    @classmethod
    def of(cls, graph: OperatorGraph, overlap_input_gradients: bool) -> Outline:
        """Walk a graph forward and backward."""
        outline = cls(graph, overlap_input_gradients)
        forward = _Forward(outline)
        for operator in graph.operators:
            forward.run(operator)
        outline.first_backward = outline.num_slots
        backward = _Backward(outline, forward.chain_of)
        for operator in reversed(graph.operators):
            backward.run(operator)
        return outline

    def new_slot(self) -> int:
        """Return the number of the next slot."""
        self.num_slots += 1
        return self.num_slots - 1

    def new_chain(self, tensor: str, what: int) -> Chain:
        """Append an empty chain."""
        self.chains.append(Chain(len(self.chains), tensor, what))
        return self.chains[-1]

    def new_step(self, operator: Operator, step: Step, reads: list[int], gate: Slots) -> int:
        """Append the row of a step and return its slot."""
        slot = self.new_slot()
        self.steps.append(Stage(operator, step, slot, tuple(reads), gate))
        return slot


def positions(step: Step) -> dict[str, int]:
    """Return the first map that writes each of a step's tensors."""
    found: dict[str, int] = {}
    for position, m in enumerate(step.maps):
        found.setdefault(m.write.tensor, position)
    return found


class _Forward:
    """Walks forwards; ``chain_of`` has the chain of every tensor written."""

    def __init__(self, outline: Outline) -> None:
        self.outline = outline
        self.fed = frozenset((*outline.graph.weights, *outline.graph.inputs))
        self.chain_of: dict[str, Chain] = {}

    def run(self, operator: Operator) -> None:
        for step in operator.forward:
            reads = [
                self._read(operator, step, use) for use in step.reads if use.tensor not in self.fed
            ]
            slot = self.outline.new_step(operator, step, reads, ())
            for tensor, position in positions(step).items():
                chain = self._chain(tensor)
                lenient = tuple(reads) if step.accepts_partial else ()
                write = Write(operator, step, position, chain.input((slot,)), lenient)
                chain.items.append(write)

    def _read(self, operator: Operator, step: Step, use: Use) -> int:
        slot = self.outline.new_slot()
        self.chain_of[use.tensor].items.append(Read(FORWARD, operator, step, use, slot))
        return slot

    def _chain(self, tensor: str) -> Chain:
        if tensor not in self.chain_of:
            self.chain_of[tensor] = self.outline.new_chain(tensor, ACTIVATION)
        return self.chain_of[tensor]


class _Backward:
    """Walks backwards; ``waiting`` are the contributions to gradients not yet summed."""

    def __init__(self, outline: Outline, activations: dict[str, Chain]) -> None:
        self.outline = outline
        self.activations = activations
        self.fed = frozenset((*outline.graph.weights, *outline.graph.inputs))
        self.waiting: dict[str, Chain] = {}
        self.summed: dict[str, Chain] = {}

    def run(self, operator: Operator) -> None:
        gate = tuple(self._upstream(operator, use) for use in operator.upstream)
        for step in operator.backward:
            if step.kernel == "alias":
                self._contribute(operator, step, 0, gate)
            else:
                self._step(operator, step, gate)
        if not self.outline.overlap_input_gradients:
            self._hold_back(operator)

    def _upstream(self, operator: Operator, use: Use) -> int:
        name = use.tensor
        if name not in self.summed:
            if name not in self.waiting:
                raise ModelError(
                    f"{self.outline.graph.name}: nothing reads {name.removeprefix(GRADIENT)!r} "
                    "on the way to the loss, so it has no gradient"
                )
            self.summed[name] = self.waiting.pop(name)
        return self._read(self.summed[name], Read(UPSTREAM, operator, None, use, self._slot()))

    def _step(self, operator: Operator, step: Step, gate: Slots) -> None:
        reads = [
            self._read_of_step(operator, step, use, gate)
            for use in step.reads
            if use.tensor not in self.fed
        ]
        slot = self.outline.new_step(operator, step, reads, gate)
        for tensor, position in positions(step).items():
            if tensor in operator.passed_on:
                chain = self.outline.new_chain(tensor, PASSED)
                chain.items.append(Write(operator, step, position, chain.input((slot,))))
                self.summed[tensor] = chain
            else:
                self._contribute(operator, step, position, (slot,))

    def _read_of_step(self, operator: Operator, step: Step, use: Use, gate: Slots) -> int:
        slot = self._slot()
        if use.tensor.startswith(GRADIENT):
            return self._read(self.summed[use.tensor], Read(AGAIN, operator, step, use, slot))
        chain = self.activations[use.tensor]
        if not gate:
            return self._read(chain, Read(LOSS, operator, step, use, slot))
        return self._read(chain, Read(SAVED, operator, step, use, slot, chain.input(gate)))

    def _contribute(self, operator: Operator, step: Step, position: int, slots: Slots) -> None:
        tensor = step.maps[position].write.tensor
        weight = tensor.removeprefix(GRADIENT)
        if weight in self.outline.graph.weights:
            found = self.outline.weights.setdefault(weight, [])
            found.append(Contributor(operator, step, position, slots))
            return
        if tensor not in self.waiting:
            self.waiting[tensor] = self.outline.new_chain(tensor, SUM)
        chain = self.waiting[tensor]
        chain.items.append(Write(operator, step, position, chain.input(slots)))

    def _hold_back(self, operator: Operator) -> None:
        """Note which partial input gradients also wait for an operator's weight gradients."""
        weights = self.outline.weights
        slots = tuple(
            s for name in operator.inputs if name in weights for s in weights[name][-1].slots
        )
        for name in operator.inputs if slots else ():
            chain = self.waiting.get(gradient(name))
            if chain is not None:
                last = chain.items[-1]
                assert isinstance(last, Write)
                last.held.append(chain.input(slots))

    def _slot(self) -> int:
        return self.outline.new_slot()

    def _read(self, chain: Chain, read: Read) -> int:
        chain.items.append(read)
        return read.slot
