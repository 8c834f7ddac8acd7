"""The update of a program in blocks: buckets, what follows them, and the optimizer's step."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from flexsim.cost.profiles import SoftwareProfile
from flexsim.cost.work import Work
from flexsim.ragged import offsets_of
from flexsim.strategy.mesh import Mesh
from flexsim.task_graph.block_bucket_kernel import Buckets, Lines, fill_buckets
from flexsim.task_graph.block_outline import Outline
from flexsim.task_graph.block_pool import Pool, Stint
from flexsim.task_graph.block_weights import GRADIENT_KIND, Found, Weights
from flexsim.task_graph.columns import Int32, Int64
from flexsim.task_graph.kinds import TASK_CODE
from flexsim.task_graph.parts import WeightPart, bucket_bytes, gradient_bytes
from flexsim.task_graph.program import Program
from flexsim.task_graph.shared_update import shared_buckets
from flexsim.task_graph.update import NORM_BYTES

_NO_LINE = 2**62
_WEIGHT_BITS = 20


class UpdateRows(NamedTuple):
    """Contents and needs of the update's rows; needs from the number of slots on are its own."""

    content: Int32
    offsets: Int64
    needs: Int32


class Update:
    """The update of the current configs; lines of all weights lie in regions of equal size."""

    def __init__(
        self, program: Program, outline: Outline, software: SoftwareProfile, pool: Pool
    ) -> None:
        """Begin without any weights' parts."""
        self._program = program
        self._software = software
        self._pool = pool
        self._num_slots = outline.num_slots
        self._names = list(outline.weights)
        self._index = {name: i for i, name in enumerate(self._names)}
        self.weights = Weights(program, outline, software, pool)
        self.found: dict[str, Found] = {}
        self._stepped = np.zeros(pool.num_devices, np.int64)
        self._held = np.zeros(pool.num_devices, np.int64)
        self._held_bytes = np.zeros(pool.num_devices, np.int64)
        self._in_order: Int64 | None = None
        self._contents: dict[Hashable, int] = {}
        self._slot_lists: dict[tuple[int, ...], int] = {}
        self._make_room(1)

    def _make_room(self, lines_per_weight: int) -> None:
        """Give every weight a region of so many lines, and write those found again."""
        self._width = lines_per_weight
        count = lines_per_weight * len(self._names)
        self._slots = np.zeros(0, np.int32)
        self._slot_lists.clear()
        self._order = np.full(count, _NO_LINE, np.int64)
        self._num_bytes = np.zeros(count)
        self._numbers = np.zeros((count, 6), np.int32)
        self._buckets = _room(count, 1, 1)
        for name, found in self.found.items():
            self._write_lines(name, found)

    def replace(self, changed: Mapping[str, Found]) -> dict[str, Found]:
        """Take the parts of some weights over; return what was there before."""
        before = {name: self.found[name] for name in changed if name in self.found}
        for name, found in changed.items():
            if name in before:
                self._count(name, before[name], -1)
            self._count(name, found, 1)
            self.found[name] = found
            if len(found.lines) > self._width:
                self._make_room(2 * len(found.lines))
            self._write_lines(name, found)
        return before

    def _count(self, name: str, found: Found, sign: int) -> None:
        self._stepped += sign * found.stepped
        self._held += sign * found.held
        self._held_bytes += sign * self._program.graph.bytes_per_element(name) * found.held

    def _write_lines(self, name: str, found: Found) -> None:
        index = self._index[name]
        base = index * self._width
        rows = slice(base, base + self._width)
        order = np.full(self._width, _NO_LINE, np.int64)
        for number, line in enumerate(found.lines):
            slots = found.parts[line.part].rows
            order[number] = (max(slots) << _WEIGHT_BITS) + index
            self._num_bytes[base + number] = line.num_bytes
            self._numbers[base + number] = (
                line.key,
                line.content,
                self._slot_list(slots),
                len(slots),
                base + line.first,
                found.is_simple,
            )
        if not np.array_equal(order, self._order[rows]):
            self._order[rows] = order
            self._in_order = None

    def _slot_list(self, slots: tuple[int, ...]) -> int:
        if slots not in self._slot_lists:
            self._slot_lists[slots] = len(self._slots)
            self._slots = np.concatenate([self._slots, np.array(slots, np.int32)])
        return self._slot_lists[slots]

    def held_bytes(self) -> Int64:
        """Return weights, gradients and optimizer state on every device."""
        software = self._software
        gradients = np.round(self._held * software.gradient_bytes_per_parameter)
        optimizer = np.round(self._held * software.optimizer_bytes_per_parameter)
        total: Int64 = self._held_bytes + gradients.astype(np.int64) + optimizer.astype(np.int64)
        return total

    def rows(self, devices: Int32) -> UpdateRows:
        """Return all rows; ``devices`` are those of the strategy."""
        buckets = self._fill()
        count, num_waits = buckets.counts.tolist()
        for bucket in np.flatnonzero(buckets.content[:count] < 0).tolist():
            buckets.content[bucket] = self._content_of(buckets, bucket)
        needs = [buckets.needs[: buckets.offsets[count]]]
        sizes = [np.diff(buckets.offsets[: count + 1])]
        more = self._after_buckets(buckets, count)
        waits = np.concatenate([buckets.waits[:num_waits], np.array(more.waits, np.int32)])
        rows: list[tuple[int, Sequence[int] | Int32]] = [
            *more.rows,
            *self._last(devices, waits, count + len(more.rows)),
        ]
        needs += [np.asarray(need, np.int32) for _, need in rows]
        sizes.append(np.array([len(need) for _, need in rows], np.int64))
        content = np.array([number for number, _ in rows], np.int32)
        return UpdateRows(
            np.concatenate([buckets.content[:count], content]),
            offsets_of(np.concatenate(sizes)),
            np.concatenate(needs),
        )

    def _fill(self) -> Buckets:
        if self._in_order is None:
            order = np.argsort(self._order, kind="stable")
            self._in_order = order[: int((self._order < _NO_LINE).sum())]
        slots = int(self._numbers[:, 3].sum())
        room = self._buckets
        if slots > len(room.needs) or len(self.weights.keys) > len(room.filling):
            self._buckets = _room(len(self._order), 2 * slots, 2 * len(self.weights.keys))
        lines = Lines(self._order, self._num_bytes, self._numbers, self._slots)
        limit = float(bucket_bytes(self._program, self._software))
        fill_buckets(lines, self._in_order, limit, self._num_slots, self._buckets)
        return self._buckets

    def _content_of(self, buckets: Buckets, bucket: int) -> int:
        key = (int(buckets.key[bucket]), float(buckets.num_bytes[bucket]))
        if key not in self._contents:
            self._contents[key] = self.weights.content(*key)
        return self._contents[key]

    def _after_buckets(self, buckets: Buckets, count: int) -> _More:
        """Return the sums of weights that several meshes hold."""
        names = [name for name, found in self.found.items() if not found.is_simple]
        if not names:
            return _More([], [])
        ready = _Ready(self._num_slots)
        ordered = sorted(
            (
                (max(part.rows), self._index[name], part)
                for name in names
                for part in self.found[name].parts
            ),
            key=lambda each: each[:2],
        )
        parts = [part for _, _, part in ordered]
        for part in parts:
            ready.add(part)
        for name in names:
            base, found = self._index[name] * self._width, self.found[name]
            for line in found.lines:
                bucket = int(buckets.ready[base + line.first])
                if bucket >= 0:
                    ready.rows[name, found.parts[line.part].layout.mesh] = (
                        self._num_slots + bucket,
                    )
        return self._shared(parts, ready, count)

    def _shared(self, parts: list[WeightPart], ready: _Ready, count: int) -> _More:
        rows: list[tuple[int, Iterable[int]]] = []
        limit = bucket_bytes(self._program, self._software)
        width = partial(gradient_bytes, self._program, software=self._software)
        for shared in shared_buckets(parts, self._program.strategy.rank_of_stage, limit, width):
            groups = np.array([shared.devices], np.int32)
            content = self._collective(GRADIENT_KIND, shared.num_bytes, groups)
            for key in shared.weights:
                ready.rows[key] = (*ready.rows[key], self._num_slots + count + len(rows))
            rows.append((content, dict.fromkeys(shared.needs)))
        for copies in _copies(parts):
            groups = np.stack([part.layout.mesh.flat for part in copies], 1)
            num_bytes = gradient_bytes(self._program, copies[0], self._software)
            content = self._collective(TASK_CODE["embedding"], num_bytes, groups)
            keys = [(part.name, part.layout.mesh) for part in copies]
            needs = dict.fromkeys(row for key in keys for row in ready.rows[key])
            ready.rows |= dict.fromkeys(keys, (self._num_slots + count + len(rows),))
            rows.append((content, needs))
        waits = dict.fromkeys(row for found in ready.rows.values() for row in found)
        return _More([(content, list(needs)) for content, needs in rows], list(waits))

    def _collective(self, kind: int, num_bytes: float, groups: Int32) -> int:
        """Return the content of an all-reduce."""
        places = self._pool.places(groups)
        key = (kind, num_bytes, id(places))
        if key not in self._contents:
            pricing = self._program.pricing
            duration = pricing.collective("all-reduce", max(1, round(num_bytes)), places)
            self._contents[key] = self._pool.number(Stint(kind, places, duration, False))
        return self._contents[key]

    def _last(self, devices: Int32, waits: Int32, count: int) -> list[tuple[int, Int32]]:
        """Return the norm of the gradients, if there is one, and the optimizer's step."""
        if not self._names:
            return []
        if not self._program.strategy.gradient_norm or len(devices) < 2:
            return [(self._optimizer(), waits)]
        norm = self._collective(TASK_CODE["gradient-norm"], NORM_BYTES, devices[None, :])
        after = np.array([self._num_slots + count], np.int32)
        return [(norm, waits), (self._optimizer(), after)]

    def _optimizer(self) -> int:
        key = ("optimizer", self._stepped.tobytes())
        if key not in self._contents:
            self._contents[key] = self._find_optimizer()
        return self._contents[key]

    def _find_optimizer(self) -> int:
        devices = np.flatnonzero(self._stepped).astype(np.int32)
        traffic = self._software.optimizer_traffic_bytes_per_parameter
        num_bytes = np.ceil(self._stepped[devices] * traffic).astype(np.int64)
        distinct, work = np.unique(num_bytes, return_inverse=True)
        works = [Work("optimizer", "U", 0, int(n), precision="fp32") for n in distinct]
        places = self._pool.places(devices[:, None])
        mesh = Mesh(("device",), devices)
        duration = self._program.pricing.durations(works, work.reshape(-1), mesh)
        return self._pool.number(Stint(TASK_CODE["optimizer"], places, duration))


class _More(NamedTuple):
    """Rows (content and needs), and what the optimizer waits for."""

    rows: list[tuple[int, list[int]]]
    waits: list[int]


class _Ready:
    """After which rows the gradient of a weight is complete on each mesh."""

    def __init__(self, num_slots: int) -> None:
        self.num_slots = num_slots
        self.rows: dict[tuple[str, Mesh], tuple[int, ...]] = {}

    def add(self, part: WeightPart) -> None:
        """A part's own rows come first."""
        key = (part.name, part.layout.mesh)
        self.rows[key] = (*self.rows.get(key, ()), *part.rows)


def _copies(parts: list[WeightPart]) -> list[list[WeightPart]]:
    """Return the parts of every weight that twin meshes hold, one a mesh."""
    held: dict[str, dict[Mesh, WeightPart]] = {}
    for part in parts:
        if part.holding is None:
            held.setdefault(part.name, {})[part.layout.mesh] = part
    return [list(by_mesh.values()) for by_mesh in held.values() if len(by_mesh) > 1]


def _room(num_lines: int, num_slots: int, num_keys: int) -> Buckets:
    return Buckets(
        np.empty(num_lines, np.int32),
        np.empty(num_lines),
        np.empty(num_lines, np.int32),
        np.zeros(num_lines + 1, np.int64),
        np.empty(num_slots, np.int32),
        np.empty(num_slots + num_lines, np.int32),
        np.empty(num_lines, np.int32),
        np.empty(num_lines, np.int32),
        np.zeros(2, np.int64),
        np.empty(num_keys, np.int32),
    )
