"""The task graph as columns: a row a task, the row number being its id.

Ids are program order and break ties in the replay, so rows are never reordered.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flexsim.ragged import Csr
from flexsim.task_graph.kinds import NUM_COMPUTE_KINDS

if TYPE_CHECKING:
    from flexsim.task_graph.memory import StageMemory

__all__ = [
    "DYNAMIC_PARTS",
    "ActionTable",
    "ActivationMemory",
    "Csr",
    "Int32",
    "Int64",
    "Iterations",
    "ResourceTable",
    "StaticMemory",
    "TaskGraph",
    "UInt8",
]

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
UInt8 = NDArray[np.uint8]

DYNAMIC_PARTS = ("activations", "recompute", "gathered", "temporary", "buffers")
"""What comes and goes in an iteration: saved activations, what is recomputed, gathered weights,
results and gradients that only their neighbours need, and buffers of communication."""


@dataclass(frozen=True, eq=False)
class ActionTable:
    """The schedule's actions, a row an action, in program order (rank, position)."""

    kind: UInt8
    """Index into :data:`flexsim.task_graph.kinds.ACTION_KINDS`."""
    stage: Int32
    """Global stage."""
    microbatch: Int32
    """Microbatch; -1 for actions once an iteration."""
    rank: Int32
    """Pipeline rank that runs the action."""


@dataclass(frozen=True, eq=False)
class ResourceTable:
    """What tasks hold, a row a resource."""

    kind: UInt8
    """Index into :data:`flexsim.task_graph.kinds.TASK_KINDS` for a communication stream;
    0 for a compute stream."""
    device: Int32
    """Device that owns the stream, or the source of a channel."""
    peer: Int32
    """Destination of a channel; -1 for a stream."""


@dataclass(frozen=True, eq=False)
class StaticMemory:
    """Bytes that a device holds for the whole iteration, a row a device.

    ``num_alike`` counts the devices that each one stands for; None: itself only.
    ``framework`` is what the software itself occupies, None for nothing, and ``buffers`` what
    receives from other stages while they compute; ``step`` is there only while an optimizer
    steps, when activations are gone. ``fragmentation`` is the share by which an
    allocator's memory exceeds what comes and goes in it.
    """

    device: Int32
    weights: Int64
    gradients: Int64
    optimizer: Int64
    num_alike: Int64 | None = None
    framework: Int64 | None = None
    buffers: Int64 | None = None
    step: Int64 | None = None
    fragmentation: float = 0.0


@dataclass(frozen=True, eq=False)
class ActivationMemory:
    """What actions allocate and free, a row an (action, device) pair.

    ``allocated`` bytes come with the start of the action's first task and stay;
    ``freed`` bytes go at the end of its last task; ``transient`` bytes (what a backward
    recomputes or holds for a moment) live from its start to its end only. ``parts`` tells what
    ``allocated + transient`` is when the action holds most, a column each of
    :data:`DYNAMIC_PARTS`, and ``left`` what ``allocated - freed`` is; None: all activations.
    ``operator`` runs then; -1 or None: unknown.
    ``stages`` has what is held inside the actions; None: not known. Rows with one number in
    ``together`` run side by side; None: all run one after the other.
    """

    action: Int32
    device: Int32
    allocated: Int64
    freed: Int64
    transient: Int64
    parts: Int64 | None = None
    left: Int64 | None = None
    operator: Int32 | None = None
    stages: StageMemory | None = None
    together: Int64 | None = None


@dataclass(frozen=True, eq=False)
class Iterations:
    """Iterations that follow one another without a flush.

    The first and the last ``num_left_out`` fill and empty the pipeline; those between them show the
    steady state. ``weight_versions`` are held of its weights by each pipeline rank.
    """

    of_action: Int32
    number: int
    num_left_out: int
    weight_versions: tuple[int, ...]

    @property
    def num_steady(self) -> int:
        """Iterations that show the steady state."""
        return self.number - 2 * self.num_left_out


@dataclass(frozen=True, eq=False)
class TaskGraph:
    """Tasks, what they hold and what follows them.

    Every column has one value a task (``n`` rows). ``duration_ns`` is at least 1.
    ``resources`` and ``successors`` are ragged: task id to resource ids and to task ids.
    A task's first resource tells the device that it is drawn on.
    """

    action: Int32
    operator: Int32
    kind: UInt8
    part: Int32
    duration_ns: Int64
    num_bytes: Int64
    resources: Csr
    successors: Csr
    in_degree: Int32
    actions: ActionTable
    resource_table: ResourceTable
    operator_names: tuple[str, ...]
    static_memory: StaticMemory | None = None
    activation_memory: ActivationMemory | None = None
    hardware_flops: float = 0.0
    """Nominal floating-point operations executed in the iteration on all devices."""
    num_tasks_folded_away: int = 0
    folding: str = "nothing to fold"
    """What was folded, or why not, in one sentence."""
    collective: UInt8 | None = None
    """Index into :data:`flexsim.task_graph.kinds.COLLECTIVES`, for networks that need it."""
    iterations: Iterations | None = None
    """The iterations that there are, where they do not flush; None: it is one that does."""

    @property
    def num_tasks(self) -> int:
        """Number of rows."""
        return len(self.duration_ns)

    @property
    def num_resources(self) -> int:
        """Number of distinct streams and channels."""
        return len(self.resource_table.kind)

    @cached_property
    def device(self) -> Int32:
        """Device of every task: the owner of its first resource."""
        first = self.resources.values[self.resources.offsets[:-1]]
        return self.resource_table.device[first]

    @cached_property
    def is_compute(self) -> NDArray[np.bool_]:
        """Whether each task runs on a compute stream."""
        return self.kind < NUM_COMPUTE_KINDS
