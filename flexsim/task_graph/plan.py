"""A plan: everything that makes the task graph of an iteration, not yet tiled."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from flexsim.task_graph.assemble import Actions, assemble, number_actions
from flexsim.task_graph.asynchronous import iterations_of
from flexsim.task_graph.columns import ActivationMemory, Int64, StaticMemory, TaskGraph, UInt8
from flexsim.task_graph.memory import StageMemory
from flexsim.task_graph.places import ragged_ranges
from flexsim.task_graph.schedules import Schedule
from flexsim.task_graph.templates import Templates


@dataclass(frozen=True, eq=False)
class Plan:
    """Templates, the schedule that orders them, and what is known of the whole iteration."""

    templates: Templates
    schedule: Schedule
    operator_names: tuple[str, ...]
    overlap_gradients: bool
    static_memory: StaticMemory
    stage_memory: StageMemory
    hardware_flops: float
    num_tasks_unfolded: int
    folding: str
    """What was folded, or why not, in one sentence."""

    @cached_property
    def actions(self) -> Actions:
        """All actions in program order, with the number of each one's first task."""
        return number_actions(self.templates, self.schedule)

    @property
    def num_tasks(self) -> int:
        """Tasks of the graph that is tiled from the plan."""
        sizes = np.diff(self.templates.offsets)
        return int(sizes[self.actions.template].sum())

    @cached_property
    def activation_memory(self) -> ActivationMemory:
        """What every action allocates and frees."""
        actions = self.actions
        memory = self.stage_memory.of_actions(actions.table)
        if not (actions.num_next > 1).any():
            return memory
        return replace(memory, together=actions.first_of_next[memory.action])

    @cached_property
    def rank_of_device(self) -> Int64:
        """The pipeline rank of every device of ``static_memory``; -1 where nothing is kept."""
        memory, devices = self.activation_memory, self.static_memory.device
        rank = np.full(len(devices), -1, np.int64)
        rank[np.searchsorted(devices, memory.device)] = self.actions.table.rank[memory.action]
        return rank

    @property
    def collective(self) -> UInt8:
        """The collective of every task; for plans that were built operator by operator."""
        templates, actions = self.templates, self.actions
        assert templates.collective is not None
        sizes = np.diff(templates.offsets)[actions.template]
        member = ragged_ranges(templates.offsets[actions.template], sizes)
        codes: UInt8 = templates.collective[member]
        return codes

    def task_graph(self) -> TaskGraph:
        """Tile the templates over all actions."""
        graph = assemble(
            self.templates,
            self.actions,
            self.schedule,
            self.operator_names,
            self.overlap_gradients,
        )
        return replace(
            graph,
            static_memory=self.static_memory,
            activation_memory=self.activation_memory,
            hardware_flops=self.hardware_flops,
            num_tasks_folded_away=self.num_tasks_unfolded - graph.num_tasks,
            folding=self.folding,
            iterations=iterations_of(self.schedule, self.actions),
        )
