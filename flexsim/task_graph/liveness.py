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

import numpy as np

from flexsim.operator_graph.records import GRADIENT, Operator, Step
from flexsim.strategy.layout import Layout
from flexsim.strategy.mesh import Mesh
from flexsim.task_graph.columns import DYNAMIC_PARTS, Int64
from flexsim.task_graph.kinds import COLLECTIVE_CODE, TASK_CODE
from flexsim.task_graph.memory_curves import NUM_PARTS, SLOTS
from flexsim.task_graph.program import Program
from flexsim.task_graph.rows import INPUT, WEIGHT, B, F, Row
from flexsim.task_graph.split import early_rows

ACTIVATIONS, RECOMPUTE, GATHERED, TEMPORARY, BUFFERS = range(len(DYNAMIC_PARTS))
Pass = tuple[int, int]
"""Stage and kind of pass."""

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
class _Lives:
    """Follows every tensor through the rows of one microbatch."""

    program: Program
    cut: bool
    last: dict[int, int] = field(default_factory=dict)
    """The last row of its pass, or of the backward's other half, that needs a row."""
    changes: dict[Pass, list[tuple[int, int, int, Mesh]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _sizes: dict[tuple[int, int], int] = field(default_factory=dict)
    _names_of: dict[int, frozenset[str]] = field(default_factory=dict)

    def run(self) -> dict[Pass, dict[Mesh, Int64]]:
        self._follow_rows()
        self._follow_saved()
        return {key: self._matrix(key) for key in self.num_kernels}

    @cached_property
    def rows(self) -> Sequence[Row]:
        return self.program.notebook.rows

    @cached_property
    def early(self) -> frozenset[int]:
        return early_rows(self.rows) if self.cut else frozenset()

    def pass_of(self, index: int) -> Pass:
        """Return stage and kind of the pass that a row belongs to."""
        row = self.rows[index]
        if row.action != B or not self.cut:
            return row.stage, row.action
        return row.stage, INPUT if index in self.early else WEIGHT

    @cached_property
    def num_kernels(self) -> dict[Pass, int]:
        counts: dict[Pass, int] = {}
        kinds = (F, INPUT, WEIGHT) if self.cut else (F, B)
        for stage in range(self.program.strategy.num_stages):
            counts |= {(stage, kind): 0 for kind in kinds}
        for key in self.kernel_of.values():
            counts[key[0]] = max(counts[key[0]], key[1] + 1)
        return counts

    @cached_property
    def kernel_of(self) -> dict[int, tuple[Pass, int]]:
        """The pass of every compute row, and its position among the pass's kernels."""
        counts: dict[Pass, int] = {}
        found = {}
        for index, row in enumerate(self.rows):
            if row.is_compute and row.action in (F, B):
                key = self.pass_of(index)
                found[index] = key, counts.get(key, 0)
                counts[key] = counts.get(key, 0) + 1
        return found

    @cached_property
    def after(self) -> dict[int, int]:
        """For every message the kernel of its pass that it follows; -1 for none."""
        found: dict[int, int] = {}
        for index, row in enumerate(self.rows):
            if row.is_compute or row.action not in (F, B):
                continue
            here = self.pass_of(index)
            before = [-1]
            for need in row.needs:
                if need in found and self.pass_of(need) == here:
                    before.append(found[need])
                elif need in self.kernel_of and self.kernel_of[need][0] == here:
                    before.append(self.kernel_of[need][1])
            found[index] = max(before)
        return found

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
            num_bytes = self.size(tensor, layout)
            saved = self._saved_bytes(row, tensor, layout.mesh)
            if saved:
                self._add(index, ACTIVATIONS, saved, layout.mesh)
            if saved != num_bytes:
                part = RECOMPUTE if row.kind == _RECOMPUTED else TEMPORARY
                until = self._until(index, tensor, readers)
                self._live((index, until), part, num_bytes, layout.mesh)

    def _writes(self, index: int) -> list[tuple[str, Layout]]:
        if index in self.program.sums:
            return [self.program.sums[index]]
        if index not in self.program.touched:
            return []
        operator, step = self.program.touched[index]
        cut = self.program.cuts.of(operator)
        writes = cut.writes if step.pass_name == "F" else cut.widest_writes
        found = [(step.maps[at].write.tensor, layout) for at, layout in writes(operator, step)]
        return [pair for pair in found if self._counts(pair[0])]

    def _counts(self, tensor: str) -> bool:
        """Whether a tensor has memory of its own; a weight's gradient is added to its sum."""
        is_weight = tensor.removeprefix(GRADIENT) in self.program.graph.weights
        return not is_weight or self.program.strategy.sharding.gradients

    def _saved_bytes(self, row: Row, tensor: str, mesh: Mesh) -> int:
        if row.action != F:
            return 0
        layout = self.program.saved.get((row.stage, mesh), {}).get(tensor)
        return self.size(tensor, layout) if layout is not None else 0

    def _until(self, index: int, tensor: str, readers: dict[int, list[int]]) -> int:
        """Return the last row on this stage that needs what row ``index`` wrote."""
        last = index
        for reader in readers.get(index, ()):
            row = self.rows[reader]
            if row.stage != self.rows[index].stage or row.action != self.rows[index].action:
                continue
            if row.is_compute and not self._reads(reader, tensor):
                continue
            in_place = row.collective == _IN_PLACE and not row.is_compute
            last = max(last, self._until(reader, tensor, readers) if in_place else reader)
        return last

    def _reads(self, index: int, tensor: str) -> bool:
        """Whether a kernel reads a tensor; gradients may be handed on under another name."""
        if tensor.startswith(GRADIENT) or index not in self.program.touched:
            return True
        return tensor in self._names(self.program.touched[index][1])

    def _names(self, step: Step) -> frozenset[str]:
        if id(step) not in self._names_of:
            self._names_of[id(step)] = frozenset(use.tensor for use in step.reads)
        return self._names_of[id(step)]

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
        if row.collective == _SCATTERS:
            num_bytes //= row.places.groups.shape[1]
        if self._is_saved(index, row, num_bytes):
            return
        here = [
            reader
            for reader in readers.get(index, ())
            if (self.rows[reader].stage, self.rows[reader].action) == (row.stage, row.action)
        ]
        until = max([index, *here], key=self._moment)
        part = GATHERED if row.kind == _PARAMETER else BUFFERS
        self._live((index, until), part, num_bytes, self._mesh(row))

    def _received(self, index: int, row: Row, readers: dict[int, list[int]]) -> None:
        """Let a gradient from the next stage live from the beginning; activations are saved."""
        if row.action != B:
            return
        by_stage: dict[int, list[int]] = defaultdict(list)
        for reader in readers.get(index, ()):
            if self.rows[reader].action == B and self.rows[reader].stage != row.stage:
                by_stage[self.rows[reader].stage].append(reader)
        for found in by_stage.values():
            until = max(found, key=self._moment)
            num_bytes = int(row.num_bytes.max(initial=0))
            key = self._place(until)[0]
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
        return any(t in saved and self.size(t, saved[t]) == num_bytes for t in reads)

    def _mesh(self, row: Row) -> Mesh:
        operators = self.program.graph.operators
        if row.operator < 0:
            row = self.rows[row.needs[0]]
        return self.program.cuts.of(operators[row.operator]).config.mesh

    def _moment(self, index: int) -> tuple[int, int]:
        key, slot = self._place(index)
        return key[1], slot

    def _place(self, index: int) -> tuple[Pass, int]:
        """Return the pass of a row and the moment after which what it read may go."""
        if index in self.kernel_of:
            key, kernel = self.kernel_of[index]
            return key, SLOTS * kernel + 1
        return self.pass_of(index), max(SLOTS * self.after[index] + 2, 0)

    def _add(self, index: int, part: int, num_bytes: int, mesh: Mesh) -> None:
        key, moment = self._place(index)
        self.changes[key].append((max(moment - 1, 0), part, num_bytes, mesh))

    def _free(self, index: int, part: int, num_bytes: int, mesh: Mesh) -> None:
        key, moment = self._place(index)
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
                num_bytes = self.size(tensor, layout)
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
        found: dict[tuple[int, str], int] = {}
        for index, (operator, step) in self.program.touched.items():
            row = self.rows[index]
            if row.action != B:
                continue
            segment = segment_of.get(operator.name, ())
            for tensor in self._names(step):
                if not (segment and writer.get(tensor) in segment):
                    key = row.stage, tensor
                    before = found.get(key)
                    if before is None or self._moment(before) < self._moment(index):
                        found[key] = index
        return found

    def size(self, tensor: str, layout: Layout) -> int:
        """Return the bytes of a tensor's largest part."""
        size = self.program.size(tensor)
        key = id(size), id(layout)
        if key not in self._sizes:
            self._sizes[key] = size.local_bytes(layout)
        return self._sizes[key]

    def _matrix(self, key: Pass) -> dict[Mesh, Int64]:
        found: dict[Mesh, Int64] = {}
        length = SLOTS * self.num_kernels[key]
        events: dict[Mesh, list[tuple[int, int, int]]] = defaultdict(list)
        for moment, part, num_bytes, mesh in self.changes[key]:
            events[mesh].append((moment, part, num_bytes))
        for mesh, some in events.items():
            moment, part, num_bytes = np.array(some, np.int64).T
            changes = np.zeros((max(length, 1), NUM_PARTS), np.int64)
            np.add.at(changes, (np.where(moment < 0, len(changes) - 1, moment), part), num_bytes)
            found[mesh] = changes
        return found
