"""Work spread over processes and machines: one function, mapped over many items.

:func:`map_unordered` is the one way in. Here are the records that say where work is done, what
runs on a worker, how much of it is on its way, and the processes and clusters behind it.
"""

from flexsim.workers.records import Talk, WorkerDied, Workers
from flexsim.workers.spread import count_workers, loading, map_unordered
from flexsim.workers.talk import stop_is_asked, tell

__all__ = [
    "Talk",
    "WorkerDied",
    "Workers",
    "count_workers",
    "loading",
    "map_unordered",
    "stop_is_asked",
    "tell",
]
