"""The compiled queue of kernels that hosts issue."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flexsim.numba_cache import kept_on_disk
from flexsim.task_graph.columns import Int32, Int64


@kept_on_disk
def waits_ns(
    duration_ns: Int64,
    is_kernel: NDArray[np.bool_],
    issue_ns: Int64,
    first_need: Int64,
    needs: Int32,
    first: Int64,
) -> Int64:
    """Return how long each task waits for its issue; those of an action are issued in order.

    An action begins at each task of ``first``. Task i waits for the tasks
    ``needs[first_need[i]:first_need[i + 1]]`` of its action, which stand before it. The last
    kernel lasts until all is issued.
    """
    waits, ends_ns = np.zeros_like(duration_ns), np.zeros_like(duration_ns)
    for action in range(len(first)):
        issued_ns, free_ns, last = 0, 0, -1
        end = first[action + 1] if action + 1 < len(first) else len(duration_ns)
        for task in range(first[action], end):
            ready_ns = 0
            for edge in range(first_need[task], first_need[task + 1]):
                ready_ns = max(ready_ns, ends_ns[needs[edge]])
            if is_kernel[task]:
                ready_ns = max(ready_ns, free_ns)
                waits[task] = max(0, issued_ns - ready_ns)
                ready_ns += waits[task]
                free_ns, last = ready_ns + duration_ns[task], task
            ends_ns[task] = ready_ns + duration_ns[task]
            issued_ns += issue_ns[task]
        if last >= 0:
            waits[last] += max(0, issued_ns - free_ns)
    return waits
