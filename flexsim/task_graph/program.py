"""The program: what one microbatch does on every stage, forward and backward.

Operators are walked once in order and once in reverse. Every read brings its tensor into the
layout that the config asks for, every step becomes a row; nothing here knows a scheme.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain

import numpy as np

from flexsim.cost.costs import Costs
from flexsim.cost.profiles import SoftwareProfile
from flexsim.cost.work import Work
from flexsim.device_graph import DeviceGraph
from flexsim.errors import ModelError
from flexsim.operator_graph.graph import OperatorGraph
from flexsim.operator_graph.records import GRADIENT, Operator, Step, Use, gradient
from flexsim.strategy.layout import Layout, read_layout, write_layout
from flexsim.strategy.strategy import Strategy
from flexsim.strategy.transition import TensorSize, transition
from flexsim.task_graph.bring import Carrier, Reader
from flexsim.task_graph.gradients import Contribution, sum_partials, widest
from flexsim.task_graph.kinds import TASK_CODE
from flexsim.task_graph.pricing import Pricing
from flexsim.task_graph.rows import B, F, Have, Notebook, Row, Store, unique

_KIND = {"F": "forward", "I": "input-gradient", "W": "weight-gradient"}


@dataclass
class Program:
    """Rows of one microbatch, with what they leave behind.

    ``saved`` has, by stage, the layout in which a forward keeps each tensor that its backward
    reads; ``rebuilt`` what backward reads of each recomputed segment.
    """

    graph: OperatorGraph
    strategy: Strategy
    notebook: Notebook
    pricing: Pricing
    weight_gradients: dict[str, list[Contribution]] = field(default_factory=dict)
    saved: dict[int, dict[str, Layout]] = field(default_factory=dict)
    rebuilt: list[tuple[int, dict[str, Layout]]] = field(default_factory=list)

    @cached_property
    def index(self) -> dict[str, int]:
        """Position of every operator."""
        return {op.name: i for i, op in enumerate(self.graph.operators)}

    def size(self, tensor: str) -> TensorSize:
        """Return shape and bytes an element of a tensor, a weight or a gradient."""
        name = tensor.removeprefix(GRADIENT)
        return TensorSize(self.graph.shape(name), self.graph.bytes_per_element(name))

    def stage(self, operator: Operator) -> int:
        """Return the global stage of an operator."""
        return self.strategy.stage_of.get(operator.name, 0)


def build_program(
    graph: OperatorGraph, strategy: Strategy, devices: DeviceGraph, costs: Costs
) -> Program:
    """Return the rows of one microbatch of ``graph`` under ``strategy``."""
    program = Program(graph, strategy, Notebook(), Pricing(graph, devices, costs))
    forward = _Forward(program)
    for operator in graph.operators:
        forward.run(operator)
    backward = _Backward(program, forward, costs.software)
    for operator in reversed(graph.operators):
        backward.run(operator)
    return program


class _Pass:
    """What forward, recomputation and backward have in common."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.graph = program.graph
        self.carrier = Carrier(program.notebook, program.pricing, program.strategy.scatter_gather)

    def reader(self, operator: Operator, action: int, gate: tuple[int, ...] = ()) -> Reader:
        return Reader(self.program.index[operator.name], self.program.stage(operator), action, gate)

    def layout(self, operator: Operator, use: Use) -> Layout:
        return read_layout(operator, self.program.strategy.configs[operator.name], use)

    def write_row(
        self, operator: Operator, step: Step, kind: str, reader: Reader, needs: tuple[int, ...]
    ) -> int:
        config = self.program.strategy.configs[operator.name]
        priced = self.program.pricing.compute(operator, config, step)
        self.program.notebook.flops += priced.flops
        return self.program.notebook.write(
            Row(
                reader.stage,
                reader.action,
                TASK_CODE[kind],
                reader.operator,
                self.program.notebook.on_mesh(config.mesh),
                priced.duration_ns,
                priced.num_bytes,
                needs,
                True,
            )
        )

    def is_fed(self, tensor: str) -> bool:
        """Whether a tensor needs no bringing: a weight in its place, or a model input."""
        return tensor in self.graph.weights or tensor in self.graph.inputs


class _Forward(_Pass):
    """The forward pass; with ``kind`` recompute, the repetition of a segment of it."""

    def __init__(self, program: Program, kind: str = "forward") -> None:
        super().__init__(program)
        self.kind = kind
        self.action = F if kind == "forward" else B
        self.store: Store = {}

    def run(self, operator: Operator, gate: tuple[int, ...] = ()) -> None:
        reader = self.reader(operator, self.action, gate)
        for step in operator.forward:
            self._step(operator, step, reader)

    def _step(self, operator: Operator, step: Step, reader: Reader) -> None:
        needs: list[int] = []
        partial: set[tuple[str, str]] = set()
        for use in step.reads:
            if self.is_fed(use.tensor):
                continue
            target = self._target(operator, step, use)
            needs += self.bring(use.tensor, target, reader)
            partial.update(target.partial)
        row = self.write_row(operator, step, self.kind, reader, unique(needs) or reader.gate)
        config = self.program.strategy.configs[operator.name]
        for m in step.maps:
            layout = write_layout(operator, config, m)
            have = Have(layout.with_partial((*layout.partial, *partial)), (row,), reader.stage)
            self.store.setdefault(m.write.tensor, []).append(have)

    def _target(self, operator: Operator, step: Step, use: Use) -> Layout:
        """Return what a read needs; a linear step takes partial sums as they are."""
        target = self.layout(operator, use)
        if not step.accepts_partial:
            return target
        for have in self.store[use.tensor]:
            free = set(target.replicated_axes)
            same = have.layout.mesh == target.mesh and have.layout.axes == target.axes
            if same and have.layout.partial and free.issuperset(have.layout.partial_axes):
                return have.layout
        return target

    def bring(self, tensor: str, target: Layout, reader: Reader) -> tuple[int, ...]:
        """Bring a tensor, by way of the most replicated layout that readers of it need."""
        sized = (tensor, self.program.size(tensor))
        wide = self._widest_need(tensor, target, sized[1])
        if wide != target:
            self.carrier.bring(self.store, sized, wide, reader)
        return self.carrier.bring(self.store, sized, target, reader)

    def _widest_need(self, tensor: str, target: Layout, size: TensorSize) -> Layout:
        if target.partial:
            return target
        needs = (
            self.layout(self.graph.by_name[name], use)
            for name in self.graph.readers.get(tensor, ())
            for step in self.graph.by_name[name].forward
            for use in step.reads
            if use.tensor == tensor
        )
        wider = [n for n in needs if n.mesh == target.mesh and not transition(n, target, size)]
        return max([target, *wider], key=lambda n: n.local_elements(size.shape))


class _Backward(_Pass):
    """The backward pass: gradients summed and brought, saved tensors gathered again."""

    def __init__(self, program: Program, forward: _Forward, software: SoftwareProfile) -> None:
        super().__init__(program)
        self.forward = forward
        self.software = software
        self.gradients: Store = {}
        self.contributions: dict[str, list[Contribution]] = {}
        self.kept: dict[int, Store] = {}
        self.rebuilt: dict[str, _Recompute] = {}
        self.segment_of = {
            name: segment for segment in program.strategy.recompute for name in segment
        }

    def run(self, operator: Operator) -> None:
        gate = self._gradient_rows(operator)
        self._rebuild(operator, gate)
        reader = self.reader(operator, B, gate)
        for step in operator.backward:
            if step.kernel == "alias":
                self._pass_on(operator, step, reader)
            else:
                self._step(operator, step, reader)
        if not self.software.overlap_input_gradients:
            self._hold_back(operator)

    def _hold_back(self, operator: Operator) -> None:
        """Let the collectives of an operator's input gradients follow its weight gradients."""
        weights = [self.program.weight_gradients.get(name, ()) for name in operator.inputs]
        rows = tuple(row for found in weights if found for row in found[-1].rows)
        for name in operator.inputs:
            held = self.contributions.get(gradient(name), [])
            if rows and held and held[-1].layout.partial:
                held[-1] = replace(held[-1], rows=unique((*held[-1].rows, *rows)))

    def _gradient_rows(self, operator: Operator) -> tuple[int, ...]:
        """Bring every gradient that the operator's backward reads; return its rows."""
        reader = self.reader(operator, B)
        reads = dict.fromkeys(use for step in operator.backward for use in step.reads)
        found = [self._gradient(operator, use, reader) for use in reads if _is_gradient(use)]
        return unique(row for rows in found for row in rows)

    def _gradient(self, operator: Operator, use: Use, reader: Reader) -> tuple[int, ...]:
        name, target = use.tensor, self.layout(operator, use)
        size = self.program.size(name)
        if name not in self.gradients:
            self.gradients[name] = self._summed(name, target, size, reader)
        return self.carrier.bring(self.gradients, (name, size), target, reader)

    def _summed(self, name: str, target: Layout, size: TensorSize, reader: Reader) -> list[Have]:
        """Return the sum of a gradient's contributions, in one layout if they agree."""
        contributions = self.contributions.pop(name, [])
        if not contributions:
            raise ModelError(
                f"{self.graph.name}: nothing reads {name.removeprefix(GRADIENT)!r} "
                "on the way to the loss, so it has no gradient"
            )
        found = [self._added(name, c, size) for c in sum_partials(contributions)]
        if len(found) > 1:
            rows = [self.carrier.bring({name: [h]}, (name, size), target, reader) for h in found]
            total = Contribution(target, unique(chain(*rows)), reader.stage, len(found))
            found = [self._added(name, total, size)]
        return found

    def _added(self, name: str, total: Contribution, size: TensorSize) -> Have:
        """Write the kernel that adds contributions where several tensors are summed."""
        if total.num_addends < 2:
            return Have(total.layout, total.rows, total.stage)
        mesh, notebook = total.layout.mesh, self.program.notebook
        num_bytes = size.local_bytes(total.layout) * (total.num_addends + 1)
        work = Work("elementwise", "I", 0, num_bytes, precision=self.graph.precision)
        parts = np.zeros(mesh.size, np.int64)
        row = Row(
            total.stage,
            B,
            TASK_CODE["input-gradient"],
            self.program.index[self.graph.writer[name.removeprefix(GRADIENT)]],
            notebook.on_mesh(mesh),
            self.program.pricing.durations([work], parts, mesh),
            np.full(mesh.size, num_bytes, np.int64),
            total.rows,
            True,
        )
        return Have(total.layout, (notebook.write(row),), total.stage)

    def _pass_on(self, operator: Operator, step: Step, reader: Reader) -> None:
        """Hand a gradient on under another name; no kernel runs."""
        (m,) = step.maps
        layout = self.layout(operator, m.reads[0])
        self._contribute(m.write.tensor, Contribution(layout, reader.gate, reader.stage))

    def _step(self, operator: Operator, step: Step, reader: Reader) -> None:
        needs: list[int] = []
        for use in step.reads:
            if _is_gradient(use):
                layout = self.layout(operator, use)
                sized = (use.tensor, self.program.size(use.tensor))
                needs += self.carrier.bring(self.gradients, sized, layout, reader)
            elif not self.is_fed(use.tensor):
                needs += self._saved(operator, use, reader)
        kind = _KIND[step.pass_name]
        row = self.write_row(operator, step, kind, reader, unique(needs) or reader.gate)
        config = self.program.strategy.configs[operator.name]
        for tensor in dict.fromkeys(m.write.tensor for m in step.maps):
            maps = (m for m in step.maps if m.write.tensor == tensor)
            layouts = [write_layout(operator, config, m) for m in maps]
            self._contribute(tensor, Contribution(widest(layouts), (row,), reader.stage))

    def _contribute(self, tensor: str, contribution: Contribution) -> None:
        weight = tensor.removeprefix(GRADIENT)
        table = self.contributions
        if weight in self.graph.weights:
            table, tensor = self.program.weight_gradients, weight
        table.setdefault(tensor, []).append(contribution)

    def _saved(self, operator: Operator, use: Use, reader: Reader) -> tuple[int, ...]:
        """Return the rows that bring a saved tensor back; none if it lies there as needed.

        A step with no gradient to wait for (the loss) follows the forward's own rows.
        """
        target = self.layout(operator, use)
        segment = self.segment_of.get(operator.name, ())
        if segment and self.graph.writer[use.tensor] in segment:
            self.rebuilt[segment[0]].read[use.tensor] = target
            return self.rebuilt[segment[0]].bring(use.tensor, target, reader)
        if not reader.gate:
            self.program.saved.setdefault(reader.stage, {})[use.tensor] = target
            return self.forward.bring(use.tensor, target, reader)
        return self.keep(use.tensor, target, reader)

    def keep(self, tensor: str, target: Layout, reader: Reader) -> tuple[int, ...]:
        """Save a tensor where the forward used the fewest bytes and gather it from there."""
        size = self.program.size(tensor)
        store = self.kept.setdefault(reader.stage, {})
        if tensor not in store:
            layout = self._smallest(tensor, target, size)
            self.program.saved.setdefault(reader.stage, {})[tensor] = layout
            store[tensor] = [Have(layout, (), reader.stage)]
        return self.carrier.bring(store, (tensor, size), target, reader)

    def _smallest(self, tensor: str, target: Layout, size: TensorSize) -> Layout:
        """Return the smallest forward layout from which only all-gathers lead to ``target``."""
        found = [
            have.layout
            for have in self.forward.store[tensor]
            if have.layout.mesh == target.mesh
            and not have.layout.partial
            and _only_gathers(have.layout, target, size)
        ]
        return min([target, *found], key=lambda layout: layout.local_elements(size.shape))

    def _rebuild(self, operator: Operator, gate: tuple[int, ...]) -> None:
        """Repeat the forward of a segment before the backward of its last operator."""
        segment = self.segment_of.get(operator.name, ())
        if segment and segment[0] not in self.rebuilt:
            recompute = _Recompute(self.program, self, gate)
            self.rebuilt[segment[0]] = recompute
            held_back = gate if self.software.recompute_waits_for_gradient else ()
            for name in segment:
                recompute.run(self.graph.by_name[name], held_back)
            self.program.rebuilt.append((self.program.stage(operator), recompute.read))


class _Recompute(_Forward):
    """A segment's forward again: what it made before is made anew, the rest was saved."""

    def __init__(
        self, program: Program, backward: _Backward, gradient_rows: tuple[int, ...]
    ) -> None:
        super().__init__(program, "recompute")
        self.backward = backward
        self.gradient_rows = gradient_rows
        self.read: dict[str, Layout] = {}

    def bring(self, tensor: str, target: Layout, reader: Reader) -> tuple[int, ...]:
        if tensor in self.store:
            return super().bring(tensor, target, reader)
        return self.backward.keep(tensor, target, replace(reader, gate=self.gradient_rows))

    def _target(self, operator: Operator, step: Step, use: Use) -> Layout:
        if use.tensor in self.store:
            return super()._target(operator, step, use)
        return self.layout(operator, use)


def _is_gradient(use: Use) -> bool:
    return use.tensor.startswith(GRADIENT)


def _only_gathers(source: Layout, target: Layout, size: TensorSize) -> bool:
    return all(
        getattr(step, "kind", "") == "all-gather" for step in transition(source, target, size)
    )
