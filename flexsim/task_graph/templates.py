"""Templates: the tasks of every action written once, to be tiled over microbatches."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flexsim.ragged import Csr
from flexsim.task_graph.columns import Int32, Int64, ResourceTable, UInt8
from flexsim.task_graph.places import NOWHERE, Sorted
from flexsim.task_graph.rows import B, F, U


def template_of(action: int, stage: int, num_stages: int, passes: tuple[int, ...] = (F, B)) -> int:
    """Return the number of a template: the ``passes`` of every stage, then U of every rank."""
    if action == U:
        return len(passes) * num_stages + stage
    return len(passes) * stage + passes.index(action)


@dataclass(frozen=True, eq=False)
class Ends:
    """Where a template is joined to others, by device; members are numbered within it."""

    exits: Sorted
    """The last task of the chain that the next action waits for.

    It is the last input gradient where there is one, else the last compute task.
    """
    tails: Sorted
    """The exits and every weight gradient: all that must end before an update."""
    entries: Sorted
    """The compute tasks with no compute task before them on their device."""
    heads: Sorted
    """The tasks, of any kind, with no other task of the template before them."""
    sends: Sorted
    """The transfers to other stages, by sending device."""
    fetches: Sorted = NOWHERE
    """The gathers of weights that wait for nothing in the template."""
    gates: Sorted = NOWHERE
    """The compute tasks that the next action's first gathers wait for."""
    leaves: Sorted = NOWHERE
    """The transfers to the host that the next action's first compute tasks wait for."""


@dataclass(frozen=True, eq=False)
class Templates:
    """Members of all templates: columns with a value a member, in the order of their ids.

    ``offsets[t]:offsets[t + 1]`` are the members of template t (see :func:`template_of`).
    ``sources`` and ``targets`` are the data edges, as pairs of members.
    """

    num_stages: int
    num_ranks: int
    offsets: Int64
    operator: Int32
    kind: UInt8
    part: Int32
    """The member's number within its row."""
    duration_ns: Int64
    num_bytes: Int64
    held: Csr
    resource_table: ResourceTable
    sources: Int64
    targets: Int64
    ends: tuple[Ends, ...]
    """Of every template."""
    passes: tuple[int, ...] = (F, B)
    """The kinds of passes that every stage has a template of, in order."""
    collective: UInt8 | None = None
    """Index into :data:`flexsim.task_graph.kinds.COLLECTIVES`; grown templates have none."""

    @property
    def num_passes(self) -> int:
        """Templates of forwards and backwards; those of updates follow."""
        return len(self.passes) * self.num_stages

    def numbers(self, action: NDArray[np.integer], stage: NDArray[np.integer]) -> Int64:
        """Return the template of every pair of an action's kind and its stage, or rank for U."""
        position = np.full(256, -1, np.int64)
        position[list(self.passes)] = np.arange(len(self.passes))
        passing = len(self.passes) * stage + position[action]
        return np.where(action == U, self.num_passes + stage, passing).astype(np.int64)

    def kind_of(self, template: int) -> int:
        """Return the kind of action that a template is of."""
        return U if template >= self.num_passes else self.passes[template % len(self.passes)]

    @property
    def num_templates(self) -> int:
        """The passes of every stage, and U of every rank."""
        return len(self.offsets) - 1

    @cached_property
    def template_of_member(self) -> Int64:
        """The template of every member."""
        return np.repeat(np.arange(self.num_templates), np.diff(self.offsets))
