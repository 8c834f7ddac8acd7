"""Kernels as symbols: asked once, and priced for every number of samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flexsim.cost.costs import Costs
from flexsim.cost.work import Work
from flexsim.operator_graph.graph import SAMPLE_DIM, OperatorGraph
from flexsim.operator_graph.records import Operator, Step
from flexsim.strategy.config import ParallelConfig, part_sizes
from flexsim.strategy.mesh import Mesh
from flexsim.task_graph.columns import Int64
from flexsim.task_graph.pricing import Priced, Pricing, Typed

KERNEL = 2**59
"""Durations and bytes from here on, up to those of messages, are symbols of kernels."""

UNEQUAL = -1
"""Duration of a kernel that does not do the same on all devices."""

Question = tuple[Operator, ParallelConfig, Step] | tuple[Work, Mesh]


class Enquiry(Pricing):
    """Answers with symbols: ``KERNEL + i`` stands for question i."""

    def __init__(self, graph: OperatorGraph, devices: Typed, costs: Costs) -> None:
        """Keep what is needed to price later."""
        super().__init__(graph, devices, costs)
        self.questions: list[Question] = []
        self._number_of: dict[tuple[Work, int], int] = {}

    def _price(self, operator: Operator, config: ParallelConfig, step: Step) -> Priced:
        sizes = part_sizes(operator, config)
        counts = np.bincount(sizes.box_of_part, minlength=len(sizes.boxes)).tolist()
        pairs = zip(counts, sizes.boxes, strict=True)
        flops = sum(count * step.nominal_flops(box) for count, box in pairs)
        number = self._ask((operator, config, step))
        symbol = UNEQUAL if len(sizes.boxes) > 1 else number
        return Priced(self._all(symbol, config.mesh), self._all(number, config.mesh), flops)

    def durations(
        self, works: list[Work], work_of_part: NDArray[np.int64], mesh: Mesh
    ) -> NDArray[np.int64]:
        """Return the symbol of one kernel on all devices."""
        key = works[0], mesh.size
        if key not in self._number_of:
            self._number_of[key] = self._ask((works[0], mesh))
        number = self._number_of[key]
        return self._all(UNEQUAL if len(works) > 1 else number, mesh)

    def _ask(self, question: Question) -> int:
        self.questions.append(question)
        return KERNEL + len(self.questions) - 1

    def _all(self, value: int, mesh: Mesh) -> Int64:
        return np.full(mesh.size, value, np.int64)


@dataclass(frozen=True, eq=False)
class Answers:
    """Duration and bytes of every question."""

    duration_ns: Int64
    num_bytes: Int64


def answers(pricing: Pricing, questions: Sequence[Question], times: int) -> Answers:
    """Price all questions for ``times`` as many samples as they were asked for."""
    rows = np.array([_answer(pricing, question, times) for question in questions], np.int64)
    duration_ns, num_bytes = rows.reshape(-1, 2).T
    return Answers(duration_ns, num_bytes)


def _answer(pricing: Pricing, question: Question, times: int) -> tuple[int, int]:
    if len(question) == 3:
        operator, config, step = question
        priced = pricing.compute(_larger(operator, times), config, step)
        return int(priced.duration_ns[0]), int(priced.num_bytes[0])
    work, mesh = question
    more = replace(work, flops=work.flops * times, num_bytes=work.num_bytes * times)
    return int(pricing.durations([more], np.zeros(mesh.size, np.int64), mesh)[0]), more.num_bytes


def _larger(operator: Operator, times: int) -> Operator:
    """Return an operator on ``times`` as many samples."""
    dims = tuple(
        replace(dim, size=dim.size * times) if dim.name == SAMPLE_DIM else dim
        for dim in operator.dims
    )
    return replace(operator, dims=dims)
