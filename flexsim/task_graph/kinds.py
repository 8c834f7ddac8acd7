"""The kinds of tasks and actions: one table each, codes are positions."""

from __future__ import annotations

COMPUTE_KINDS = (
    "forward",
    "backward",
    "input-gradient",
    "weight-gradient",
    "recompute",
    "optimizer",
)
COMMUNICATION_KINDS = (
    "tensor",
    "context",
    "expert",
    "data",
    "pipeline",
    "gradient",
    "embedding",
    "gradient-norm",
    "reshard",
    "parameter",
    "offload",
    "reload",
    "host-update",
)
"""The last three are a device's link to its host, from it and to it, and the host's own work."""
TASK_KINDS = COMPUTE_KINDS + COMMUNICATION_KINDS
TASK_CODE = {name: code for code, name in enumerate(TASK_KINDS)}
NUM_COMPUTE_KINDS = len(COMPUTE_KINDS)

COLLECTIVES = ("", "all-reduce", "all-gather", "reduce-scatter", "all-to-all", "broadcast")
"""What a task's members do together; the first stands for compute and point-to-point."""
COLLECTIVE_CODE = {name: code for code, name in enumerate(COLLECTIVES)}

ACTION_KINDS = ("F", "B", "I", "W", "U")
"""Forward, full backward, input gradient, weight gradient, update (synchronize and step)."""
ACTION_CODE = {name: code for code, name in enumerate(ACTION_KINDS)}
