"""Trains an operator graph for real: every step of one part of it, in PyTorch, on this process.

Each step is stamped with the time at which it ended, so that what lies between two kernels (the
interpreter, allocations) belongs to the later one, as it does in a real iteration.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from flexsim.errors import FlexSimError
from flexsim.operator_graph import OperatorGraph
from flexsim.operator_graph.records import GRADIENT, Operator, Step
from flexsim.profiling.kernels import run_step
from flexsim.profiling.tensors import Tensors, looked_up, shape_of
from flexsim.strategy import Strategy
from flexsim.strategy.config import ParallelConfig, part_sizes

Box = Mapping[str, int]
_DEVIATION = 0.02


@dataclass(frozen=True)
class Stamp:
    """One step of one part: when it began and ended on this machine's clock, in ns."""

    operator: str
    step: Step
    begin_ns: int
    end_ns: int
    added_bytes: int = 0
    """Size of the gradient that was added to another consumer's, where that was all it did."""


@dataclass
class Part:
    """What one process computes of a graph: operators with their boxes, weights and gradients."""

    graph: OperatorGraph
    operators: Sequence[Operator]
    boxes: Mapping[str, Box]
    weights: Tensors
    gradients: Tensors
    sums: Mapping[str, frozenset[str]]
    """The tensors that each operator leaves as partial sums over a cut dimension."""
    stamps: list[Stamp] = field(default_factory=list)
    now_ns: int = 0

    def forward(self, tensors: Tensors) -> None:
        """Run all forwards; ``tensors`` holds the inputs and then all that was computed."""
        tensors.update(self.weights)
        for operator in self.operators:
            for step in operator.forward:
                self._run(operator, step, tensors)

    def backward(self, tensors: Tensors) -> None:
        """Run all backwards; gradients of weights are added to those of earlier microbatches."""
        tensors.update(self.gradients)
        for operator in reversed(self.operators):
            for step in operator.backward:
                self._run(operator, step, tensors)

    def begin(self) -> None:
        """Take the time: what comes next begins now."""
        self.now_ns = time.perf_counter_ns()

    def _run(self, operator: Operator, step: Step, tensors: Tensors) -> None:
        earlier = self._set_aside(step, tensors)
        run_step(operator, step, tensors, self.boxes[operator.name])
        if step.kernel != "alias":
            self._stamp(operator, step)
        for name, gradient in earlier.items():
            tensors[name] = tensors[name] + gradient
            self._stamp(operator, step, gradient.nbytes)
        if self.sums:
            self._add_up(operator, step, tensors)

    def _set_aside(self, step: Step, tensors: Tensors) -> Tensors:
        """Take away the gradients that other consumers of a tensor wrote before."""
        names = [use.tensor for use in step.writes if use.tensor in tensors]
        return {name: tensors.pop(name) for name in names if name not in self.gradients}

    def _stamp(self, operator: Operator, step: Step, added_bytes: int = 0) -> None:
        end_ns = time.perf_counter_ns()
        self.stamps.append(Stamp(operator.name, step, self.now_ns, end_ns, added_bytes))
        self.now_ns = end_ns

    def _add_up(self, operator: Operator, step: Step, tensors: Tensors) -> None:
        """Sum over all processes what is left partial."""
        for use in step.writes:
            if use.tensor in self.sums[operator.name]:
                torch.distributed.all_reduce(tensors[use.tensor])
                self.begin()


def part_of(graph: OperatorGraph, strategy: Strategy, device: int) -> Part:
    """Return what ``device`` computes under ``strategy``, with weights drawn at random."""
    mine = [each for each in graph.operators if device in strategy.configs[each.name].mesh.flat]
    boxes = {each.name: box_of(each, strategy.configs[each.name], device) for each in mine}
    weights = _weights(graph, mine, boxes)
    gradients = {GRADIENT + name: torch.zeros_like(weight) for name, weight in weights.items()}
    sums = {each.name: _partial(each, strategy.configs[each.name]) for each in mine}
    return Part(graph, mine, boxes, weights, gradients, sums if any(sums.values()) else {})


def check_cuts(part: Part) -> None:
    """Raise :class:`FlexSimError` where an operator reads a tensor cut otherwise than written."""
    written: dict[str, tuple[int, ...]] = {}
    for operator in part.operators:
        box = part.boxes[operator.name]
        for use in (use for step in operator.forward for use in step.reads):
            shape = written.get(use.tensor)
            if shape is not None and use.dense and shape != shape_of(use, box):
                raise FlexSimError(
                    f"{operator.name} reads {use.tensor} cut otherwise than it is written: only"
                    " pipelines, samples and tensor-parallel linear layers can be trained here;"
                    " measure without --in-steps"
                )
        for use in (use for step in operator.forward for use in step.writes):
            written[use.tensor] = shape_of(use, box)


def box_of(operator: Operator, config: ParallelConfig, device: int) -> dict[str, int]:
    """Return the sizes of the part of an operator that a device computes."""
    sizes = part_sizes(operator, config)
    place = config.mesh.flat.tolist().index(device)
    return dict(sizes.boxes[int(sizes.box_of_part[place])])


def _weights(
    graph: OperatorGraph, operators: Sequence[Operator], boxes: Mapping[str, Box]
) -> Tensors:
    """Return a normal weight for every weight that is read, gains of norms near 1."""
    weights: Tensors = {}
    for operator in operators:
        for use in (use for step in operator.forward for use in step.reads):
            if use.tensor in graph.weights and use.tensor not in weights:
                drawn = torch.randn(shape_of(use, boxes[operator.name])) * _DEVIATION
                weights[use.tensor] = drawn + 1 if use.tensor.endswith(".gain") else drawn
    return weights


def _partial(operator: Operator, config: ParallelConfig) -> frozenset[str]:
    """Return what forward and input gradients sum over a dimension that is cut."""
    found = set()
    for step in operator.steps:
        if step.pass_name in {"F", "I"}:
            for m in step.maps:
                if any(config.degree(dim) > 1 for dim in m.summed_dims):
                    found.add(m.write.tensor)
    return frozenset(found)


def inputs_of(part: Part) -> Tensors:
    """Return random inputs of a microbatch for the tensors that no operator writes."""
    written = {use.tensor for each in part.operators for s in each.forward for use in s.writes}
    found: Tensors = {}
    for operator in part.operators:
        box = part.boxes[operator.name]
        rows = looked_up(operator, box)
        for use in (use for step in operator.forward for use in step.reads):
            if use.tensor not in written | part.weights.keys() | found.keys():
                found[use.tensor] = drawn(use.tensor, shape_of(use, box), rows)
    return found


def drawn(name: str, shape: tuple[int, ...], rows: Mapping[str, int]) -> Tensor:
    """Return numbers of rows for what is looked up, and normal samples for other inputs."""
    return torch.randint(rows[name], shape) if name in rows else torch.randn(shape)
