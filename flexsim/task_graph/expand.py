"""From an operator graph to its program: the passes, one after the other."""

from __future__ import annotations

from flexsim.cost.costs import Costs
from flexsim.device_graph import DeviceGraph
from flexsim.operator_graph.graph import OperatorGraph
from flexsim.strategy.strategy import Strategy
from flexsim.task_graph.backward import BackwardPass
from flexsim.task_graph.forward import ForwardPass
from flexsim.task_graph.narrow import keeps_products, kept_in_fp8
from flexsim.task_graph.pricing import Pricing
from flexsim.task_graph.program import Program
from flexsim.task_graph.rows import Notebook


def build_program(
    graph: OperatorGraph,
    strategy: Strategy,
    devices: DeviceGraph,
    costs: Costs,
    splits: bool = False,
) -> Program:
    """Return the rows of one microbatch of ``graph`` under ``strategy``.

    ``splits`` says whether weight gradients may run later than input gradients.
    """
    program = Program(
        graph,
        strategy,
        Notebook(),
        Pricing(graph, devices, costs),
        splits=splits,
        narrow=kept_in_fp8(graph, costs.software.kept_in_fp8),
        narrow_gradients=keeps_products(graph, costs.software.kept_in_fp8),
    )
    forward = ForwardPass(program)
    for operator in graph.operators:
        forward.run(operator)
    program.notebook.forward_flops = program.notebook.flops
    program.offload.end_forward()
    backward = BackwardPass(program, forward, costs.software)
    for operator in reversed(graph.operators):
        backward.run(operator)
    program.offload.set_sizes()
    return program
