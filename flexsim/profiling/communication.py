"""Collectives and transfers between the processes that ``torchrun`` started, timed by size."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import torch
from torch import Tensor, distributed

from flexsim.cost.measured import TRANSFER, Measurement
from flexsim.profiling.alone import summary

SIZES = tuple(1 << power for power in range(10, 27, 2))
"""Bytes: 1 KiB to 64 MiB."""
_WARM_UP, _REPEATS = 3, 15


def is_launched() -> bool:
    """Whether this process is one of several that ``torchrun`` started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def measure_communication(device: str = "cpu") -> list[Measurement]:
    """Time what the backend has, on all processes; every process gets the same rows.

    A collective takes as long as its slowest member; a transfer is half of there and back.
    """
    backend = "nccl" if device.startswith("cuda") else "gloo"
    if not distributed.is_initialized():
        distributed.init_process_group(backend)
    members = distributed.get_world_size()
    return [
        _measured(name, run, size, members, device)
        for name, run in _collectives(backend).items()
        for size in SIZES
    ]


def _measured(
    name: str, run: Callable[[Tensor], None], num_bytes: int, members: int, device: str
) -> Measurement:
    buffer = torch.zeros(max(members, num_bytes // 4 // members * members), device=device)
    times_ns = []
    for repeat in range(_WARM_UP + _REPEATS):
        distributed.barrier()
        begin_ns = time.perf_counter_ns()
        run(buffer)
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        taken = torch.tensor([time.perf_counter_ns() - begin_ns], device=device)
        distributed.all_reduce(taken, op=distributed.ReduceOp.MAX)
        if repeat >= _WARM_UP:
            times_ns.append(int(taken) // (2 if name == TRANSFER else 1))
    time_ns, spread, repeats = summary(times_ns)
    return Measurement(
        name,
        members=members,
        num_bytes=buffer.nbytes,
        time_ns=time_ns,
        spread=round(spread, 4),
        repeats=repeats,
    )


def _collectives(backend: str) -> dict[str, Callable[[Tensor], None]]:
    """Return what is timed: gloo has no reduce-scatter and no all-to-all."""
    found: dict[str, Callable[[Tensor], None]] = {
        "all-reduce": distributed.all_reduce,
        "broadcast": lambda buffer: distributed.broadcast(buffer, 0),
        "all-gather": lambda buffer: distributed.all_gather(_shares(buffer), _own(buffer)),
        TRANSFER: _there_and_back,
    }
    if backend == "nccl":
        found["reduce-scatter"] = lambda b: distributed.reduce_scatter_tensor(_own(b), b)
        found["all-to-all"] = lambda b: distributed.all_to_all_single(torch.empty_like(b), b)
    return found


def _shares(buffer: Tensor) -> list[Tensor]:
    return list(buffer.chunk(distributed.get_world_size()))


def _own(buffer: Tensor) -> Tensor:
    return _shares(buffer)[distributed.get_rank()].clone()


def _there_and_back(buffer: Tensor) -> None:
    """Send from the first process to the second and back; the others wait."""
    rank = distributed.get_rank()
    if rank == 0:
        distributed.send(buffer, 1)
        distributed.recv(buffer, 1)
    elif rank == 1:
        distributed.recv(buffer, 0)
        distributed.send(buffer, 0)
