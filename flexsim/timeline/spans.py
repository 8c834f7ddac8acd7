"""A timeline: when every task of a graph starts and ends, and its view as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flexsim.task_graph.columns import Int64, TaskGraph
from flexsim.task_graph.kinds import TASK_KINDS
from flexsim.timeline.names import action_names, resource_names, resource_set_names

if TYPE_CHECKING:
    import pandas as pd


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

    def to_frame(self) -> pd.DataFrame:
        """Return the spans as a table, a row a task in id order.

        Columns: ``id, device, kind, action`` (such as "7F3"), ``stage`` (global),
        ``microbatch, operator, part, start_ns, end_ns, duration_ns, num_bytes, resources``
        (names joined by "; "). Tasks outside any action have an empty action and -1.
        """
        import pandas as pd

        graph = self.task_graph
        actions = graph.actions
        sets, set_names = resource_set_names(graph.resources, resource_names(graph.resource_table))
        return pd.DataFrame(
            {
                "id": range(graph.num_tasks),
                "device": graph.device,
                "kind": categorical(graph.kind, TASK_KINDS),
                "action": categorical(graph.action, action_names(actions)),
                "stage": of_action(graph.action, actions.stage),
                "microbatch": of_action(graph.action, actions.microbatch),
                "operator": categorical(graph.operator, graph.operator_names),
                "part": graph.part,
                "start_ns": self.start_ns,
                "end_ns": self.end_ns,
                "duration_ns": graph.duration_ns,
                "num_bytes": graph.num_bytes,
                "resources": categorical(sets, set_names),
            }
        )


def of_action(
    action: NDArray[np.integer], column: NDArray[np.integer], otherwise: int = -1
) -> Int64:
    """Return ``column[action]``; ``otherwise`` for action -1."""
    values: Int64 = np.append(column.astype(np.int64), otherwise)[action]
    return values


def categorical(codes: NDArray[np.integer], names: Sequence[str]) -> pd.Categorical[object]:
    """Return ``names[codes]`` as a categorical column; "" for code -1. Names may repeat."""
    import pandas as pd

    position, distinct = pd.factorize(np.array([*names, ""], object))
    labels: pd.Categorical[object] = pd.Categorical.from_codes(
        position[codes.astype(np.int64)], pd.Index(distinct)
    )
    return labels
