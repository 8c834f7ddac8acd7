"""What members of a short pipeline last once hosts, and sums of gradients, are looked at."""

from __future__ import annotations

import numpy as np

from flexsim.task_graph.columns import Int64
from flexsim.task_graph.growth import likes
from flexsim.task_graph.issue import issued_ns
from flexsim.task_graph.rows import B, F
from flexsim.task_graph.uniform import Seed


def with_host_ns(seed: Seed, layers_per_stage: int, num_stages: int, duration_ns: Int64) -> Int64:
    """Return what members last where gradients are added up and kernels wait for their issue.

    ``duration_ns`` is what those of a short pipeline last without, all stages priced alike.
    """
    if not seed.added_bytes_per_parameter and not seed.is_issued:
        return duration_ns
    strips = seed.stretched(layers_per_stage - seed.num_blocks)
    keys = [(like, kind) for like in likes(num_stages, seed).tolist() for kind in (F, B)]
    ends = np.cumsum([strips[key].num_tasks for key in keys])
    found: dict[tuple[int, int], Int64] = {}
    for key, part in zip(keys, np.split(duration_ns, ends[:-1]), strict=True):
        if key not in found:
            added = int(seed.added_bytes_per_parameter > 0 and key[1] == B)
            last_ns = strips[key].duration_ns[len(part) - added :]
            own_ns = np.concatenate([part[: len(part) - added], last_ns])
            found[key] = issued_ns(strips[key], own_ns)
    return np.concatenate([found[key] for key in keys])
