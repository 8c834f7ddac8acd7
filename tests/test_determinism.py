"""The same bytes whatever seed Python hashes with."""

import os
import subprocess
import sys

CODE = """
import hashlib, numpy as np
from small_gpt import simulate_small
result = simulate_small(strategy={"pipeline": 2, "sequence_parallel": True},
                        training={"recompute": "selective"})
graph = result.task_graph
columns = (graph.action, graph.operator, graph.kind, graph.duration_ns, graph.num_bytes,
           graph.resources.values, graph.successors.values, result.timeline.start_ns)
print(hashlib.sha256(b"".join(np.ascontiguousarray(c).tobytes() for c in columns)).hexdigest())
print(result.metrics)
"""


def printed(seed):
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.path.dirname(__file__)}
    done = subprocess.run(
        [sys.executable, "-c", CODE], check=True, capture_output=True, text=True, env=environment
    )
    return done.stdout


def test_hash_seeds_change_nothing():
    first = printed("1")
    assert len(first.splitlines()) == 2
    assert printed("2") == first
