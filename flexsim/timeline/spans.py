"""A timeline: when every task of a graph starts and ends, and its view as a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flexsim.task_graph.columns import Int64, TaskGraph
from flexsim.task_graph.kinds import TASK_KINDS
from flexsim.timeline.names import action_names, resource_names, resource_set_names
from flexsim.timeline.text import Column, labelled

if TYPE_CHECKING:
    import pandas as pd

    from flexsim.timeline.blocks import Blocks
    from flexsim.timeline.intervals import BusyRows


@dataclass(frozen=True, eq=False)
class Timeline:
    """Start and end of every task, in integer nanoseconds, a row a task of ``task_graph``."""

    task_graph: TaskGraph
    start_ns: Int64
    end_ns: Int64

    @cached_property
    def makespan_ns(self) -> int:
        """The end of the last task; 0 for a graph without tasks."""
        return int(self.end_ns.max(initial=0))

    @cached_property
    def fine_blocks(self) -> Blocks:
        """What each action does on each resource; see :mod:`flexsim.timeline.blocks`."""
        from flexsim.timeline.blocks import fine_blocks

        return fine_blocks(self)

    @cached_property
    def device_blocks(self) -> Blocks:
        """What each action does on each device, a row a kind of task."""
        from flexsim.timeline.blocks import device_blocks

        return device_blocks(self)

    @cached_property
    def busy_rows(self) -> BusyRows:
        """What keeps each device busy, in order of start."""
        from flexsim.timeline.intervals import busy_rows

        return busy_rows(self)

    def to_frame(self) -> pd.DataFrame:
        """Return the spans as a table, a row a task in id order.

        Columns: ``id, device, kind, action`` (such as "7F3"), ``stage`` (global),
        ``microbatch, operator, part, start_ns, end_ns, duration_ns, num_bytes, resources``
        (names joined by "; "). Tasks outside any action have an empty action and -1.
        """
        return frame_of(self.columns())

    def columns(self) -> dict[str, Column]:
        """Return the columns of :meth:`to_frame` by name."""
        graph = self.task_graph
        actions = graph.actions
        sets, set_names = resource_set_names(graph.resources, resource_names(graph.resource_table))
        return {
            "id": Column(np.arange(graph.num_tasks)),
            "device": Column(graph.device.astype(np.int64)),
            "kind": labelled(graph.kind, TASK_KINDS),
            "action": labelled(graph.action, action_names(actions)),
            "stage": Column(of_action(graph.action, actions.stage)),
            "microbatch": Column(of_action(graph.action, actions.microbatch)),
            "operator": labelled(graph.operator, graph.operator_names),
            "part": Column(graph.part.astype(np.int64)),
            "start_ns": Column(self.start_ns),
            "end_ns": Column(self.end_ns),
            "duration_ns": Column(graph.duration_ns),
            "num_bytes": Column(graph.num_bytes),
            "resources": labelled(sets, set_names),
        }


def of_action(
    action: NDArray[np.integer], column: NDArray[np.integer], otherwise: int = -1
) -> Int64:
    """Return ``column[action]``; ``otherwise`` for action -1."""
    values: Int64 = np.append(column.astype(np.int64), otherwise)[action]
    return values


def frame_of(columns: Mapping[str, Column]) -> pd.DataFrame:
    """Return columns as a table, those with labels as categories. Labels may repeat."""
    import pandas as pd

    return pd.DataFrame({name: _categorical(column) for name, column in columns.items()})


def _categorical(column: Column) -> Int64 | pd.Categorical[object]:
    import pandas as pd

    if column.labels is None:
        return column.values
    position, distinct = pd.factorize(np.array(column.labels, object))
    labels: pd.Categorical[object] = pd.Categorical.from_codes(
        position[column.values], pd.Index(distinct)
    )
    return labels
