"""The forward pass, and its repetition in the backward.

Every read brings its tensor into the layout that the config asks for, every step becomes a row;
nothing here knows a scheme.
"""

from __future__ import annotations

from flexsim.operator_graph.records import Operator, Step, Use
from flexsim.strategy.layout import Layout
from flexsim.task_graph.bring import Reader
from flexsim.task_graph.kinds import TASK_CODE
from flexsim.task_graph.program import Program
from flexsim.task_graph.rows import B, F, Have, Row, Store, unique


class Pass:
    """What forward, recomputation and backward have in common."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.graph = program.graph
        self.carrier = program.carrier
        self.cuts = program.cuts
        self.fed = program.fed
        self.fetches = program.fetches
        self.offload = program.offload

    def reader(self, operator: Operator, action: int, gate: tuple[int, ...] = ()) -> Reader:
        """Return who reads: the operator in one of its actions, held back by ``gate``."""
        return Reader(self.program.index[operator.name], self.program.stage(operator), action, gate)

    def layout(self, operator: Operator, use: Use) -> Layout:
        """Return the layout in which an operator reads ``use``."""
        return self.cuts.of(operator).read(operator, use)

    def write_row(
        self, operator: Operator, step: Step, kind: str, reader: Reader, needs: tuple[int, ...]
    ) -> int:
        """Write the row of one step, which waits for ``needs`` once each; return its number."""
        cut, notebook = self.cuts.of(operator), self.program.notebook
        priced = self.program.pricing.compute(operator, cut.config, step)
        notebook.flops += priced.flops
        if self.offload.is_on:
            needs = unique((*needs, *self.offload.needs(operator, reader)))
        written = notebook.write(
            Row(
                reader.stage,
                reader.action,
                TASK_CODE[kind],
                reader.operator,
                notebook.on_mesh(cut.config.mesh),
                priced.duration_ns,
                priced.num_bytes,
                needs,
                True,
                issue_ns=priced.issue_ns,
            )
        )
        self.program.touched[written] = operator, step
        if self.fetches.is_on:
            self.fetches.wrote(operator, reader, written)
        if self.offload.is_on:
            self.offload.wrote(operator, reader, written)
        return written


class ForwardPass(Pass):
    """The forward pass; with ``kind`` recompute, the repetition of a segment of it."""

    def __init__(self, program: Program, kind: str = "forward") -> None:
        super().__init__(program)
        self.kind = kind
        self.action = F if kind == "forward" else B
        self.store: Store = {}

    def run(self, operator: Operator, gate: tuple[int, ...] = ()) -> None:
        """Write the rows of an operator; what waits for nothing else waits for ``gate``."""
        reader = self.reader(operator, self.action, gate)
        for step in operator.forward:
            self._step(operator, step, reader)

    def _step(self, operator: Operator, step: Step, reader: Reader) -> None:
        needs: list[int] = []
        fetched: list[int] = []
        partial: set[tuple[str, str]] = set()
        for use in step.reads:
            if use.tensor in self.fed:
                if self.fetches.is_on:
                    fetched += self.fetches.bring(operator, use, reader)
                continue
            target = self._target(operator, step, use)
            needs += self.bring(use.tensor, target, reader)
            partial.update(target.partial)
        waits = unique((*(needs or reader.gate), *fetched))
        row = self.write_row(operator, step, self.kind, reader, waits)
        for position, layout in self.cuts.of(operator).writes(operator, step):
            left = layout.with_partial((*layout.partial, *partial)) if partial else layout
            have = Have(left, (row,), reader.stage)
            self.store.setdefault(step.maps[position].write.tensor, []).append(have)

    def _target(self, operator: Operator, step: Step, use: Use) -> Layout:
        """Return what a read needs; a linear step takes partial sums as they are."""
        target = self.layout(operator, use)
        if not step.accepts_partial:
            return target
        free = set(target.replicated_axes)
        for have in self.store[use.tensor]:
            partial = have.layout.partial_axes
            if partial and free.issuperset(partial) and have.layout.whole() == target:
                return have.layout
        return target

    def bring(self, tensor: str, target: Layout, reader: Reader) -> tuple[int, ...]:
        """Bring a tensor, by way of the most replicated layout that readers of it need."""
        size = self.program.size(tensor)
        wide = self.program.needs.widest(tensor, target, size)
        if wide is not target and wide != target:
            self.carrier.bring(self.store, (tensor, size), wide, reader)
        return self.carrier.bring(self.store, (tensor, size), target, reader)
