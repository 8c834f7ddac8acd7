"""Kernels measured one by one: warmed up, repeated, the median and the spread of the times."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from math import prod

import numpy as np
import torch

from flexsim.cost.measured import Measurement
from flexsim.operator_graph.records import GRADIENT, Use
from flexsim.profiling.experts import CHOSEN, numbers_beside
from flexsim.profiling.kernels import run_step
from flexsim.profiling.parts import Kernel, added_work, kernels_of, optimizer_work
from flexsim.profiling.tensors import Tensors, looked_up, shape_of
from flexsim.scenario.prepare import Prepared

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_WARM_UP = 3
_LEAST_REPEATS, _MOST_REPEATS = 7, 200
_LONGEST_NS = 200_000_000
"""What one kernel's repetitions may take together, the least number of them aside."""
_ADDED_SIZES = (1 << 14, 1 << 18, 1 << 22)
_OPTIMIZER_SIZES = (1 << 16, 1 << 20, 1 << 23)


def measure_alone(prepared: Prepared, device: str = "cpu") -> Iterator[Measurement]:
    """Yield a row for every distinct kernel of a scenario, then for optimizer steps by size.

    A device of type CPU is one core, unless OMP_NUM_THREADS says how many it has.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    try:
        yield from _measured(prepared, device)
    finally:
        torch.set_num_threads(before)


def _measured(prepared: Prepared, device: str) -> Iterator[Measurement]:
    for kernel in kernels_of(prepared):
        yield measure_kernel(kernel, prepared.graph.stored_precision, device)
    dtype = DTYPES[prepared.graph.stored_precision]
    for num_elements in _ADDED_SIZES:
        work = added_work(prepared, num_elements * dtype.itemsize)
        times_ns = timed(_sum(num_elements, dtype, device), device)
        yield Measurement.of_work(work, *summary(times_ns))
    for num_parameters in _OPTIMIZER_SIZES:
        work = optimizer_work(prepared, num_parameters)
        times_ns = timed(_adam(num_parameters, device), device)
        yield Measurement.of_work(work, *summary(times_ns))


def measure_kernel(kernel: Kernel, precision: str, device: str = "cpu") -> Measurement:
    """Measure one kernel of a part, on random tensors of the part's sizes."""
    tensors = operands(kernel, DTYPES[precision], device)
    _warm(kernel, tensors)

    def once() -> None:
        fresh = dict(tensors)
        with torch.no_grad():
            run_step(kernel.operator, kernel.step, fresh, kernel.box)

    return Measurement.of_work(kernel.work, *summary(timed(once, device)))


def _warm(kernel: Kernel, tensors: Tensors) -> None:
    """Run a backward once, so that what it needs of its forward is there."""
    if kernel.step.pass_name == "I":
        fresh = dict(tensors)
        with torch.no_grad():
            run_step(kernel.operator, kernel.step, fresh, kernel.box)
        written = {use.tensor for use in kernel.step.writes}
        tensors.update({name: x for name, x in fresh.items() if name not in written})


def timed(run: Callable[[], object], device: str) -> list[int]:
    """Return nanoseconds of repetitions, after a warm-up; on a GPU each is waited for."""
    wait = torch.cuda.synchronize if device.startswith("cuda") else _nothing
    for _ in range(_WARM_UP):
        run()
    wait()
    times: list[int] = []
    while len(times) < _LEAST_REPEATS or (len(times) < _MOST_REPEATS and sum(times) < _LONGEST_NS):
        begin_ns = time.perf_counter_ns()
        run()
        wait()
        times.append(time.perf_counter_ns() - begin_ns)
    return times


def summary(times_ns: list[int]) -> tuple[int, float, int]:
    """Return the median, the distance of the quartiles over it, and how many there were."""
    low, median, high = np.percentile(times_ns, [25, 50, 75])
    return max(1, round(float(median))), float((high - low) / max(median, 1.0)), len(times_ns)


def _nothing() -> None:
    """There is nothing to wait for on a CPU."""


def operands(kernel: Kernel, dtype: torch.dtype, device: str) -> Tensors:
    """Return what a step reads: samples, and numbers of rows where rows are looked up."""
    tensors: Tensors = {}
    rows = looked_up(kernel.operator, kernel.box)
    for use in kernel.step.reads:
        shape = shape_of(use, kernel.box)
        if use.tensor in rows:
            found = torch.randint(rows[use.tensor], shape)
        elif use.tensor in tensors and tensors[use.tensor].numel() >= prod(shape):
            continue
        else:
            found = _sample(use, kernel, shape, dtype)
        tensors[use.tensor] = found.to(device)
        if use.dims == CHOSEN and not use.tensor.startswith(GRADIENT):
            tensors[numbers_beside(use.tensor)] = _experts(kernel, shape).to(device)
    return tensors


def _sample(use: Use, kernel: Kernel, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    name = use.tensor.rpartition(".")[2]
    if name == "statistic" and kernel.step.fusion == "layer-norm":
        return torch.rand((2, *shape, 1)) + 1
    if name == "statistic" and kernel.operator.kind == "batch-norm":
        return torch.rand((2, *shape)) + 1
    if name == "statistic":
        return torch.rand((*shape, 1), dtype=dtype) + 1
    return torch.rand(shape, dtype=dtype)


def _experts(kernel: Kernel, shape: tuple[int, ...]) -> torch.Tensor:
    """Return a random choice of different experts for every token."""
    *tokens, chosen = shape
    num_experts = kernel.box.get("e") or kernel.box["route"]
    return torch.rand((*tokens, num_experts)).topk(chosen, dim=-1).indices


def _sum(num_elements: int, dtype: torch.dtype, device: str) -> Callable[[], object]:
    """Return the addition of two gradients."""
    first, second = torch.rand(2, num_elements, device=device).to(dtype)
    return lambda: first + second


def _adam(num_parameters: int, device: str) -> Callable[[], object]:
    weight = torch.zeros(num_parameters, device=device)
    weight.grad = torch.rand(num_parameters, device=device)
    optimizer = torch.optim.Adam([weight], lr=1e-3, foreach=False)
    step: Callable[[], object] = optimizer.step
    return step
