"""The backward pass: gradients summed and brought, saved tensors gathered again."""

from __future__ import annotations

from itertools import chain

import numpy as np

from flexsim.cost.profiles import SoftwareProfile
from flexsim.cost.work import Work
from flexsim.errors import ModelError
from flexsim.operator_graph.records import GRADIENT, Operator, Step, Use, gradient
from flexsim.strategy.layout import Layout
from flexsim.strategy.mesh import Mesh
from flexsim.strategy.transition import Collective, TensorSize
from flexsim.task_graph.bring import Reader
from flexsim.task_graph.forward import ForwardPass, Pass
from flexsim.task_graph.gradients import Contribution, sum_partials
from flexsim.task_graph.kinds import TASK_CODE
from flexsim.task_graph.program import Program
from flexsim.task_graph.rows import B, Have, Row, Store, unique

_KIND = {"I": "input-gradient", "W": "weight-gradient"}


class BackwardPass(Pass):
    """The backward pass: gradients summed and brought, saved tensors gathered again."""

    def __init__(self, program: Program, forward: ForwardPass, software: SoftwareProfile) -> None:
        super().__init__(program)
        self.forward = forward
        self.software = software
        self.gradients: Store = {}
        self.contributions: dict[str, list[Contribution]] = {}
        self.kept: dict[tuple[int, Mesh], Store] = {}
        self.rebuilt: dict[str, RecomputePass] = {}
        self.smallest = program.found.smallest
        self.segment_of = {
            name: segment for segment in program.strategy.recompute for name in segment
        }
        self.remade_of = {name: run for run in program.strategy.remade for name in run}

    def run(self, operator: Operator) -> None:
        """Write the rows of an operator's backward, after those of a segment to rebuild."""
        gate = self._gradient_rows(operator)
        self._rebuild(operator, gate)
        reader = self.reader(operator, B, gate)
        for step in operator.backward:
            if step.kernel == "alias":
                self._pass_on(operator, step, reader)
            else:
                self._step(operator, step, reader)
        if not self.software.overlap_input_gradients and not self.program.splits:
            self._hold_back(operator)

    def _hold_back(self, operator: Operator) -> None:
        """Let the collectives of an operator's input gradients follow its weight gradients."""
        weights = [self.program.weight_gradients.get(name, ()) for name in operator.inputs]
        rows = tuple(row for found in weights if found for row in found[-1].rows)
        for name in operator.inputs:
            held = self.contributions.get(gradient(name), [])
            if rows and held and held[-1].layout.partial:
                held[-1] = held[-1]._replace(rows=unique((*held[-1].rows, *rows)))

    def _gradient_rows(self, operator: Operator) -> tuple[int, ...]:
        """Bring every gradient that the operator's backward reads; return its rows."""
        reader = self.reader(operator, B)
        found = [self._gradient(operator, use, reader) for use in operator.upstream]
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
            issue_ns=self.program.pricing.issue_ns([work]),
        )
        written = notebook.write(row)
        self.program.sums[written] = name, total.layout
        return Have(total.layout, (written,), total.stage)

    def _pass_on(self, operator: Operator, step: Step, reader: Reader) -> None:
        """Hand a gradient on under another name; no kernel runs."""
        (m,) = step.maps
        layout = self.layout(operator, m.reads[0])
        self._contribute(m.write.tensor, Contribution(layout, reader.gate, reader.stage))

    def _step(self, operator: Operator, step: Step, reader: Reader) -> None:
        needs: list[int] = []
        fetched: list[int] = []
        for use in step.reads:
            if use.tensor.startswith(GRADIENT):
                layout = self.layout(operator, use)
                sized = (use.tensor, self.program.size(use.tensor))
                needs += self.carrier.bring(self.gradients, sized, layout, reader)
            elif use.tensor in self.fed:
                if self.fetches.is_on:
                    fetched += self.fetches.bring(operator, use, reader)
            else:
                needs += self._saved(operator, use, reader)
        kind = _KIND[step.pass_name]
        waits = unique((*(needs or reader.gate), *fetched))
        row = self.write_row(operator, step, kind, reader, waits)
        for position, layout in self.cuts.of(operator).widest_writes(operator, step):
            tensor = step.maps[position].write.tensor
            if tensor in operator.passed_on:
                self.gradients[tensor] = [Have(layout, (row,), reader.stage)]
            else:
                self._contribute(tensor, Contribution(layout, (row,), reader.stage))

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
            return self.rebuilt[segment[0]].bring(use.tensor, target, reader)
        if self.graph.writer[use.tensor] in self.remade_of:
            return self.make_anew(use.tensor, target, reader)
        if not reader.gate:
            self.program.keep(use.tensor, target, reader.stage)
            return self.forward.bring(use.tensor, target, reader)
        return self.keep(use.tensor, target, reader)

    def keep(self, tensor: str, target: Layout, reader: Reader) -> tuple[int, ...]:
        """Save a tensor where the forward used the fewest bytes and gather it from there."""
        size = self.program.size(tensor)
        store = self.kept.setdefault((reader.stage, target.mesh), {})
        if tensor not in store:
            layout = self._smallest(tensor, target, size)
            self.program.keep(tensor, layout, reader.stage)
            store[tensor] = [Have(layout, (), reader.stage)]
        return self.carrier.bring(store, (tensor, size), target, reader)

    def _smallest(self, tensor: str, target: Layout, size: TensorSize) -> Layout:
        """Return the smallest forward layout from which only all-gathers lead to ``target``."""
        layouts = tuple([have.layout for have in self.forward.store[tensor]])
        key = (layouts, target, size.shape, size.unordered)
        found = self.smallest.get(key)
        if found is None:
            found = self.smallest[key] = self._find_smallest(layouts, target, size)
        return found

    def _find_smallest(
        self, layouts: tuple[Layout, ...], target: Layout, size: TensorSize
    ) -> Layout:
        found = [
            one
            for one in layouts
            if one.mesh == target.mesh and not one.partial and self._gathers(one, target, size)
        ]
        return min([target, *found], key=lambda layout: layout.local_elements(size.shape))

    def _gathers(self, source: Layout, target: Layout, size: TensorSize) -> bool:
        steps = self.program.transitions.steps(source, target, size)
        return all(isinstance(step, Collective) and step.kind == "all-gather" for step in steps)

    def make_anew(self, tensor: str, target: Layout, reader: Reader) -> tuple[int, ...]:
        """Bring what nobody kept: the run that makes it is repeated for its first reader."""
        run = self.remade_of[self.graph.writer[tensor]]
        self._repeat(run, reader.gate)
        return self.rebuilt[run[0]].bring(tensor, target, reader)

    def _rebuild(self, operator: Operator, gate: tuple[int, ...]) -> None:
        """Repeat the forward of a segment before the backward of its last operator."""
        segment = self.segment_of.get(operator.name, ())
        if segment:
            self._repeat(segment, gate)

    def _repeat(self, run: tuple[str, ...], gate: tuple[int, ...]) -> None:
        if run[0] not in self.rebuilt:
            recompute = RecomputePass(self.program, self, gate)
            self.rebuilt[run[0]] = recompute
            held_back = gate if self.software.recompute_waits_for_gradient else ()
            for name in run:
                recompute.run(self.graph.by_name[name], held_back)


class RecomputePass(ForwardPass):
    """A segment's forward again: what it made before is made anew, the rest was saved."""

    def __init__(
        self, program: Program, backward: BackwardPass, gradient_rows: tuple[int, ...]
    ) -> None:
        super().__init__(program, "recompute")
        self.backward = backward
        self.gradient_rows = gradient_rows

    def bring(self, tensor: str, target: Layout, reader: Reader) -> tuple[int, ...]:
        """Bring what the segment made anew, or what was saved at its entry."""
        if tensor in self.store:
            return super().bring(tensor, target, reader)
        gated = reader._replace(gate=self.gradient_rows)
        if self.graph.writer[tensor] in self.backward.remade_of:
            return self.backward.make_anew(tensor, target, gated)
        return self.backward.keep(tensor, target, gated)

    def _target(self, operator: Operator, step: Step, use: Use) -> Layout:
        if use.tensor in self.store:
            return super()._target(operator, step, use)
        return self.layout(operator, use)
