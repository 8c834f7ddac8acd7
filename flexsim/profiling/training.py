"""Real iterations of a scenario on this machine: one process a device, gloo or NCCL between them.

Every process computes one device's part of the operator graph, in the order of the scenario's
schedule; activations and gradients go from rank to rank, gradients of shared weights are summed
after the last backward, then the optimizer steps. Clocks are those of one machine, so that what
processes stamp can be compared.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, distributed

from flexsim.errors import FlexSimError
from flexsim.operator_graph.records import GRADIENT
from flexsim.profiling.execution import Part, Stamp, check_cuts, inputs_of, part_of
from flexsim.profiling.tensors import Tensors, shape_of
from flexsim.scenario.prepare import Prepared
from flexsim.task_graph.schedules import Action, PipelineShape, build_schedule

_PASSES = ("F", "B")


@dataclass(frozen=True)
class Hop:
    """A tensor that was received: its bytes, and when this process began to wait and went on."""

    tensor: str
    microbatch: int
    num_bytes: int
    begin_ns: int
    end_ns: int


@dataclass(frozen=True)
class Sum:
    """Gradients that processes summed: the bytes, and when this process came and went on."""

    num_bytes: int
    begin_ns: int
    end_ns: int


@dataclass
class Iteration:
    """What one process stamped in one iteration."""

    num_parameters: int
    begin_ns: int = 0
    end_ns: int = 0
    stamps: list[Stamp] = field(default_factory=list)
    sent_ns: dict[tuple[str, int], int] = field(default_factory=dict)
    received: list[Hop] = field(default_factory=list)
    optimizer_ns: int = 0
    sums: list[Sum] = field(default_factory=list)


@dataclass
class Trainer:
    """One process of a training run."""

    prepared: Prepared
    device: int
    part: Part = field(init=False)
    optimizer: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        strategy = self.prepared.strategy
        self.part = part_of(self.prepared.graph, strategy, self.device)
        check_cuts(self.part)
        weights = list(self.part.weights.values())
        self.optimizer = torch.optim.Adam(weights, lr=1e-3, foreach=False)
        self._boundaries = boundaries_of(self.prepared)
        self._actions = self._order()
        self._shared = self._groups()

    def _order(self) -> list[Action]:
        strategy = self.prepared.strategy
        stages = [strategy.stage_of.get(each.name, 0) for each in self.part.operators]
        num_ranks = strategy.num_ranks
        if strategy.num_stages != num_ranks or len(set(stages)) != 1:
            raise FlexSimError("only pipelines with one stage a rank can be trained here")
        shape = PipelineShape(num_ranks, strategy.num_microbatches)
        actions = build_schedule(strategy.schedule, shape).actions(stages[0])
        if any(action.kind not in _PASSES for action in actions):
            raise FlexSimError(
                f"schedule {strategy.schedule!r} cannot be trained here: choose gpipe or 1f1b"
            )
        return actions

    def _groups(self) -> list[tuple[list[str], distributed.ProcessGroup]]:
        """Return the gradients that processes sum, by who sums them; all make every group."""
        owners: dict[str, set[int]] = {}
        for operator in self.prepared.graph.operators:
            config = self.prepared.strategy.configs[operator.name]
            for use in (use for step in operator.forward for use in step.reads):
                is_cut = any(config.degree(dim) > 1 for dim in use.dims)
                if use.tensor in self.prepared.graph.weights and not is_cut:
                    owners.setdefault(use.tensor, set()).update(config.mesh.flat.tolist())
        by_group: dict[tuple[int, ...], list[str]] = {}
        for name, devices in owners.items():
            if len(devices) > 1:
                by_group.setdefault(tuple(sorted(devices)), []).append(GRADIENT + name)
        groups = [(names, distributed.new_group(devices)) for devices, names in by_group.items()]
        return [(n, g) for (n, g), d in zip(groups, by_group, strict=True) if self.device in d]

    def iterate(self) -> Iteration:
        """Train one iteration and return what was stamped."""
        with torch.no_grad():  # gradients are written by the graph's own backward steps
            return self._iterate()

    def _iterate(self) -> Iteration:
        found = Iteration(sum(each.numel() for each in self.part.weights.values()))
        if distributed.get_world_size() > 1:
            distributed.barrier()
        self.part.stamps = found.stamps
        found.begin_ns = time.perf_counter_ns()
        microbatches: dict[int, Tensors] = {}
        sending: list[tuple[distributed.Work, Tensor]] = []
        for action in self._actions:
            self._act(action, microbatches, sending, found)
        for work, _ in sending:
            work.wait()
        self._sum_gradients(found)
        self._step(found)
        found.end_ns = time.perf_counter_ns()
        return found

    def _act(
        self,
        action: Action,
        microbatches: dict[int, Tensors],
        sending: list[tuple[distributed.Work, Tensor]],
        found: Iteration,
    ) -> None:
        number, is_forward = action.microbatch, action.kind == "F"
        if is_forward:
            microbatches[number] = inputs_of(self.part)
        tensors = microbatches[number]
        for name in self._incoming(action):
            self._receive(name, number, tensors, found)
        self.part.begin()
        if is_forward:
            self.part.forward(tensors)
        else:
            self.part.backward(tensors)
        for name in self._outgoing(action):
            self._send(name, number, tensors, sending, found)
        if not is_forward:
            del microbatches[number]

    def _incoming(self, action: Action) -> list[str]:
        return [n for n, to in self._crossing(action).items() if to == action.stage]

    def _outgoing(self, action: Action) -> list[str]:
        return [n for n, to in self._crossing(action).items() if to != action.stage]

    def _crossing(self, action: Action) -> Mapping[str, int]:
        """Return the tensors that pass between stages before or after an action, and where to."""
        found: dict[str, int] = {}
        forward = action.kind == "F"
        for name, (source, target) in self._boundaries.items():
            ends = (source, target) if forward else (target, source)
            if action.stage in ends:
                found[name if forward else GRADIENT + name] = ends[1]
        return found

    def _peer(self, name: str) -> int:
        """Return the process at the other end of a boundary; pipelines here have one replica."""
        source, target = self._boundaries[name.removeprefix(GRADIENT)]
        mine = self.prepared.strategy.stage_of[self.part.operators[0].name]
        return target if mine == source else source

    def _receive(self, name: str, number: int, tensors: Tensors, found: Iteration) -> None:
        begin_ns = time.perf_counter_ns()
        buffer = torch.empty(self._shape(name))
        distributed.recv(buffer, self._peer(name))
        end_ns = time.perf_counter_ns()
        tensors[name] = buffer
        found.received.append(Hop(name, number, buffer.nbytes, begin_ns, end_ns))

    def _send(
        self,
        name: str,
        number: int,
        tensors: Tensors,
        sending: list[tuple[distributed.Work, Tensor]],
        found: Iteration,
    ) -> None:
        tensor = tensors[name].contiguous()
        found.sent_ns[name, number] = time.perf_counter_ns()
        work = distributed.isend(tensor, self._peer(name))
        assert work is not None
        sending.append((work, tensor))

    def _shape(self, name: str) -> tuple[int, ...]:
        plain = name.removeprefix(GRADIENT)
        for operator in self.part.operators:
            for use in (use for s in operator.forward for use in (*s.reads, *s.writes)):
                if use.tensor == plain:
                    return shape_of(use, self.part.boxes[operator.name])
        raise AssertionError(name)

    def _sum_gradients(self, found: Iteration) -> None:
        for names, group in self._shared:
            begin_ns = time.perf_counter_ns()
            gradients = [self.part.gradients[name] for name in names]
            flat = torch.cat([each.reshape(-1) for each in gradients])
            distributed.all_reduce(flat, group=group)
            for gradient, part in zip(
                gradients, flat.split([each.numel() for each in gradients]), strict=True
            ):
                gradient.copy_(part.view_as(gradient))
            found.sums.append(Sum(flat.nbytes, begin_ns, time.perf_counter_ns()))

    def _step(self, found: Iteration) -> None:
        begin_ns = time.perf_counter_ns()
        for name, weight in self.part.weights.items():
            weight.grad = self.part.gradients[GRADIENT + name]
        self.optimizer.step()
        for gradient in self.part.gradients.values():
            gradient.zero_()
        found.optimizer_ns = time.perf_counter_ns() - begin_ns


def boundaries_of(prepared: Prepared) -> Mapping[str, tuple[int, int]]:
    """Return the tensors written on one stage and read on another, with both stages."""
    stage_of = prepared.strategy.stage_of
    home = {
        use.tensor: stage_of.get(each.name, 0)
        for each in prepared.graph.operators
        for step in each.forward
        for use in step.writes
    }
    found = {}
    for each in prepared.graph.operators:
        here = stage_of.get(each.name, 0)
        for use in (use for step in each.forward for use in step.reads):
            if use.tensor in home and home[use.tensor] != here:
                found[use.tensor] = (home[use.tensor], here)
    return found
