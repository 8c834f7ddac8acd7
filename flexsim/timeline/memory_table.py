"""The memory of devices as one table: what they hold throughout, and what passes add to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexsim.task_graph.columns import DYNAMIC_PARTS, Int64, StaticMemory

STATIC_PARTS = ("weights", "gradients", "optimizer")
PARTS = (*STATIC_PARTS, *DYNAMIC_PARTS, "overhead")
"""What the memory of a device is made up of; ``overhead`` is what the software occupies itself
and what its allocator loses to fragmentation."""

_COMES = slice(len(STATIC_PARTS), len(STATIC_PARTS) + len(DYNAMIC_PARTS))
_BUFFERS = PARTS.index("buffers")
_TEMPORARY = PARTS.index("temporary")
_OVERHEAD = PARTS.index("overhead")


@dataclass(frozen=True, eq=False)
class Throughout:
    """What devices hold whatever passes run, a row a device.

    ``step`` is there only while an optimizer steps, when activations are gone; ``fragmentation``
    is the share of what comes and goes that is lost besides.
    """

    parts: Int64
    """A column each of :data:`PARTS`."""
    step: Int64 | None
    fragmentation: float

    @classmethod
    def of(cls, static: StaticMemory, devices: Int64) -> Throughout:
        """Lay the memory out for ``devices`` (sorted); devices that it lacks hold nothing."""
        row = np.searchsorted(devices, static.device)
        parts = np.zeros((len(devices), len(PARTS)), np.int64)
        for column, name in enumerate(STATIC_PARTS):
            np.add.at(parts[:, column], row, getattr(static, name))
        for column, more in ((_BUFFERS, static.buffers), (_OVERHEAD, static.framework)):
            if more is not None:
                np.add.at(parts[:, column], row, more)
        step = None
        if static.step is not None:
            step = np.zeros(len(devices), np.int64)
            np.add.at(step, row, static.step)
        return cls(parts, step, static.fragmentation)

    def with_buffers(self, num_bytes: Int64) -> Throughout:
        """Return what is held with so much more that receives from other stages."""
        parts = self.parts.copy()
        parts[:, _BUFFERS] += num_bytes
        return Throughout(parts, self.step, self.fragmentation)

    def with_dynamic(self, dynamic: Int64) -> tuple[Int64, NDArray[np.bool_]]:
        """Return the parts when most is held, and where that is while the optimizer steps.

        Passes add ``dynamic`` at most, a column each of :data:`DYNAMIC_PARTS`.
        """
        parts, most = self.parts.copy(), np.add.reduce(dynamic, axis=1)
        steps = np.zeros(len(most), np.bool_) if self.step is None else self.step > most
        parts[:, _COMES] += dynamic
        if self.step is not None and np.count_nonzero(steps):
            parts[steps, _COMES] = self.parts[steps, _COMES]
            parts[steps, _TEMPORARY] += self.step[steps]
            most[steps] = self.step[steps]
        parts[:, _OVERHEAD] += np.rint(most * self.fragmentation).astype(np.int64)
        return parts, steps
