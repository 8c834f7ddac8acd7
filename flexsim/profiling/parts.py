"""The distinct kernels of a scenario: what has to be measured so that it can be simulated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flexsim.cost.work import Work
from flexsim.operator_graph.records import Operator, Step
from flexsim.scenario.prepare import Prepared
from flexsim.strategy.config import part_sizes
from flexsim.task_graph.pricing import work_of


@dataclass(frozen=True)
class Kernel:
    """A kernel of a part of an operator: its step, the sizes of the part, and the work."""

    operator: Operator
    step: Step
    box: Mapping[str, int]
    work: Work


def kernels_of(prepared: Prepared) -> list[Kernel]:
    """Return a kernel for every distinct work of a scenario, in the order of the graph."""
    found: dict[Work, Kernel] = {}
    for operator in prepared.graph.operators:
        for box in part_sizes(operator, prepared.strategy.configs[operator.name]).boxes:
            for step in operator.steps:
                if step.kernel != "alias":
                    work = work_of(prepared.graph, step, box)
                    found.setdefault(work, Kernel(operator, step, box, work))
    return list(found.values())


def optimizer_work(prepared: Prepared, num_parameters: int) -> Work:
    """Return the work of an optimizer's step over so many parameters of a device."""
    traffic = prepared.costs.software.optimizer_traffic_bytes_per_parameter
    return Work("optimizer", "U", 0, int(num_parameters * traffic), precision="fp32")


def added_work(prepared: Prepared, num_bytes: int) -> Work:
    """Return the work of adding two gradients of so many bytes: both are read, one written."""
    return Work("elementwise", "I", 0, 3 * num_bytes, precision=prepared.graph.precision)
