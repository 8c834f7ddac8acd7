"""The forward pass, and its repetition in the backward.

Every read brings its tensor into the layout that the config asks for, every step becomes a row;
nothing here knows a scheme.
"""

from __future__ import annotations

from flexsim.operator_graph.records import Operator, Step, Use
from flexsim.strategy.layout import Layout, read_layout, write_layout
from flexsim.strategy.transition import TensorSize, transition
from flexsim.task_graph.bring import Carrier, Reader
from flexsim.task_graph.kinds import TASK_CODE
from flexsim.task_graph.program import Program
from flexsim.task_graph.rows import B, F, Have, Row, Store, unique


class Pass:
    """What forward, recomputation and backward have in common."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.graph = program.graph
        self.carrier = Carrier(program.notebook, program.pricing, program.strategy.scatter_gather)

    def reader(self, operator: Operator, action: int, gate: tuple[int, ...] = ()) -> Reader:
        """Return who reads: the operator in one of its actions, held back by ``gate``."""
        return Reader(self.program.index[operator.name], self.program.stage(operator), action, gate)

    def layout(self, operator: Operator, use: Use) -> Layout:
        """Return the layout in which an operator reads ``use``."""
        return read_layout(operator, self.program.strategy.configs[operator.name], use)

    def write_row(
        self, operator: Operator, step: Step, kind: str, reader: Reader, needs: tuple[int, ...]
    ) -> int:
        """Write the row of one step and return its number."""
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
