"""Activations and optimizer state on the host: transfers, their order, and what they save."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flexsim.device_graph import load_device_graph
from flexsim.engine.table import load_engine
from flexsim.errors import StrategyError
from flexsim.models import build_model, model_config
from flexsim.scenario.prepare import make_costs
from flexsim.strategy import BASELINES, Degrees
from flexsim.task_graph.build import plan_task_graph
from flexsim.task_graph.columns import TaskGraph
from flexsim.task_graph.kinds import TASK_CODE
from flexsim.timeline.memory import peak_memory
from flexsim.timeline.spans import Timeline

GPUS = load_device_graph("dgx-a100", 1)
COSTS = make_costs(GPUS)
SIZES = {"layers": 8, "hidden": 1024, "heads": 8, "sequence": 1024, "vocabulary": 4096}
MODEL = model_config("gpt", None, **SIZES)


def task_graph(degrees: Degrees, fold: bool = True) -> TaskGraph:
    graph = build_model(MODEL, 4 * degrees.data, "fp16")
    strategy = BASELINES["megatron"](graph, degrees)
    return plan_task_graph(graph, strategy, GPUS, COSTS, fold).task_graph()


def replayed(degrees: Degrees, fold: bool = True, engine: str = "compiled") -> Timeline:
    return load_engine(engine)(task_graph(degrees, fold), None)


def peak_bytes(timeline: Timeline) -> int:
    peak = peak_memory(timeline)
    assert peak is not None
    return int(peak.total.max())


def times(timeline: Timeline, kind: str, action: str = "") -> tuple[np.ndarray, np.ndarray]:
    graph = timeline.task_graph
    rows = graph.kind == TASK_CODE[kind]
    return timeline.start_ns[rows], timeline.end_ns[rows]


PIPELINE = Degrees(pipeline=2, num_microbatches=6)
ACTIVATIONS = replace(PIPELINE, offload=("activations",))
OPTIMIZER = Degrees(data=2, num_microbatches=2, offload=("optimizer",))


def test_every_layer_goes_out_and_comes_back_once_a_microbatch():
    graph = task_graph(ACTIVATIONS)
    counts = [int((graph.kind == TASK_CODE[kind]).sum()) for kind in ("offload", "reload")]
    assert counts == [8 * 6, 8 * 6]
    sizes = [graph.num_bytes[graph.kind == TASK_CODE[kind]] for kind in ("offload", "reload")]
    assert sorted(sizes[0]) == sorted(sizes[1])
    assert sizes[0].min() > 0


def test_activations_on_the_host_take_time_and_free_memory():
    plain, away = replayed(PIPELINE), replayed(ACTIVATIONS)
    assert peak_bytes(away) < 0.8 * peak_bytes(plain)
    assert away.makespan_ns > plain.makespan_ns


def test_a_layer_is_back_before_its_backward_begins():
    timeline = replayed(ACTIVATIONS)
    graph = timeline.task_graph
    backs = np.flatnonzero(graph.kind == TASK_CODE["reload"])
    for task in backs.tolist():
        followers = graph.successors.values[slice(*graph.successors.offsets[task : task + 2])]
        assert len(followers)
        assert (timeline.start_ns[followers] >= timeline.end_ns[task]).all()


def test_at_most_two_layers_of_a_forward_are_on_their_way():
    """Layer k + 2 of a forward begins when what layer k keeps has gone."""
    timeline = replayed(Degrees(num_microbatches=1, offload=("activations",)))
    graph = timeline.task_graph
    out = np.flatnonzero(graph.kind == TASK_CODE["offload"])
    names = np.array([name.split(".")[0] for name in graph.operator_names])
    forward = graph.kind == TASK_CODE["forward"]
    for number, task in enumerate(out.tolist()[:-2]):
        later = forward & (graph.operator >= 0) & (names[graph.operator] == f"layer{number + 2}")
        assert timeline.start_ns[later].min() >= timeline.end_ns[task]


@pytest.mark.parametrize("degrees", [ACTIVATIONS, OPTIMIZER, replace(OPTIMIZER, zero=1)])
def test_folded_and_both_engines_agree_with_offload(degrees: Degrees):
    folded, full = replayed(degrees), replayed(degrees, fold=False)
    assert folded.makespan_ns == full.makespan_ns
    assert replayed(degrees, engine="event").makespan_ns == folded.makespan_ns


def test_the_optimizer_on_the_host_keeps_nothing_on_the_device():
    plain, away = task_graph(replace(OPTIMIZER, offload=())), task_graph(OPTIMIZER)
    assert plain.static_memory is not None and away.static_memory is not None
    assert (away.static_memory.optimizer == 0).all() and (plain.static_memory.optimizer > 0).all()
    assert (away.static_memory.weights == plain.static_memory.weights).all()


def test_gradients_go_out_are_updated_and_weights_come_back_in_turn():
    timeline = replayed(OPTIMIZER)
    graph = timeline.task_graph
    kinds = [TASK_CODE[kind] for kind in ("offload", "host-update", "reload")]
    device = graph.device == graph.device[0]
    ends = [timeline.end_ns[(graph.kind == kind) & device] for kind in kinds]
    starts = [timeline.start_ns[(graph.kind == kind) & device] for kind in kinds]
    assert len({len(each) for each in ends}) == 1
    assert len(ends[0]) == 8 + 3, "layers, two embeddings, the last norm; the head is tied"
    assert (ends[0] <= starts[1]).all() and (ends[1] <= starts[2]).all()
    assert starts[2][0] < ends[1][-1], "the first weights return while others are updated"
    assert not (graph.kind == TASK_CODE["optimizer"]).any()
    out, back = (graph.num_bytes[(graph.kind == kind) & device] for kind in kinds[::2])
    assert out.sum() == back.sum(), "gradients and weights are of 16 bits"


def test_layers_recomputed_and_offloaded_keep_only_their_inputs():
    both = replace(ACTIVATIONS, recompute="full")
    graph = task_graph(both)
    size = graph.num_bytes[graph.kind == TASK_CODE["offload"]]
    assert set(size.tolist()) == {4 * 1024 * 1024 * 2}, "sequences x positions x hidden x 2 bytes"


def test_split_backwards_do_not_go_with_activations_on_the_host():
    degrees = replace(ACTIVATIONS, schedule="zb-h1")
    with pytest.raises(StrategyError, match=r"training\.offload = \['activations'\]"):
        task_graph(degrees)


def test_split_backwards_do_not_go_with_weights_in_shares():
    degrees = replace(PIPELINE, data=2, zero=3, schedule="zb-h1")
    with pytest.raises(StrategyError, match=r"strategy\.zero = 3 does not go with it"):
        task_graph(degrees)
