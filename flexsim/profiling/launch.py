"""Starts the processes of a training run, one a device and core, and collects their stamps."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import distributed, multiprocessing

from flexsim.cost.measured import Measurement
from flexsim.errors import FlexSimError
from flexsim.profiling.communication import measure_communication
from flexsim.profiling.training import Iteration, Trainer
from flexsim.scenario.prepare import prepare
from flexsim.scenario.schema import Scenario

Run = list[list[Iteration]]
"""Iterations of every process."""

_SEED = 0


def train(scenario: Scenario, num_iterations: int, warm_up: int = 3) -> Run:
    """Train ``scenario`` on this machine, a process a device, and return what each stamped.

    The iterations of the warm-up are thrown away. Processes are spread over the cores, each with
    one thread.
    """

    num_processes = len(prepare(scenario).strategy.devices)
    found = _on_processes(num_processes, _iterations, (scenario, num_iterations + warm_up))
    return [iterations[warm_up:] for iterations in found]


def measure_between(num_processes: int) -> list[Measurement]:
    """Return what collectives and transfers take between so many processes of this machine."""
    rows: list[Measurement] = _on_processes(num_processes, _communication, ())[0]
    return rows


def _on_processes(count: int, work: Callable[..., Any], arguments: tuple[Any, ...]) -> list[Any]:
    """Return what ``work(rank, *arguments)`` returns on each of ``count`` new processes."""
    with tempfile.TemporaryDirectory() as folder:
        logging.getLogger(multiprocessing.spawn.__module__).setLevel(logging.ERROR)
        try:
            multiprocessing.spawn(_process, (count, work, arguments, Path(folder)), nprocs=count)
        except multiprocessing.ProcessRaisedException:
            _raise_told(Path(folder))
            raise
        files = [_file(Path(folder), rank) for rank in range(count)]
        return [torch.load(file, weights_only=False) for file in files]


def _file(folder: Path, rank: int) -> Path:
    return folder / f"rank{rank}"


def _raise_told(folder: Path) -> None:
    """Raise the sentence that a process has left, if one has."""
    for path in folder.glob("refused*"):
        raise FlexSimError(path.read_text()) from None


def _process(
    rank: int, size: int, work: Callable[..., Any], arguments: tuple[Any, ...], folder: Path
) -> None:
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[rank % len(cores)]})
    torch.set_num_threads(1)
    torch.manual_seed(_SEED + rank)
    store = f"file://{folder / 'store'}"
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=size)
    try:
        found = work(rank, *arguments)
    except FlexSimError as problem:
        (folder / f"refused{rank}").write_text(str(problem))
        raise
    distributed.destroy_process_group()
    torch.save(found, _file(folder, rank))


def _iterations(rank: int, scenario: Scenario, count: int) -> list[Iteration]:
    prepared = prepare(scenario)
    trainer = Trainer(prepared, int(prepared.strategy.devices[rank]))
    return [trainer.iterate() for _ in range(count)]


def _communication(rank: int) -> list[Measurement]:
    return measure_communication()
