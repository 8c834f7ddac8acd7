"""Kernels as symbols: asked once, and priced for every number of samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

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


class Kernel(NamedTuple):
    """What a step of an operator costs; equal keys, equal answers on one device type."""

    key: tuple[object, ...]
    operator: Operator
    config: ParallelConfig
    step: Step

    def answer(self, pricing: Pricing, times: int) -> Answer:
        """Return the answer for ``times`` as many samples."""
        priced = pricing.compute(_larger(self.operator, times), self.config, self.step)
        return int(priced.duration_ns[0]), int(priced.num_bytes[0])


class Loose(NamedTuple):
    """What a kernel of no operator costs."""

    key: tuple[object, ...]
    work: Work
    mesh: Mesh

    def answer(self, pricing: Pricing, times: int) -> Answer:
        """Return the answer for ``times`` as many samples."""
        work, parts = self.work, np.zeros(self.mesh.size, np.int64)
        more = replace(work, flops=work.flops * times, num_bytes=work.num_bytes * times)
        return int(pricing.durations([more], parts, self.mesh)[0]), more.num_bytes


Answer = tuple[int, int]
"""Duration and bytes."""
Question = Kernel | Loose
Known = dict[tuple[object, ...], Answer]
"""Answers by a question's key and the number of samples."""


class Enquiry(Pricing):
    """Answers with symbols: ``KERNEL + i`` stands for question i."""

    def __init__(self, graph: OperatorGraph, devices: Typed, costs: Costs) -> None:
        """Keep what is needed to price later."""
        super().__init__(graph, devices, costs)
        self.questions: list[Question] = []
        self._number_of: dict[tuple[object, ...], int] = {}

    def _price(self, operator: Operator, config: ParallelConfig, step: Step) -> Priced:
        sizes = part_sizes(operator, config)
        counts = np.bincount(sizes.box_of_part, minlength=len(sizes.boxes)).tolist()
        pairs = zip(counts, sizes.boxes, strict=True)
        flops = sum(count * step.nominal_flops(box) for count, box in pairs)
        number = self._ask(Kernel(self._key(operator, config, step), operator, config, step))
        symbol = UNEQUAL if len(sizes.boxes) > 1 else number
        return Priced(
            self._all(symbol, config.mesh),
            self._all(number, config.mesh),
            flops,
            self.issue_of_step_ns(step, sizes.boxes),
        )

    def durations(
        self, works: list[Work], work_of_part: NDArray[np.int64], mesh: Mesh
    ) -> NDArray[np.int64]:
        """Return the symbol of one kernel on all devices."""
        key = works[0], mesh.size
        if key not in self._number_of:
            self._number_of[key] = self._ask(Loose(key, works[0], mesh))
        number = self._number_of[key]
        return self._all(UNEQUAL if len(works) > 1 else number, mesh)

    def _key(self, operator: Operator, config: ParallelConfig, step: Step) -> tuple[object, ...]:
        shape = config.splits, config.mesh.names, config.mesh.shape
        return operator.key, shape, self.key(step)

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


def answers(
    pricing: Pricing, questions: Sequence[Question], times: int, known: Known | None = None
) -> Answers:
    """Price all questions for ``times`` as many samples as they were asked for.

    What is ``known`` of other questions to one cost model on one device type is not asked again.
    """
    known = {} if known is None else known
    found = [_answer(pricing, question, times, known) for question in questions]
    duration_ns, num_bytes = np.array(found, np.int64).reshape(-1, 2).T
    return Answers(np.ascontiguousarray(duration_ns), num_bytes)


def _answer(pricing: Pricing, question: Question, times: int, known: Known) -> Answer:
    key = question.key, times
    found = known.get(key)
    if found is None:
        found = known[key] = question.answer(pricing, times)
    return found


def _larger(operator: Operator, times: int) -> Operator:
    """Return an operator on ``times`` as many samples."""
    dims = tuple(
        replace(dim, size=dim.size * times) if dim.name == SAMPLE_DIM else dim
        for dim in operator.dims
    )
    return replace(operator, dims=dims)
