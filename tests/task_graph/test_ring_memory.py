"""What context parallelism holds of other devices' keys and values, by its ways."""

from __future__ import annotations

import numpy as np
import pytest

from flexsim.device_graph import load_device_graph
from flexsim.models import build_model, model_config
from flexsim.scenario.prepare import make_costs
from flexsim.strategy import Degrees, megatron
from flexsim.task_graph.build import plan_task_graph
from flexsim.task_graph.columns import DYNAMIC_PARTS
from flexsim.task_graph.rows import B, F

GPUS = load_device_graph("dgx-a100", 1)
COSTS = make_costs(GPUS)
SIZES = {"layers": 1, "hidden": 1024, "heads": 8, "sequence": 8192, "vocabulary": 1024}
KEYS_AND_VALUES = 2 * 2 * SIZES["sequence"] * SIZES["hidden"]


def most(method: str, ways: int, kind: int, part: str) -> int:
    """Return the most that a device holds of a part during a pass."""
    graph = build_model(model_config("llama", None, **SIZES), 1, "bf16")
    strategy = megatron(graph, Degrees(context=ways, context_method=method))
    memory = plan_task_graph(graph, strategy, GPUS, COSTS).stage_memory
    levels = memory.curves[0, kind].curves[0].levels()
    return int(levels[:, DYNAMIC_PARTS.index(part)].max())


@pytest.mark.parametrize("ways", [2, 4, 8])
def test_a_ring_holds_the_block_in_use_and_the_one_that_comes(ways: int) -> None:
    assert most("all-gather", ways, F, "buffers") == KEYS_AND_VALUES
    assert most("ring", ways, F, "buffers") == KEYS_AND_VALUES * min(2, ways - 1) // ways
    assert most("ring", ways, B, "buffers") < most("all-gather", ways, B, "buffers")


@pytest.mark.parametrize("ways", [2, 4, 8])
def test_sums_of_keys_gradients_go_round_too(ways: int) -> None:
    gathered, ring = (most(way, ways, B, "temporary") for way in ("all-gather", "ring"))
    assert gathered - ring <= KEYS_AND_VALUES - KEYS_AND_VALUES * min(2, ways - 1) // ways
    assert ring <= gathered


def test_what_is_kept_does_not_depend_on_the_way() -> None:
    kept = [most(way, 4, F, "activations") for way in ("all-gather", "ring", "ulysses")]
    assert np.ptp(kept) < 0.01 * kept[0]
