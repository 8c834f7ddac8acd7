"""A graph of collectives that nothing else disturbs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flexsim.errors import FlexSimError, choices_text
from flexsim.ragged import Csr
from flexsim.task_graph.columns import ActionTable, ResourceTable, TaskGraph
from flexsim.task_graph.kinds import COLLECTIVE_CODE, COLLECTIVES, TASK_CODE


def alone_graph(collective: str, num_bytes: int, groups: NDArray[np.integer]) -> TaskGraph:
    """Return one task for each of ``groups`` ([K, g] device ids), all of them concurrent.

    Each holds a stream of every member. ``num_bytes`` is the full message, as
    :meth:`~flexsim.cost.collectives.Communication.collective_ns` counts it.
    """
    if collective not in COLLECTIVE_CODE or not collective:
        choices = choices_text(collective, COLLECTIVES[1:])
        raise FlexSimError(f"there is no collective {collective!r}: {choices}")
    count, width = groups.shape
    devices, held = np.unique(groups, return_inverse=True)
    kind, none = TASK_CODE["data"], np.zeros(0, np.int32)
    return TaskGraph(
        action=np.full(count, -1, np.int32),
        operator=np.zeros(count, np.int32),
        kind=np.full(count, kind, np.uint8),
        part=np.arange(count, dtype=np.int32),
        duration_ns=np.ones(count, np.int64),
        num_bytes=np.full(count, num_bytes, np.int64),
        resources=Csr(np.arange(count + 1) * width, held.reshape(-1).astype(np.int32)),
        successors=Csr(np.zeros(count + 1, np.int64), none),
        in_degree=np.zeros(count, np.int32),
        actions=ActionTable(none.astype(np.uint8), none, none, none),
        resource_table=ResourceTable(
            np.full(len(devices), kind, np.uint8),
            devices.astype(np.int32),
            np.full(len(devices), -1, np.int32),
        ),
        operator_names=(collective,),
        collective=np.full(count, COLLECTIVE_CODE[collective], np.uint8),
    )
