"""Templates: the tasks of every action written once, to be tiled over microbatches."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from flexsim.ragged import Csr
from flexsim.task_graph.columns import Int32, Int64, ResourceTable, UInt8
from flexsim.task_graph.places import NOWHERE, Sorted
from flexsim.task_graph.rows import F, U


def template_of(action: int, stage: int, num_stages: int) -> int:
    """Return the number of a template: F and B of every stage, then U of every rank."""
    return 2 * num_stages + stage if action == U else 2 * stage + (0 if action == F else 1)


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
    collective: UInt8 | None = None
    """Index into :data:`flexsim.task_graph.kinds.COLLECTIVES`; grown templates have none."""

    @property
    def num_templates(self) -> int:
        """F and B of every stage, and U of every rank."""
        return len(self.offsets) - 1

    @cached_property
    def template_of_member(self) -> Int64:
        """The template of every member."""
        return np.repeat(np.arange(self.num_templates), np.diff(self.offsets))
