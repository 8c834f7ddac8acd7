"""Trains two small networks on two cores, simulates the same, and compares: ``make truth``.

Times are measured inside the real iterations of one configuration of each network, collectives
and transfers between two idle processes; every other configuration is predicted from them. The
null model is the busiest process's own kernels, as if nobody ever waited.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import flexsim
from flexsim.cost.measured import TRANSFER, Measurement, write_measured
from flexsim.profiling.inside import measured_inside
from flexsim.profiling.launch import Run, measure_between, train
from flexsim.scenario.prepare import prepare

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Case:
    """A configuration: which scenario, with which changes."""

    name: str
    file: str
    changes: tuple[str, ...]
    is_profiled: bool = False

    def scenario(self, *further: str) -> flexsim.Scenario:
        """Return the scenario of this configuration."""
        return flexsim.load_scenario(HERE / self.file, [*self.changes, *further])


def pipeline(schedule: str, microbatches: int, is_profiled: bool = False) -> Case:
    """Return the Transformer in two stages."""
    changes = (f"strategy.schedule={schedule}", f"training.global_batch={microbatches}")
    name = f"two stages, {schedule}, {microbatches} microbatches"
    return Case(name, "transformer.toml", changes, is_profiled)


ALONE = ("cluster.devices=1", "strategy.pipeline=1", "training.global_batch=4")
TWICE = ("strategy.tensor=1", "training.global_batch=256")
CASES = (
    Case("Transformer, one process", "transformer.toml", ALONE),
    Case("data parallel", "transformer.toml", ("strategy.pipeline=1", "training.global_batch=8")),
    *(pipeline("gpipe", count) for count in (1, 2, 4, 8)),
    *(pipeline("1f1b", count, is_profiled=count == 4) for count in (2, 4, 8)),
    Case("MLP, one process", "mlp.toml", ("cluster.devices=1", "strategy.tensor=1")),
    Case(
        "MLP, data parallel", "mlp.toml", ("strategy.tensor=1", "training.global_batch=256"), True
    ),
    Case("MLP, tensor parallel", "mlp.toml", ()),
)


@dataclass(frozen=True)
class Outcome:
    """What a configuration took, was simulated to take, and takes if nobody waits."""

    case: Case
    measured_ns: float
    simulated_ns: int
    busiest_ns: int

    @property
    def error(self) -> float:
        """Of the simulation, as a share of what was measured."""
        return self.simulated_ns / self.measured_ns - 1

    @property
    def null_error(self) -> float:
        """Of the null model."""
        return self.busiest_ns / self.measured_ns - 1


def main() -> None:
    """Measure, simulate and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--only", default="", help="configurations whose name has this in it")
    parser.add_argument("--output", type=Path, help="a Markdown page to write")
    arguments = parser.parse_args()
    page = report(outcomes(chosen(arguments.only), arguments.iterations))
    if arguments.output is not None:
        arguments.output.write_text(page)
    print(page)


def chosen(part: str) -> list[Case]:
    """Return the configurations with ``part`` in their names, and those they are predicted from."""
    files = {case.file for case in CASES if part in case.name}
    return [
        case for case in CASES if part in case.name or (case.is_profiled and case.file in files)
    ]


def outcomes(cases: Sequence[Case], num_iterations: int) -> list[Outcome]:
    """Train and simulate configurations."""
    between = measure_between(2)
    runs = {case: train(case.scenario(), num_iterations) for case in cases}
    with tempfile.TemporaryDirectory() as folder:
        tables = {}
        for case, run in runs.items():
            if case.is_profiled:
                tables[case.file] = Path(folder) / f"{Path(case.file).stem}.csv"
                write_measured(tables[case.file], _rows(case, run, between))
        return [_outcome(case, run, tables[case.file]) for case, run in runs.items()]


def _rows(case: Case, run: Run, between: Sequence[Measurement]) -> list[Measurement]:
    """Return what was measured inside a run; what it did not send is taken from ``between``."""
    inside = measured_inside(prepare(case.scenario()), run)
    has_transfers = any(row.measured == TRANSFER for row in inside)
    return inside + [row for row in between if row.measured != TRANSFER or not has_transfers]


def _outcome(case: Case, run: Run, table: Path) -> Outcome:
    result = flexsim.run(case.scenario(f"cluster.measured_times={table}"))
    busy = result.timeline.to_frame()
    kernels = busy[busy.resources.str.endswith("compute")]
    busiest_ns = int(kernels.groupby("device").duration_ns.sum().max())
    simulated_ns = round(result.metrics["iteration_time_s"] * 1e9)
    return Outcome(case, iteration_ns(run), simulated_ns, busiest_ns)


def iteration_ns(run: Run) -> float:
    """Return the median over iterations from the first process's start to the last one's end."""
    return median(
        max(each.end_ns for each in same) - min(each.begin_ns for each in same)
        for same in zip(*run, strict=True)
    )


def report(found: Sequence[Outcome]) -> str:
    """Return a page with a row a configuration."""
    others = [each for each in found if not each.case.is_profiled]
    rows = [
        f"| {each.case.name}{' (profiled)' if each.case.is_profiled else ''}"
        f" | {each.measured_ns / 1e6:.1f} | {each.simulated_ns / 1e6:.1f} | {each.error:+.1%}"
        f" | {each.null_error:+.1%} |"
        for each in found
    ]
    means = [
        sum(abs(value) for value in values) / len(values)
        for values in ([e.error for e in others], [e.null_error for e in others])
    ]
    return HEAD.format(machine=machine()) + "\n".join(rows) + TAIL.format(*means)


def machine() -> str:
    """Return the processor's name and the versions that count."""
    import torch

    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, PyTorch {torch.__version__}"


HEAD = """# Against real training on two cores

`make truth` trains two small networks for real, with two processes on two cores of the machine
it runs on (gloo between them, one thread each), simulates the same configurations, and writes this
page. Kernels were timed inside the real iterations of one configuration of each network, marked
below; the others are predicted from these times, and from collectives and transfers between two
processes. Milliseconds are medians over iterations.

Measured on {machine}.

| configuration | measured, ms | simulated, ms | error | null model |
|---|--:|--:|--:|--:|
"""
TAIL = """

Mean absolute error of what was predicted: {:.1%}; of the null model, which takes the busiest
process's own kernels as if nobody ever waited: {:.1%}.

Gradients that are summed while the backward goes on are left out: gloo's own thread shares the core
with the kernels then, which is no property of a cluster.
"""

if __name__ == "__main__":
    main()
