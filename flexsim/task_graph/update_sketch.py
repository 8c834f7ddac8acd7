"""The update of a short pipeline, from which those of all long ones like it are laid out.

Ranks of a uniform pipeline update alike but for the first and the last. Three of them, with the
tasks that one device of each has, tell all; what depends on where ranks stand, the price of
their collectives, is asked when they are laid out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from flexsim.cost.collectives import Communication
from flexsim.cost.costs import Costs
from flexsim.cost.profiles import SoftwareProfile
from flexsim.cost.work import CostModel
from flexsim.operator_graph.graph import OperatorGraph
from flexsim.strategy.mesh import Mesh
from flexsim.strategy.sharding import Sharding
from flexsim.task_graph.columns import Int64, StaticMemory
from flexsim.task_graph.grown_update import long_strategy, mesh_of
from flexsim.task_graph.growth import Grown
from flexsim.task_graph.issue import issuing_rows
from flexsim.task_graph.memory import static_memory
from flexsim.task_graph.merged_parts import MergedParts, merged_parts
from flexsim.task_graph.pricing import Pricing
from flexsim.task_graph.program import Program
from flexsim.task_graph.rows import Notebook
from flexsim.task_graph.site import Site
from flexsim.task_graph.sketch_rows import (
    MOST_RANKS,
    Joint,
    entries_of,
    heads_of,
    joint_of,
    needs_of,
    ranks_of,
    why_unlike,
)
from flexsim.task_graph.uniform import Seed
from flexsim.task_graph.update import write_update_of


@dataclass(frozen=True, eq=False)
class UpdateSketch:
    """The tasks of the updates of at most three ranks, as one device of each sees them.

    Tasks are in order of ids. ``edges`` are pairs of them, and ``waits`` pairs of an anchor (see
    :class:`~flexsim.task_graph.merged_parts.MergedParts`) and a task.
    """

    rank: Int64
    kind: Int64
    """The stream that each task holds, 0 for compute."""
    duration_ns: Int64
    """Without meaning for collectives."""
    num_bytes: Int64
    joints: tuple[Joint, ...]
    holds: NDArray[np.bool_]
    """By task and rank, whether it holds its stream there."""
    edges: tuple[Int64, Int64]
    heads: Int64
    """Tasks that wait for nothing else of their rank."""
    entries: Int64
    """Kernels that wait for no other of their rank."""
    issue_ns: Int64
    """What the host takes that issues a rank's kernels, where hosts run ahead; else 0."""
    waits: tuple[Int64, Int64]
    shared: tuple[tuple[int, tuple[int, ...]], ...]
    static_memory: StaticMemory
    """A row a rank."""
    mesh: Mesh
    """Of the first rank."""

    @property
    def num_ranks(self) -> int:
        """Ranks of the short pipeline."""
        return int(self.holds.shape[1])


def sketch_update(
    seed: Seed,
    shape: tuple[int, int, int],
    whole: OperatorGraph,
    pricing: tuple[CostModel, SoftwareProfile, str],
    sharding: Sharding,
) -> UpdateSketch | str:
    """Return the update of pipelines that grow from ``seed``, or why they have none in common.

    ``shape`` are ranks, replicas, and layers of a stage; ``pricing`` what tells the price of a
    kernel, the software, and the type of all devices.
    """
    grown = _stand_in(seed, shape)
    compute, software, device_type = pricing
    strategy = replace(long_strategy(grown), sharding=sharding)
    alike = _Alike((device_type,) * grown.site.devices.size)
    costs = Costs(compute, _Unpriced(), software)
    program = Program(whole, strategy, Notebook(), Pricing(whole, alike, costs))
    merged = merged_parts(grown, whole, program, software)
    if isinstance(merged, str):
        return merged
    write_update_of(program, merged.parts, software)
    return _sketched(grown, program, merged, software)


def num_sketched(shape: tuple[int, int, int], sharding: Sharding) -> tuple[int, int, int]:
    """Return the shape of which the update is that of ``shape`` too, apart from prices.

    Replicas count one by one only where they keep shares.
    """
    num_ranks, num_replicas, layers = shape
    few = num_replicas if sharding.optimizer else min(num_replicas, 2)
    return min(num_ranks, MOST_RANKS), few, layers


class _Alike(NamedTuple):
    """Devices of one type."""

    device_types: tuple[str, ...]


class _Unpriced:
    """Communication without prices."""

    def collective_ns(self, collective: str, num_bytes: int, groups: NDArray[np.int32], /) -> Int64:
        """Return 1 for every group."""
        return np.ones(len(groups), np.int64)

    def transfer_ns(
        self,
        num_bytes: Int64 | int,
        sources: NDArray[np.int32],
        targets: NDArray[np.int32],
        /,
    ) -> Int64:
        """Return 1 for every transfer."""
        return np.ones(len(sources), np.int64)


def _stand_in(seed: Seed, shape: tuple[int, int, int]) -> Grown:
    """Return the short pipeline, on devices that are numbered rank by rank."""
    num_ranks, num_replicas, layers = shape
    width = seed.devices_per_rank // seed.num_replicas * num_replicas
    devices = np.arange(num_ranks * width, dtype=np.int32).reshape(num_ranks, width)
    return Grown(seed, Site(devices, 1, num_replicas, cast(Communication, None)), layers)


def _sketched(
    grown: Grown, program: Program, merged: MergedParts, software: SoftwareProfile
) -> UpdateSketch | str:
    rows, site = program.notebook.rows, grown.site
    order = np.argsort([row.stage for row in rows], kind="stable")
    place = np.empty(len(rows), np.int64)
    place[order] = np.arange(len(rows))
    holds = np.stack([ranks_of(row, site) for row in rows])
    joints = [joint_of(program, row, site, int(place[i])) for i, row in enumerate(rows)]
    why = why_unlike(rows, holds, merged)
    if why or None in joints:
        return why or "a collective joins some devices of several ranks"
    issuing = issuing_rows(rows, software)
    if issuing is None:
        return "several hosts issue the kernels of a rank's update"
    edges, waits = needs_of(rows, holds, place)
    return UpdateSketch(
        np.array([rows[i].stage for i in order]),
        np.array([0 if rows[i].is_compute else rows[i].kind for i in order]),
        np.array([rows[i].duration_ns[0] for i in order], np.int64),
        np.array([rows[i].num_bytes[0] for i in order], np.int64),
        tuple(joint for joint in joints if joint is not None and joint.kind),
        holds[order],
        edges,
        heads_of(rows, place),
        entries_of(rows, place),
        np.array([issuing[i].issue_ns for i in order], np.int64),
        waits,
        merged.shared,
        static_memory(program, merged.parts, software, site.representatives),
        mesh_of(grown, 0),
    )
