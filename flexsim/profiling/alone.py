"""Kernels measured one by one: warmed up, repeated, the median and the spread of the times."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import torch

from flexsim.cost.measured import Measurement
from flexsim.operator_graph.records import Use
from flexsim.profiling.kernels import Tensors, run_step, shape_of
from flexsim.profiling.parts import Kernel, added_work, kernels_of, optimizer_work
from flexsim.scenario.prepare import Prepared

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_WARM_UP = 3
_LEAST_REPEATS, _MOST_REPEATS = 7, 200
_LONGEST_NS = 200_000_000
"""What one kernel's repetitions may take together, the least number of them aside."""
_ADDED_SIZES = (1 << 14, 1 << 18, 1 << 22)
_OPTIMIZER_SIZES = (1 << 16, 1 << 20, 1 << 23)


def measure_alone(prepared: Prepared, device: str = "cpu") -> Iterator[Measurement]:
    """Yield a row for every distinct kernel of a scenario, then for optimizer steps by size."""
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
    tensors = _operands(kernel, DTYPES[precision], device)

    def once() -> None:
        fresh = dict(tensors)
        with torch.no_grad():
            run_step(kernel.step, fresh, kernel.box)

    return Measurement.of_work(kernel.work, *summary(timed(once, device)))


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


def _operands(kernel: Kernel, dtype: torch.dtype, device: str) -> Tensors:
    """Return what a step reads: samples, and numbers of rows where rows are looked up."""
    tensors: Tensors = {}
    for m in kernel.step.maps:
        looked_up = next((use for use in m.reads if not use.dense), None)
        for use in (*m.reads, *m.addends):
            shape = shape_of(use, kernel.box)
            if looked_up is not None and use is not looked_up:
                rows = shape_of(looked_up, kernel.box)[-1 if _picks(kernel) else 0]
                tensors[use.tensor] = torch.randint(rows, shape, device=device)
            elif use.tensor not in tensors:
                tensors[use.tensor] = _sample(use, kernel, shape, dtype).to(device)
    return tensors


def _picks(kernel: Kernel) -> bool:
    """Whether a look-up picks from the last axis (a label's logit), not a row."""
    return kernel.step.kernel == "loss"


def _sample(use: Use, kernel: Kernel, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    name = use.tensor.rpartition(".")[2]
    if name in {"tokens", "labels"}:
        return torch.zeros(shape, dtype=torch.int64)
    if name == "statistic" and kernel.step.fusion == "layer-norm":
        return torch.rand((2, *shape, 1)) + 1
    if name == "statistic":
        return torch.rand((*shape, 1), dtype=dtype) + 1
    return torch.rand(shape, dtype=dtype)


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
