"""When tensors come and go inside a pass, read off the rows and what their operators touch.

What a kernel writes is there until the last kernel or message that needs it; what a forward saves
for the backward stays, and goes when the last kernel of the backward that reads it has run. All of
it follows from the operators' own records.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from flexsim.operator_graph.records import GRADIENT, Operator, Step, gradient
from flexsim.strategy.layout import Layout
from flexsim.strategy.mesh import Mesh
from flexsim.task_graph.columns import DYNAMIC_PARTS, Int64
from flexsim.task_graph.kinds import COLLECTIVE_CODE, TASK_CODE
from flexsim.task_graph.memory_curves import SLOTS, changes_at
from flexsim.task_graph.moments import Moments, Pass
from flexsim.task_graph.narrow import is_weight_product
from flexsim.task_graph.program import Program
from flexsim.task_graph.rings import at_hand, ring_sizes
from flexsim.task_graph.rows import INPUT, WEIGHT, B, F, Row
from flexsim.task_graph.slice_gradients import held_gradients

ACTIVATIONS, RECOMPUTE, GATHERED, TEMPORARY, BUFFERS = range(len(DYNAMIC_PARTS))
_RECOMPUTED = TASK_CODE["recompute"]
_PARAMETER = TASK_CODE["parameter"]
_OFFLOAD = TASK_CODE["offload"]
_WITHOUT_BUFFER = frozenset(TASK_CODE[kind] for kind in ("gradient", "offload", "reload"))
_IN_PLACE = COLLECTIVE_CODE["all-reduce"]
_SCATTERS = COLLECTIVE_CODE["reduce-scatter"]


def changes_of(program: Program, passes: Sequence[int]) -> dict[Pass, dict[Mesh, Int64]]:
    """Return the changes of every pass on every mesh: a row a moment, a column a part.

    ``passes`` are the kinds of passes that there are: whole backwards (B) or halves (I and W).
    """
    found: dict[Pass, dict[Mesh, Int64]] = {}
    for kinds in _ways(passes):
        for key, by_mesh in _Lives(program, cut=INPUT in kinds).run().items():
            if key[1] in kinds:
                found[key] = by_mesh
    return found


def _ways(passes: Sequence[int]) -> list[tuple[int, ...]]:
    whole = [(F, B)] if B in passes else []
    return [*whole, *([(F, INPUT, WEIGHT)] if INPUT in passes else [])] or [(F, B)]


@dataclass
class _Lives(Moments):
    """Follows every tensor through the rows of one microbatch."""

    changes: dict[Pass, list[tuple[int, int, int, Mesh]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _names_of: dict[int, frozenset[str]] = field(default_factory=dict)

    def run(self) -> dict[Pass, dict[Mesh, Int64]]:
        self._follow_rows()
        self._follow_saved()
        self._follow_slices()
        return {key: self._matrix(key) for key in self.num_kernels}

    def _follow_slices(self) -> None:
        """Let gradients of keys stay until the slices that made these keys use them."""
        for row, num_bytes, mesh in held_gradients(self.program):
            if num_bytes > 0:
                self._add(row, TEMPORARY, num_bytes, mesh)
            else:
                self._free(row, TEMPORARY, -num_bytes, mesh)

    def _follow_rows(self) -> None:
        readers: dict[int, list[int]] = defaultdict(list)
        for index, row in enumerate(self.rows):
            if row.action in (F, B):
                for need in row.needs:
                    readers[need].append(index)
        for index, row in enumerate(self.rows):
            if row.action not in (F, B):
                continue
            if row.is_compute:
                self._kernel(index, row, readers)
            else:
                self._message(index, row, readers)

    def _kernel(self, index: int, row: Row, readers: dict[int, list[int]]) -> None:
        """Let what a kernel writes live until it is needed no more."""
        for tensor, layout in self._writes(index):
            num_bytes = self._at_hand(self.size(tensor, layout), layout, readers.get(index, ()))
            saved = self._saved_bytes(row, tensor, layout.mesh)
            if saved:
                self._add(index, ACTIVATIONS, saved, layout.mesh)
            if saved != num_bytes:
                part = RECOMPUTE if row.kind == _RECOMPUTED else TEMPORARY
                until = self._until(index, tensor, readers)
                self._live((index, until), part, num_bytes, layout.mesh)
                if self.program.narrow_gradients:
                    mine = [r for r in readers.get(index, ()) if self._reads(r, index, tensor)]
                    self._narrow((index, until), mine, (part, num_bytes, layout.mesh))

    def _at_hand(self, num_bytes: int, layout: Layout, readers: Sequence[int]) -> int:
        """Return what there is of partial sums at a time: of those that go round, some blocks."""
        if not self._ring_sizes:
            return num_bytes
        ways = [self._ring_sizes[reader] for reader in readers if reader in self._ring_sizes]
        return at_hand(num_bytes, ways[0]) if ways and layout.partial else num_bytes

    @cached_property
    def _ring_sizes(self) -> dict[int, int]:
        return ring_sizes(self.program)

    def _writes(self, index: int) -> list[tuple[str, Layout]]:
        if index in self.program.sums:
            return [self.program.sums[index]]
        if index not in self.program.touched:
            return []
        operator, step = self.program.touched[index]
        cut = self.program.cuts.of(operator)
        writes = cut.writes if step.pass_name == "F" else cut.widest_writes
        found = [(step.maps[at].write.tensor, layout) for at, layout in writes(operator, step)]
        return [pair for pair in found if pair[0] not in self._added_at_once]

    @cached_property
    def _added_at_once(self) -> frozenset[str]:
        """Tensors without memory of their own: gradients of weights that are added to sums."""
        if self.program.strategy.sharding.gradients:
            return frozenset()
        weights = self.program.graph.weights
        return frozenset((*weights, *map(gradient, weights)))

    def _saved_bytes(self, row: Row, tensor: str, mesh: Mesh) -> int:
        if row.action != F:
            return 0
        layout = self.program.saved.get((row.stage, mesh), {}).get(tensor)
        return self.program.kept_bytes(tensor, layout) if layout is not None else 0

    def _until(self, index: int, tensor: str, readers: dict[int, list[int]]) -> int:
        """Return the last row on this stage that needs what row ``index`` wrote."""
        last, here = index, self.rows[index]
        for reader in readers.get(index, ()):
            row = self.rows[reader]
            if row.stage != here.stage or row.action != here.action:
                continue
            if row.is_compute and not self._reads(reader, index, tensor):
                continue
            in_place = row.collective == _IN_PLACE and not row.is_compute
            last = max(last, self._until(reader, tensor, readers) if in_place else reader)
        return last

    def _reads(self, index: int, writer: int, tensor: str) -> bool:
        """Whether a kernel that waits for row ``writer`` reads this of what that wrote.

        Gradients may be handed on under another name: then it reads them all.
        """
        reader = self.program.touched.get(index)
        if reader is None:
            return True
        names = self._names(reader[1])
        if not tensor.startswith(GRADIENT) or writer not in self.program.touched:
            return tensor in names or tensor.startswith(GRADIENT)
        step = self.program.touched[writer][1]
        known = any(use.tensor in names for use in step.writes)
        return tensor in names or not known

    def _names(self, step: Step) -> frozenset[str]:
        found = self._names_of.get(id(step))
        if found is None:
            found = self._names_of[id(step)] = frozenset([use.tensor for use in step.reads])
        return found

    def _message(self, index: int, row: Row, readers: dict[int, list[int]]) -> None:
        """Let what a message brings live until the last kernel that reads it."""
        if row.collective == _IN_PLACE or row.kind in _WITHOUT_BUFFER:
            return
        if row.kind == _PARAMETER and not self.program.strategy.sharding.reshard:
            return
        if row.places.targets is not None and row.kind == TASK_CODE["pipeline"]:
            self._received(index, row, readers)
            return
        num_bytes = int(row.num_bytes.max(initial=0))
        if index in self._ring_sizes and row.collective != _SCATTERS:
            num_bytes = at_hand(num_bytes, self._ring_sizes[index])
        if row.collective == _SCATTERS:
            num_bytes //= row.places.groups.shape[1]
        if index not in self._ring_sizes and self._is_saved(index, row, num_bytes):
            return
        here = [
            reader
            for reader in readers.get(index, ())
            if (self.rows[reader].stage, self.rows[reader].action) == (row.stage, row.action)
        ]
        until = max([index, *here], key=self.moment)
        part = GATHERED if row.kind == _PARAMETER else BUFFERS
        self._live((index, until), part, num_bytes, self._mesh(row))
        if self.program.narrow_gradients:
            mine = [r for r in here if self.rows[r].kind != _RECOMPUTED]
            self._narrow((index, until), mine, (part, num_bytes, self._mesh(row)))

    def _narrow(
        self, span: tuple[int, int], readers: list[int], what: tuple[int, int, Mesh]
    ) -> None:
        """Let half of a gradient go early if later only products in fp8 read it."""
        index, until = span
        late = self.pass_of(until)
        if self.pass_of(index) == late:
            return
        if not all(self._is_product(r) for r in readers if self.pass_of(r) == late):
            return
        part, num_bytes, mesh = what
        early = [index, *(r for r in readers if self.pass_of(r) == self.pass_of(index))]
        self._free(max(early, key=self.moment), part, num_bytes // 2, mesh)
        self._free(until, part, -(num_bytes // 2), mesh)

    def _is_product(self, index: int) -> bool:
        return index in self.program.touched and is_weight_product(self.program.touched[index][1])

    def _received(self, index: int, row: Row, readers: dict[int, list[int]]) -> None:
        """Let what comes from another stage live from the beginning, unless it is saved."""
        if row.action == F and self.program.saved:
            return
        by_stage: dict[int, list[int]] = defaultdict(list)
        for reader in readers.get(index, ()):
            if self.rows[reader].action == row.action and self.rows[reader].stage != row.stage:
                by_stage[self.rows[reader].stage].append(reader)
        for found in by_stage.values():
            until = max(found, key=self.moment)
            num_bytes = int(row.num_bytes.max(initial=0))
            key = self.place(until)[0]
            mesh = self._mesh(row)
            self.changes[key].append((0, BUFFERS, num_bytes, mesh))
            self._free(until, BUFFERS, num_bytes, mesh)

    def _is_saved(self, index: int, row: Row, num_bytes: int) -> bool:
        """Whether what a forward's message brings is what the stage saves, counted already."""
        if row.action != F:
            return False
        saved = self.program.saved.get((row.stage, self._mesh(row)), {})
        operator = self.program.graph.operators[row.operator]
        reads = (use.tensor for step in operator.forward for use in step.reads)
        return any(t in saved and self.program.kept_bytes(t, saved[t]) == num_bytes for t in reads)

    def _mesh(self, row: Row) -> Mesh:
        operators = self.program.graph.operators
        if row.operator < 0:
            row = self.rows[row.needs[0]]
        return self.program.cuts.of(operators[row.operator]).config.mesh

    def _add(self, index: int, part: int, num_bytes: int, mesh: Mesh) -> None:
        key, moment = self.place(index)
        self.changes[key].append((max(moment - 1, 0), part, num_bytes, mesh))

    def _free(self, index: int, part: int, num_bytes: int, mesh: Mesh) -> None:
        key, moment = self.place(index)
        self.changes[key].append((moment, part, -num_bytes, mesh))

    def _live(self, span: tuple[int, int], part: int, num_bytes: int, mesh: Mesh) -> None:
        self._add(span[0], part, num_bytes, mesh)
        self._free(span[1], part, num_bytes, mesh)

    def _follow_saved(self) -> None:
        """Take what other stages wrote with the first kernel, and free all after the last read."""
        last = self._last_reads()
        stage_of = {t: self.program.stage(op) for t, op in self._writers.items()}
        for (stage, mesh), layouts in self.program.saved.items():
            for tensor, layout in layouts.items():
                num_bytes = self.program.kept_bytes(tensor, layout)
                away = self.program.offload.rows_of(stage, tensor, mesh)
                if away is not None:
                    self._leave(away, num_bytes, mesh)
                here = tensor in self._writers and stage_of[tensor] == stage
                if not here or self._writes_on(tensor) != mesh:
                    self.changes[stage, F].append((0, ACTIVATIONS, num_bytes, mesh))
                reader = last.get((stage, tensor))
                if reader is None:
                    self.changes[self._last_pass(stage)].append((-1, ACTIVATIONS, -num_bytes, mesh))
                else:
                    self._free(reader, ACTIVATIONS, num_bytes, mesh)

    def _leave(self, away: tuple[int, int], num_bytes: int, mesh: Mesh) -> None:
        """Let what goes to the host be gone when a kernel waits for that, and come back."""
        out, back = away
        key, kernel = self._waits_for_offload.get(out, (self.pass_of(out), None))
        moment = -1 if kernel is None else SLOTS * kernel
        self.changes[key].append((moment, ACTIVATIONS, -num_bytes, mesh))
        self._add(back, ACTIVATIONS, num_bytes, mesh)

    @cached_property
    def _waits_for_offload(self) -> dict[int, tuple[Pass, int | None]]:
        """The first kernel that waits until what a row takes to the host is gone."""
        found: dict[int, tuple[Pass, int | None]] = {}
        for index, place in self.kernel_of.items():
            for need in self.rows[index].needs:
                if self.rows[need].kind == _OFFLOAD:
                    found.setdefault(need, place)
        return found

    def _last_pass(self, stage: int) -> Pass:
        return stage, WEIGHT if self.cut else B

    @cached_property
    def _writers(self) -> dict[str, Operator]:
        graph = self.program.graph
        return {tensor: graph.by_name[name] for tensor, name in graph.writer.items()}

    def _writes_on(self, tensor: str) -> Mesh:
        return self.program.cuts.of(self._writers[tensor]).config.mesh

    def _last_reads(self) -> dict[tuple[int, str], int]:
        """Return the last row of each stage's backward that reads a saved tensor."""
        segment_of = {n: s for s in self.program.strategy.recompute for n in s}
        writer = self.program.graph.writer
        found: dict[tuple[int, str], tuple[tuple[int, int], int]] = {}
        for index, (operator, step) in self.program.touched.items():
            row = self.rows[index]
            if row.action != B:
                continue
            segment, moment = segment_of.get(operator.name, ()), self.moment(index)
            for tensor in self._names(step):
                if not (segment and writer.get(tensor) in segment):
                    key = row.stage, tensor
                    before = found.get(key)
                    if before is None or before[0] < moment:
                        found[key] = moment, index
        return {key: index for key, (_, index) in found.items()}

    def size(self, tensor: str, layout: Layout) -> int:
        """Return the bytes of a tensor's largest part."""
        return self.program.size(tensor).local_bytes(layout)

    def _matrix(self, key: Pass) -> dict[Mesh, Int64]:
        events: dict[Mesh, list[tuple[int, int, int]]] = defaultdict(list)
        for moment, part, num_bytes, mesh in self.changes[key]:
            events[mesh].append((moment, part, num_bytes))
        length = max(SLOTS * self.num_kernels[key], 1)
        return {mesh: changes_at(some, length) for mesh, some in events.items()}
