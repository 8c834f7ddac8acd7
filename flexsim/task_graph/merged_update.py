"""The update of a uniform pipeline, laid out from the sketch of a short one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from flexsim.ragged import Csr
from flexsim.strategy.mesh import Mesh
from flexsim.task_graph.columns import Int64, StaticMemory
from flexsim.task_graph.issue import waits_of_actions
from flexsim.task_graph.site import Site
from flexsim.task_graph.sketch_rows import Joint
from flexsim.task_graph.update_copies import Copies
from flexsim.task_graph.update_sketch import UpdateSketch
from flexsim.task_graph.ways import UNEQUAL

_COLUMNS = ("weights", "gradients", "optimizer", "framework", "step")


@dataclass(frozen=True, eq=False)
class MergedUpdate:
    """The tasks of all ranks' updates, in order of ids, what they wait for, and static memory.

    ``heads`` wait for all of the last backward of their rank, ``waits`` for weight gradients:
    those of a rank, or (from ``num_ranks`` on) those of ``shared`` part k - num_ranks.
    """

    rank: Int64
    kind: Int64
    """The stream that each task holds, 0 for compute."""
    duration_ns: Int64
    num_bytes: Int64
    holds: Csr
    """The ranks on which each task holds its stream."""
    edges: tuple[Int64, Int64]
    heads: Int64
    entries: Int64
    """Kernels before which no other of their rank runs."""
    waits: tuple[Int64, Int64]
    """Anchors, and the tasks that wait for them."""
    shared: tuple[tuple[int, tuple[int, ...]], ...]
    """Stage (of the small pipeline) and rows (of its B strip) of weights on several ranks."""
    static_memory: StaticMemory
    num_tasks_unfolded: int


def lay_out_update(sketch: UpdateSketch, num_ranks: int) -> UpdateLayout:
    """Return the update of a pipeline with one stage a rank, wherever its ranks stand."""
    copies = Copies(sketch, num_ranks)
    tasks = copies.tasks
    return UpdateLayout(
        sketch,
        copies.task,
        copies.rank,
        copies.like,
        copies.holds(),
        copies.pairs((tasks, tasks), sketch.edges),
        copies.pairs((tasks, tasks), (sketch.heads, sketch.heads))[0],
        copies.pairs((tasks, tasks), (sketch.entries, sketch.entries))[0],
        copies.pairs((copies.anchors, tasks), sketch.waits),
        tuple((joint, copies.places(joint.task)) for joint in sketch.joints),
    )


@dataclass(frozen=True, eq=False)
class UpdateLayout:
    """The update of all ranks without what their devices add; see :class:`MergedUpdate`."""

    sketch: UpdateSketch
    task: Int64
    """What each task is in the sketch."""
    rank: Int64
    like: Int64
    """What each rank is in the sketch."""
    holds: Csr
    edges: tuple[Int64, Int64]
    heads: Int64
    entries: Int64
    waits: tuple[Int64, Int64]
    joints: tuple[tuple[Joint, Int64], ...]
    """Collectives, and the tasks that are one."""

    def on(self, site: Site) -> MergedUpdate | str:
        """Return the update on given devices, or why those of a rank do not update alike.

        All are of the type that the sketch was made for.
        """
        first, sketch = site.representatives, self.sketch
        if (np.diff(first) <= 0).any() or (site.devices < first[:, None]).any():
            return "ranks are not in the order of their devices"
        duration_ns, mesh = sketch.duration_ns[self.task], self._places_on(site)
        for tasks, price_ns in self._prices_ns(site, mesh):
            duration_ns[tasks] = price_ns
        if (duration_ns == UNEQUAL).any():
            return "the devices of a rank do not update alike"
        return MergedUpdate(
            self.rank,
            sketch.kind[self.task],
            self._issued_ns(duration_ns),
            sketch.num_bytes[self.task],
            self.holds,
            self.edges,
            self.heads,
            self.entries,
            self.waits,
            sketch.shared,
            self._static(site),
            self._num_members(mesh),
        )

    def _issued_ns(self, duration_ns: Int64) -> Int64:
        """Return what tasks last where kernels wait for their issue, each rank by itself."""
        issue_ns, (before, after) = self.sketch.issue_ns[self.task], self.edges
        if not issue_ns.any():
            return duration_ns
        inside = self.rank[before] == self.rank[after]
        needs = Csr.from_pairs(len(duration_ns), after[inside], before[inside].astype(np.int32))
        first = np.flatnonzero(np.diff(self.rank, prepend=-1))
        is_kernel = self.sketch.kind[self.task] == 0
        return duration_ns + waits_of_actions((duration_ns, is_kernel, issue_ns), needs, first)

    def _places_on(self, site: Site) -> Mesh:
        """Return the places of a rank's devices, on axes as those of the sketch."""
        mesh = self.sketch.mesh
        places = np.arange(site.devices.shape[1])
        return Mesh(mesh.names, places.reshape(site.num_replicas, *mesh.shape[1:]))

    def _prices_ns(self, site: Site, mesh: Mesh) -> Iterator[tuple[Int64, Int64 | int]]:
        """Yield tasks that are one collective, and what they take."""
        inside: dict[tuple[str, tuple[str, ...]], list[tuple[int, Int64]]] = {}
        for joint, tasks in self.joints:
            if joint.axes:
                inside.setdefault((joint.kind, joint.axes), []).append((joint.num_bytes, tasks))
            else:
                yield tasks, self._across_ns(joint, int(tasks[0]), site)
        for (kind, axes), some in inside.items():
            sizes = [num_bytes for num_bytes, _ in some]
            on_ranks = site.sums_ns(kind, sizes, mesh.groups(axes))
            for (_, tasks), prices in zip(some, on_ranks, strict=True):
                yield tasks, prices[self.rank[tasks]]

    def _across_ns(self, joint: Joint, task: int, site: Site) -> int:
        """Return what a collective of several ranks takes."""
        groups = site.devices[self.holds.row(task)].T
        if joint.is_whole:
            groups = np.sort(groups.reshape(1, -1))
        return site.joint_ns(joint.kind, joint.num_bytes, groups)

    def _static(self, site: Site) -> StaticMemory:
        """Return what the first device of every rank holds, which stands for all of its rank."""
        static = self.sketch.static_memory
        columns = {name: getattr(static, name) for name in _COLUMNS}
        return replace(
            static,
            device=site.representatives,
            num_alike=np.full(site.num_ranks, site.devices.shape[1]),
            **{name: found[self.like] for name, found in columns.items() if found is not None},
        )

    def _num_members(self, mesh: Mesh) -> int:
        """Return how many tasks there are on all devices."""
        total = mesh.size * len(self.task)
        for joint, tasks in self.joints:
            members = 1 if joint.is_whole else mesh.size // mesh.degree(joint.axes)
            total += (members - mesh.size) * len(tasks)
        return total
