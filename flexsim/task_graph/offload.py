"""Saved activations that wait on the host: out after a layer's forward, back before its backward.

A layer's forward waits until what the layer before the previous one keeps has gone out, and a layer
comes back while the backward of the one behind it runs, so that no more than two layers of a pass
are on the device. Both ways run beside each other and beside compute.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from flexsim.cost.host import link_ns
from flexsim.operator_graph.records import Operator
from flexsim.strategy.mesh import Mesh
from flexsim.strategy.strategy import ACTIVATIONS
from flexsim.task_graph.bring import Reader
from flexsim.task_graph.kinds import TASK_CODE
from flexsim.task_graph.rows import B, F, Row, unique

if TYPE_CHECKING:
    from flexsim.task_graph.program import Program

OFFLOAD, RELOAD = TASK_CODE["offload"], TASK_CODE["reload"]
_AT_ONCE = 2
"""Layers of a pass whose activations are on the device."""


@dataclass
class _Pass:
    """One pass of one stage: its layers in order, their last kernels, and their transfers."""

    layers: list[tuple[str, Mesh]] = field(default_factory=list)
    last: dict[tuple[str, Mesh], int] = field(default_factory=dict)
    moved: dict[tuple[str, Mesh], int] = field(default_factory=dict)


@dataclass
class Offload:
    """Writes the transfers of what forwards keep for backwards."""

    program: Program
    _passes: dict[tuple[int, int], _Pass] = field(default_factory=dict)

    @cached_property
    def is_on(self) -> bool:
        """Whether activations are offloaded at all."""
        return ACTIVATIONS in self.program.strategy.offload

    def needs(self, operator: Operator, reader: Reader) -> tuple[int, ...]:
        """Return the transfers that a kernel of an operator waits for."""
        if not self.is_on or not operator.block:
            return ()
        here = self._passes.setdefault((reader.stage, reader.action), _Pass())
        key = operator.block, self.program.cuts.of(operator).config.mesh
        if key not in here.layers:
            if reader.action == F:
                self._send_last(here, reader.stage)
            here.layers.append(key)
        if reader.action == F:
            return self._gone(here, key)
        return self._back(here, key, reader.stage)

    def wrote(self, operator: Operator, reader: Reader, row: int) -> None:
        """Note that a kernel of an operator has been written."""
        if self.is_on and operator.block:
            key = operator.block, self.program.cuts.of(operator).config.mesh
            self._passes[reader.stage, reader.action].last[key] = row

    def end_forward(self) -> None:
        """Write what is still to go out of every stage."""
        for (stage, action), here in self._passes.items():
            if action == F:
                self._send_last(here, stage)

    def _send_last(self, here: _Pass, stage: int) -> None:
        if here.layers and here.layers[-1] not in here.moved:
            key = here.layers[-1]
            here.moved[key] = self._write(key[1], (stage, F, OFFLOAD), (here.last[key],))

    def _gone(self, here: _Pass, key: tuple[str, Mesh]) -> tuple[int, ...]:
        """Return what must be gone when the first kernel of a layer begins."""
        at = here.layers.index(key)
        if key in here.last or at < _AT_ONCE:
            return ()
        return (here.moved[here.layers[at - _AT_ONCE]],)

    def _back(self, here: _Pass, key: tuple[str, Mesh], stage: int) -> tuple[int, ...]:
        if key not in here.moved:
            at = here.layers.index(key)
            before = [here.last[each] for each in here.layers[: max(at - 1, 0)]]
            out = self._passes[stage, F].moved[key]
            here.moved[key] = self._write(key[1], (stage, B, RELOAD), (out, *before[-1:]))
        return (here.moved[key],)

    def _write(self, mesh: Mesh, what: tuple[int, int, int], needs: tuple[int, ...]) -> int:
        """Write a transfer whose size is only known when the backward is written."""
        places = self.program.notebook.on_mesh(mesh)
        ones = np.ones(mesh.size, np.int64)
        stage, action, kind = what
        return self.program.notebook.write(
            Row(stage, action, kind, -1, places, ones, ones, unique(needs), False)
        )

    def set_sizes(self) -> None:
        """Fill in sizes and durations of all transfers, by what the backward reads."""
        rows, sizes = self.program.notebook.rows, self._sizes()
        for (stage, _), here in self._passes.items():
            for key, row in here.moved.items():
                num_bytes = np.full(key[1].size, sizes.get((stage, key), 0), np.int64)
                duration = self.program.pricing.on_host(link_ns, num_bytes, key[1])
                rows[row] = rows[row]._replace(duration_ns=duration, num_bytes=num_bytes)

    def _sizes(self) -> dict[tuple[int, tuple[str, Mesh]], int]:
        found: dict[tuple[int, tuple[str, Mesh]], int] = {}
        for (stage, mesh), layouts in self.program.saved.items():
            for tensor, layout in layouts.items():
                layer = self._layer_of.get((stage, tensor), "")
                if layer:
                    key = stage, (layer, mesh)
                    size = self.program.kept_bytes(tensor, layout)
                    found[key] = found.get(key, 0) + size
        return found

    def rows_of(self, stage: int, tensor: str, mesh: Mesh) -> tuple[int, int] | None:
        """Return the rows that take a saved tensor out and bring it back; None if it stays."""
        if not self.is_on:
            return None
        key = self._layer_of.get((stage, tensor), ""), mesh
        forward, backward = (self._passes.get((stage, action), _Pass()) for action in (F, B))
        if key not in forward.moved or key not in backward.moved:
            return None
        return forward.moved[key], backward.moved[key]

    @property
    def _layer_of(self) -> dict[tuple[int, str], str]:
        """By stage and tensor the layer whose backward needs it first; "" outside of layers."""
        if not self._layers:
            segment_of = {n: s for s in self.program.strategy.recompute for n in s}
            for operator in reversed(self.program.graph.operators):
                stage = self.program.stage(operator)
                for tensor in self._kept_for(operator, segment_of.get(operator.name, ())):
                    self._layers.setdefault((stage, tensor), operator.block)
        return self._layers

    _layers: dict[tuple[int, str], str] = field(default_factory=dict)

    def _kept_for(self, operator: Operator, segment: tuple[str, ...]) -> list[str]:
        """Return what the backward of an operator reads, its repeated forward included."""
        steps = (*operator.backward, *(operator.forward if segment else ()))
        read = dict.fromkeys(use.tensor for step in steps for use in step.reads)
        writer = self.program.graph.writer
        return [t for t in read if not (segment and writer.get(t) in segment)]
