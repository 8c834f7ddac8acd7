"""Compare device profiles with measured operators, and fit their constants again.

    python benchmarks/fit_profiles.py --products gemm.csv --collectives nccl.csv [--fit]

The product table has the columns gpu, m, n, k, latency_ms; the collective table gpu, op,
ranks, nodes, bytes, time_us, source, notes; the training table gpu, op, shape_key, efficiency,
peak_tflops. Errors are |simulated / measured - 1|, median and mean.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from flexsim.cost.collectives import Communication
from flexsim.cost.link_table import LinkTable, slowest_collectives
from flexsim.cost.profiles import DeviceProfile, load_device_profile
from flexsim.cost.roofline import device_seconds
from flexsim.cost.work import Work
from flexsim.device_graph import load_device_graph

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Device:
    """A device type under the names that each side uses, and its table of collectives."""

    measured: str
    profile: str
    device_graph: str
    source: str
    note: str
    """What marks the rows to compare: sums of the width that training uses."""
    constants: tuple[str, ...]
    """The constants of collectives that the table can tell."""


MEASURED_V100_RANKS = 8
SMALL_BYTES, LARGE_BYTES = 2**20, 2**24
COLLECTIVES = {
    "all_reduce": "all-reduce",
    "all_gather": "all-gather",
    "reduce_scatter": "reduce-scatter",
    "alltoall": "all-to-all",
}
PRODUCT_CONSTANTS = (
    "matmul.efficiency",
    "matmul.half_depth",
    "matmul.launch_ns",
    "matmul.bandwidth_efficiency",
    "matmul.wave_weight",
    "matmul.tile_penalty",
)
COLLECTIVE_CONSTANTS = (
    "collectives.launch_ns",
    "collectives.copy_bandwidth_bytes_per_s",
    "collectives.ramp",
    "links.nvlink.efficiency",
    "links.nvlink.step_latency_ns",
)
IN_SWITCH_CONSTANTS = (
    "links.nvlink.in_switch_bandwidth_bytes_per_s",
    "links.nvlink.in_switch_latency_ns",
)
FEW_CONSTANTS = ("collectives.launch_ns", "collectives.ramp", "links.nvlink.efficiency")
DEVICES = (
    Device(
        *("A100-SXM4-80GB", "a100-80gb", "dgx-a100"),
        *("nccl_perf", "dtype=half", COLLECTIVE_CONSTANTS),
    ),
    Device(
        *("H100-80GB-HBM3", "h100-80gb", "dgx-h100"),
        *("nccl_perf", "dtype=half", COLLECTIVE_CONSTANTS + IN_SWITCH_CONSTANTS),
    ),
    Device(
        *("H200", "h200", "dgx-h200"),
        *("nccl_perf", "dtype=half", COLLECTIVE_CONSTANTS + IN_SWITCH_CONSTANTS),
    ),
    Device(
        *("B200", "b200", "dgx-b200"),
        *("nccl_perf", "dtype=half", COLLECTIVE_CONSTANTS + IN_SWITCH_CONSTANTS),
    ),
    Device(
        *("GB200", "gb200", "gb200-nvl72"),
        *("nccl_perf", "dtype=half", COLLECTIVE_CONSTANTS + IN_SWITCH_CONSTANTS),
    ),
    Device("V100", "v100-32gb", "dgx2h-v100", "vTrain all-reduce", "fp32", FEW_CONSTANTS),
)
LAYOUT_STEPS = {"TN": "F", "NN": "I", "NT": "W"}


def product_work(m: int, n: int, k: int, step: str = "F") -> Work:
    """Return the work of one bf16 product."""
    num_bytes = 2 * (m * k + k * n + m * n)
    return Work("matmul", step, 2 * m * n * k, num_bytes, (1, m, n, k), "bf16")


def product_seconds(table: pd.DataFrame, profile: DeviceProfile) -> Float:
    """Return simulated times of products run alone."""
    shapes = zip(table.m, table.n, table.k, strict=True)
    works = (product_work(int(m), int(n), int(k)) for m, n, k in shapes)
    return np.array([device_seconds(work, profile, sustained=False) for work in works])


def collective_seconds(table: pd.DataFrame, profile: DeviceProfile, graph_name: str) -> Float:
    """Return simulated times of collectives on the first devices of one host."""
    graph = load_device_graph(graph_name, 1)
    prices = Communication(
        graph, LinkTable.of(graph, [profile]), slowest_collectives([profile]), 0.0
    )
    rows = zip(table.op, table.bytes, table.ranks, strict=True)
    times = [
        prices.collective_ns(COLLECTIVES[op], int(size), np.arange(int(ranks))[None])[0]
        for op, size, ranks in rows
    ]
    return np.array(times) / 1e9


def collective_rows(table: pd.DataFrame, device: Device) -> pd.DataFrame:
    """Return the rows of one device inside one host.

    Of V100 only groups of 8: smaller ones of the measured host had few links of their own.
    """
    rows = table[(table.gpu == device.measured) & table.source.str.contains(device.source)]
    rows = rows[rows.notes.str.contains(device.note)]
    rows = rows[rows.ranks == MEASURED_V100_RANKS] if device.measured == "V100" else rows
    return rows.assign(bytes=rows.bytes.astype(float))


def changed(record: Any, path: str, change: Callable[[float], float]) -> Any:
    """Return a copy of nested records in which one constant is changed."""
    head, _, rest = path.partition(".")
    if isinstance(record, dict):
        return record | {head: changed(record[head], rest, change)}
    value = getattr(record, head)
    return replace(record, **{head: changed(value, rest, change) if rest else change(value)})


def constant(record: Any, path: str) -> float:
    """Return one constant of nested records."""
    for name in path.split("."):
        record = record[name] if isinstance(record, dict) else getattr(record, name)
    return float(record)


def fit(
    profile: DeviceProfile, paths: tuple[str, ...], error: Callable[[DeviceProfile], float]
) -> DeviceProfile:
    """Descend along one constant at a time, with steps that shrink."""
    best, step = error(profile), 0.1
    while step > 0.01:
        before = best
        for path in paths:
            for factor in (1 + step, 1 / (1 + step)):
                trial = changed(profile, path, factor.__mul__)
                trial_error = error(trial)
                if trial_error < best:
                    profile, best = trial, trial_error
        step = step if best < before else step / 2
    return profile


def report(title: str, simulated: Float, measured: Float) -> None:
    """Print the median and the mean error."""
    errors = np.abs(simulated / measured - 1)
    print(
        f"{title:44} {len(errors):5} rows"
        f"  median {np.median(errors):6.1%}  mean {errors.mean():6.1%}"
    )


def log_error(simulated: Float, measured: Float) -> float:
    """Return the mean absolute logarithm of the ratio: equal weight for fast and slow."""
    return float(np.mean(np.abs(np.log(simulated / measured))))


def product_error(table: pd.DataFrame, profile: DeviceProfile) -> float:
    """Return the error to be fitted for products."""
    return log_error(product_seconds(table, profile), table.latency_ms.to_numpy() / 1e3)


def collective_error(table: pd.DataFrame, graph_name: str, profile: DeviceProfile) -> float:
    """Return the error to be fitted for collectives."""
    simulated = collective_seconds(table, profile, graph_name)
    return log_error(simulated, table.time_us.to_numpy() / 1e6)


def print_constants(profile: DeviceProfile, paths: tuple[str, ...]) -> None:
    """Print fitted constants."""
    for path in paths:
        print(f"    {path} = {constant(profile, path):.4g}")


def compare_products(path: str, refit: bool) -> None:
    """Report isolated matrix products."""
    table = pd.read_csv(path)
    for device in DEVICES:
        rows = table[table.gpu == device.measured]
        if rows.empty:
            continue
        profile = load_device_profile(device.profile)
        if refit:
            profile = fit(profile, PRODUCT_CONSTANTS, partial(product_error, rows.iloc[::5]))
            print_constants(profile, PRODUCT_CONSTANTS)
        simulated, measured = product_seconds(rows, profile), rows.latency_ms.to_numpy() / 1e3
        report(f"{device.profile}: products", simulated, measured)
        large = (2.0 * rows.m * rows.n * rows.k > 5e10).to_numpy()
        report(f"{device.profile}: products over 5e10 FLOPs", simulated[large], measured[large])


def compare_collectives(path: str, refit: bool) -> None:
    """Report collectives inside a host."""
    table = pd.read_csv(path)
    for device in DEVICES:
        rows, graph = collective_rows(table, device), device.device_graph
        profile = load_device_profile(device.profile)
        if refit:
            profile = fit(profile, device.constants, partial(collective_error, rows, graph))
            print_constants(profile, device.constants)
        simulated = collective_seconds(rows, profile, graph)
        measured = rows.time_us.to_numpy() / 1e6
        large, sums = rows.bytes >= LARGE_BYTES, rows.op == "all_reduce"
        kinds = {
            "collectives": rows.bytes > 0,
            "collectives, 16 MiB or more": large,
            "collectives, 1 MiB or less": rows.bytes <= SMALL_BYTES,
            "all-reduces, 16 MiB or more": large & sums,
        }
        for title, chosen in kinds.items():
            report(f"{device.profile}: {title}", simulated[chosen], measured[chosen])


def compare_training(path: str) -> None:
    """Report products of training steps on A100-PCIe, priced as sustained."""
    table = pd.read_csv(path)
    rows = table[(table.gpu == "A100-PCIe-80GB") & (table.op == "matmul")]
    profile = load_device_profile("a100-80gb")
    found: dict[str, list[tuple[float, float]]] = {step: [] for step in LAYOUT_STEPS.values()}
    for key, share, peak in zip(rows.shape_key, rows.efficiency, rows.peak_tflops, strict=True):
        sizes = {name: int(size) for name, size in re.findall(r"\b([mnk])=(\d+)", key)}
        layout = re.search(r"layout=(\w+)", key)
        if layout is None:
            continue
        work = product_work(**sizes, step=LAYOUT_STEPS[layout.group(1)])
        found[work.step].append((device_seconds(work, profile), work.flops / (share * peak * 1e12)))
    for step, pairs in found.items():
        simulated, measured = np.array(pairs).T
        bias = np.median(simulated / measured) - 1
        report(f"a100-80gb sustained, step {step}, bias {bias:+.1%}", simulated, measured)


def main() -> None:
    """Read the arguments and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--products", help="CSV of isolated bf16 products")
    parser.add_argument("--collectives", help="CSV of collectives")
    parser.add_argument("--training", help="CSV of training operators as shares of peak")
    parser.add_argument("--fit", action="store_true", help="fit again from the profile's values")
    arguments = parser.parse_args()
    if arguments.products:
        compare_products(arguments.products, arguments.fit)
    if arguments.collectives:
        compare_collectives(arguments.collectives, arguments.fit)
    if arguments.training:
        compare_training(arguments.training)


if __name__ == "__main__":
    main()
