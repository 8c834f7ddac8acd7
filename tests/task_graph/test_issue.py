"""A host that runs ahead of its devices: waits worked out by hand, and what always holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import flexsim
from flexsim.cost import load_software_profile
from flexsim.task_graph.issue import issued_rows
from flexsim.task_graph.places import Places
from flexsim.task_graph.rows import B, F, Row

HOST = replace(
    load_software_profile("megatron-lm"), host_time_per_kernel_ns=10.0, host_runs_ahead=True
)
ONE_DEVICE = Places(np.array([[0]], np.int32))


def kernel(
    duration_ns: int, issue_ns: int = 10, needs: tuple[int, ...] = (), action: int = F
) -> Row:
    """Return a kernel on one device."""
    numbers = np.array([duration_ns])
    return Row(0, action, 0, 0, ONE_DEVICE, numbers, numbers, needs, True, 0, issue_ns)


def durations(*rows: Row) -> list[int]:
    """Return what the rows last with the host."""
    return [int(row.duration_ns[0]) for row in issued_rows(rows, HOST)]


def test_short_kernels_are_as_fast_as_their_host() -> None:
    assert durations(kernel(1), kernel(1), kernel(1)) == [1, 10, 19]


def test_behind_a_long_kernel_short_ones_wait_no_more() -> None:
    assert durations(kernel(100), kernel(1), kernel(1)) == [100, 1, 1]


def test_a_long_kernel_at_the_end_waits_for_its_issue_alone() -> None:
    assert durations(kernel(1), kernel(1), kernel(100)) == [1, 10, 109]


def test_the_host_goes_on_issuing_during_a_collective() -> None:
    collective = kernel(50, needs=(0,))._replace(is_compute=False)
    assert durations(kernel(1), collective, kernel(1, needs=(1,))) == [1, 50, 1]


def test_every_action_begins_with_nothing_issued() -> None:
    rows = (kernel(100), kernel(1, action=B), kernel(1, action=B))
    assert durations(*rows) == [100, 1, 19]


def test_a_host_that_does_not_run_ahead_changes_no_row() -> None:
    rows = (kernel(1), kernel(1))
    assert issued_rows(rows, replace(HOST, host_runs_ahead=False)) is rows


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 30)), min_size=1, max_size=12))
def test_an_action_lasts_as_long_as_host_or_device_but_no_longer_than_kernel_by_kernel(
    kernels: list[tuple[int, int]],
) -> None:
    total = sum(durations(*[kernel(duration, issue) for duration, issue in kernels]))
    computing, issuing = (sum(column) for column in zip(*kernels, strict=True))
    assert max(computing, issuing) <= total <= sum(max(pair) for pair in kernels)


def test_a_small_model_takes_its_hosts_time_and_a_large_one_its_devices() -> None:
    def iteration_ns(hidden: int, software: str) -> float:
        content = {
            "model": {"name": "gpt", "layers": 2, "hidden": hidden, "heads": 8, "sequence": 512},
            "cluster": {"device_graph": "dgx-a100", "hosts": 1, "devices": 1},
            "training": {"global_batch": 2, "software": software},
            "strategy": {"name": "single"},
        }
        content["model"]["vocabulary"] = 1024  # type: ignore[index]
        scenario = flexsim.Scenario.from_dict(content)
        return float(flexsim.run(scenario).metrics["iteration_time_s"])

    small = iteration_ns(128, "megatron-deepspeed") / iteration_ns(128, "megatron-lm")
    large = iteration_ns(8192, "megatron-deepspeed") / iteration_ns(8192, "megatron-lm")
    assert small > 3
    assert large < 1.2


def test_folded_and_unfolded_runs_take_the_same_time() -> None:
    def iteration_s(folds: bool) -> float:
        content = {
            "model": {"name": "gpt", "layers": 4, "hidden": 256, "heads": 8, "sequence": 128},
            "cluster": {"device_graph": "dgx-a100", "hosts": 1},
            "training": {"global_batch": 8, "software": "megatron-deepspeed", "recompute": "full"},
            "strategy": {"name": "megatron", "tensor": 2, "pipeline": 2, "data": 2, "fold": folds},
        }
        content["model"]["vocabulary"] = 1024  # type: ignore[index]
        result = flexsim.run(flexsim.Scenario.from_dict(content))
        assert (result.metrics["num_tasks_folded_away"] > 0) == folds
        return float(result.metrics["iteration_time_s"])

    assert iteration_s(True) == iteration_s(False)
