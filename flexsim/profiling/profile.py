"""``flexsim profile``: a table of measured times for one scenario."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from flexsim.cost.measured import Measurement, write_measured
from flexsim.errors import FlexSimError
from flexsim.scenario.prepare import prepare
from flexsim.scenario.schema import Scenario

Progress = Callable[[int, str], None]
"""Told how many rows there are, and what the last one is."""
_NUM_ITERATIONS = 12


def profile(
    scenario: Scenario,
    output: str | Path,
    *,
    device: str = "cpu",
    in_steps: bool = False,
    num_iterations: int = _NUM_ITERATIONS,
    progress: Progress | None = None,
) -> list[Measurement]:
    """Measure what a scenario consists of on this machine, and write the table to ``output``.

    Every distinct kernel alone, on ``device`` ("cpu" or "cuda"); or with ``in_steps`` inside real
    iterations, with a process a device of the scenario. Under ``torchrun`` collectives and
    transfers between its processes are measured instead. Needs PyTorch (the extra ``torch``);
    raise :class:`FlexSimError` without it, or where a kernel cannot be measured.
    """
    check_torch()
    rows = _rows(scenario, device, in_steps, num_iterations, progress)
    path = Path(output)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not is_follower():
        write_measured(path, rows)
    return rows


def _rows(
    scenario: Scenario,
    device: str,
    in_steps: bool,
    num_iterations: int,
    progress: Progress | None,
) -> list[Measurement]:
    from flexsim.profiling.alone import measure_alone
    from flexsim.profiling.communication import is_launched, measure_communication
    from flexsim.profiling.inside import measured_inside
    from flexsim.profiling.launch import train

    if is_launched():
        return measure_communication(device)
    prepared = prepare(scenario)
    if in_steps:
        return measured_inside(prepared, train(scenario, num_iterations))
    rows = []
    for row in measure_alone(prepared, device):
        rows.append(row)
        if progress is not None:
            progress(len(rows), f"{row.kernel} {row.step}")
    return rows


def check_torch() -> None:
    """Raise :class:`FlexSimError` where PyTorch is not installed."""
    try:
        import torch  # noqa: F401
    except ImportError:
        raise FlexSimError(
            "measuring needs PyTorch, which is not installed: pip install 'flexsim[torch]'"
        ) from None


def is_follower() -> bool:
    """Whether this is a process of ``torchrun`` that leaves writing and telling to the first."""
    return int(os.environ.get("RANK", "0")) > 0
