"""Shares of weights that are gathered one by one, while devices wait."""

from __future__ import annotations

import numpy as np
import pytest

import flexsim
from flexsim.files import data_directory
from flexsim.scenario.schema import Scenario
from flexsim.task_graph.kinds import NUM_COMPUTE_KINDS, TASK_CODE

LAYERS, WEIGHTS_A_LAYER = 3, 4
CONTENT = {
    "model": {
        "name": "gpt", "layers": LAYERS, "hidden": 1024, "heads": 8, "sequence": 512,
        "vocabulary": 8192,
    },
    "cluster": {"device_graph": "dgx-a100", "hosts": 2},
    "training": {
        "global_batch": 32, "micro_batch": 2, "software": "deepspeed-zero3-2021",
        "recompute": "full",
    },
    "strategy": {"name": "megatron", "tensor": 1, "data": 16, "zero": 3},
    "simulation": {},
}  # fmt: skip


def run(**changes):
    content = {table: dict(keys) for table, keys in CONTENT.items()}
    for key, value in changes.items():
        table, _, name = key.partition("__")
        content[table][name] = value
    return flexsim.run(Scenario.from_dict(content, "a test"))


def gathers(result, device=0) -> int:
    graph = result.timeline.task_graph
    return int(np.count_nonzero((graph.kind == TASK_CODE["parameter"]) & (graph.device == device)))


def test_what_a_backward_repeats_is_gathered_once_more() -> None:
    repeated, kept = run(), run(training__recompute="none")
    assert gathers(repeated) - gathers(kept) == LAYERS
    norms_and_positions = 2
    usual = run(training__software="megatron-deepspeed", training__recompute="none")
    assert gathers(usual) - gathers(kept) == norms_and_positions, "too small to be in shares"


def test_devices_wait_for_every_message() -> None:
    timeline = run().timeline
    graph = timeline.task_graph
    here = graph.device == 0
    order = np.argsort(timeline.start_ns[here], kind="stable")
    start, end = timeline.start_ns[here][order], timeline.end_ns[here][order]
    busy = np.isin(graph.kind[here][order], (TASK_CODE["parameter"], TASK_CODE["gradient"]))
    busy |= graph.kind[here][order] < NUM_COMPUTE_KINDS
    assert (start[busy][1:] >= end[busy][:-1]).all()


def test_messages_that_hold_the_compute_stream_are_no_computation() -> None:
    result = run()
    timeline, metrics = result.timeline, result.metrics
    graph = timeline.task_graph
    computes = (graph.device == 0) & graph.is_compute
    compute_ns = (timeline.end_ns - timeline.start_ns)[computes].sum()
    share = compute_ns / 1e9 / metrics["iteration_time_s"]
    assert metrics["compute_fraction"] == pytest.approx(share, rel=1e-9)
    assert metrics["exposed_communication_s"]["parameter"] > 0


def test_folded_and_in_full_it_takes_as_long() -> None:
    folded, full = run(), run(strategy__fold=False)
    assert folded.metrics["iteration_time_s"] == full.metrics["iteration_time_s"]


def test_time_grows_with_pieces(tmp_path) -> None:
    """Each message takes a piece's time a member and weight; small weights are never gathered."""
    text = data_directory("profiles") / "software/deepspeed-zero3-2021.toml"
    slow = tmp_path / "slow.toml"
    slow.write_text(text.read_text().replace('piece_time = "8 us"', 'piece_time = "108 us"'))
    result, slower = run(), run(training__software=str(slow))
    kind = result.timeline.task_graph.kind
    more = (slower.timeline.end_ns - slower.timeline.start_ns) - (
        result.timeline.end_ns - result.timeline.start_ns
    )
    of_layers = more[kind == TASK_CODE["parameter"]]
    assert of_layers.max() == pytest.approx(WEIGHTS_A_LAYER * 16 * 100_000, abs=WEIGHTS_A_LAYER)
    assert set(more[kind < NUM_COMPUTE_KINDS].tolist()) == {0}


def test_both_engines_agree_on_messages_that_block() -> None:
    times = {
        engine: run(simulation__engine=engine).metrics["iteration_time_s"]
        for engine in ("event", "compiled")
    }
    assert times["event"] == times["compiled"]
