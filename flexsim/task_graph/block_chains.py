"""What the reads of one tensor bring under given layouts: written by the passes themselves.

Rows are written with needs in two kinds of numbers: n >= 0 is the chain's own n-th row, and
-(i + 1) stands for all rows of its input i.
"""

from __future__ import annotations

from dataclasses import dataclass

from flexsim.cost.profiles import SoftwareProfile
from flexsim.strategy.layout import Layout
from flexsim.strategy.mesh import Mesh
from flexsim.task_graph.backward import BackwardPass
from flexsim.task_graph.block_outline import (
    ACTIVATION,
    AGAIN,
    FORWARD,
    LOSS,
    SUM,
    UPSTREAM,
    Chain,
    Read,
    Write,
)
from flexsim.task_graph.forward import ForwardPass
from flexsim.task_graph.gradients import Contribution
from flexsim.task_graph.program import Program
from flexsim.task_graph.rows import B, F, Have, Row

Partial = tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class Brought:
    """What a chain brings: for every read its rows, the rows to wait for, what stays partial.

    ``kept`` has the bytes of what is saved for the backward, by mesh.
    """

    rows: tuple[tuple[Row, ...], ...]
    results: tuple[tuple[int, ...], ...]
    partial: tuple[Partial, ...]
    kept: tuple[tuple[Mesh, int], ...]


class Weaver:
    """Runs the passes on one chain at a time."""

    def __init__(self, program: Program, software: SoftwareProfile) -> None:
        """Take a program whose configs may change between two chains."""
        self._program = program
        self._software = software

    def layouts(self, chain: Chain, partial: dict[int, Partial]) -> tuple[Layout, ...]:
        """Return the layouts of a chain's writes and reads.

        ``partial`` has what reads leave partial, by slot.
        """
        cuts = self._program.cuts
        found: list[Layout] = []
        for item in chain.items:
            cut = cuts.of(item.operator)
            if isinstance(item, Read):
                found.append(cut.read(item.operator, item.use))
            elif chain.what == ACTIVATION:
                found.append(self._left(item, partial))
            elif item.step.kernel == "alias":
                found.append(cut.read(item.operator, item.step.maps[0].reads[0]))
            else:
                found.append(dict(cut.widest_writes(item.operator, item.step))[item.position])
        return tuple(found)

    def _left(self, write: Write, partial: dict[int, Partial]) -> Layout:
        layout = dict(self._program.cuts.of(write.operator).writes(write.operator, write.step))[
            write.position
        ]
        more = [pair for slot in write.lenient for pair in partial.get(slot, ())]
        return layout.with_partial((*layout.partial, *more)) if more else layout

    def bring(self, chain: Chain, layouts: tuple[Layout, ...]) -> Brought:
        """Return what a chain brings between these layouts."""
        program = self._program
        program.notebook.rows.clear()
        program.saved.clear()
        program.needs.forget(chain.tensor)
        passes = _Passes(program, self._software, chain)
        for item, layout in zip(chain.items, layouts, strict=True):
            if isinstance(item, Write):
                passes.write(item, layout)
            else:
                passes.read(item)
        size = program.size(chain.tensor)
        kept = [
            (mesh, size.local_bytes(layout))
            for (_, mesh), saved in program.saved.items()
            for layout in saved.values()
        ]
        return Brought(tuple(passes.rows), tuple(passes.results), tuple(passes.partial), (*kept,))


class _Passes:
    """The two passes as they stand when a chain begins, and what its reads bring."""

    def __init__(self, program: Program, software: SoftwareProfile, chain: Chain) -> None:
        self.chain = chain
        self.notebook = program.notebook
        self.forward = _Forward(program)
        self.backward = _Backward(program, self.forward, software)
        self.rows: list[tuple[Row, ...]] = []
        self.results: list[tuple[int, ...]] = []
        self.partial: list[Partial] = []

    def write(self, item: Write, layout: Layout) -> None:
        """Put a tensor, or a contribution to a sum, into its store."""
        tensor, rows = self.chain.tensor, (-(item.input + 1),)
        if self.chain.what == SUM:
            held = tuple(-(i + 1) for i in item.held) if layout.partial else ()
            found = self.backward.contributions.setdefault(tensor, [])
            found.append(Contribution(layout, rows + held, 0))
            return
        have = Have(layout, rows, 0)
        if self.chain.what == ACTIVATION:
            self.forward.store.setdefault(tensor, []).append(have)
        else:
            self.backward.gradients[tensor] = [have]

    def read(self, item: Read) -> None:
        """Bring what a read asks for."""
        before = len(self.notebook.rows)
        if item.how == FORWARD:
            rows, partial = self.forward.read(item)
        else:
            rows, partial = self.backward.read(item), ()
        self.rows.append(tuple(self.notebook.rows[before:]))
        self.results.append(rows)
        self.partial.append(partial)


class _Forward(ForwardPass):
    def read(self, item: Read) -> tuple[tuple[int, ...], Partial]:
        assert item.step is not None
        target = self._target(item.operator, item.step, item.use)
        reader = self.reader(item.operator, F)
        return self.bring(item.use.tensor, target, reader), target.partial


class _Backward(BackwardPass):
    def read(self, item: Read) -> tuple[int, ...]:
        gate = (-(item.gate + 1),) if item.gate >= 0 else ()
        reader = self.reader(item.operator, B, gate)
        if item.how == UPSTREAM:
            return self._gradient(item.operator, item.use, reader)
        if item.how == AGAIN:
            name = item.use.tensor
            sized = (name, self.program.size(name))
            target = self.layout(item.operator, item.use)
            return self.carrier.bring(self.gradients, sized, target, reader)
        assert item.how == LOSS or gate
        return self._saved(item.operator, item.use, reader)
