"""What was measured beside what is simulated: one comparison a measured value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flexsim.accuracy.measured import MeasuredMemory
from flexsim.accuracy.simulated import ITERATION, Job, Simulated, simulate_jobs
from flexsim.scenario.schema import Scenario

COMPARED, SKIPPED = "compared", "skipped"


@dataclass(frozen=True)
class Question:
    """Something measured that is to be compared; without a scenario, why it cannot be.

    ``base`` names the question whose time is the unit of ``measured_s``, for relative times.
    """

    name: str
    family: str
    scenario: Scenario | None
    metric: str = ""
    measured_s: float | None = None
    of: str = ITERATION
    memory: MeasuredMemory | None = None
    was_out_of_memory: bool = False
    base: str = ""
    reason: str = ""


@dataclass(frozen=True)
class MemoryComparison:
    """Measured and simulated memory of a device, in bytes."""

    measured_bytes: float
    simulated_bytes: float

    @property
    def error(self) -> float:
        """Simulated over measured, less one."""
        return self.simulated_bytes / self.measured_bytes - 1


@dataclass(frozen=True)
class Comparison:
    """One measured value and its simulation; without one of them, why there is none."""

    question: Question
    simulated_s: float | None
    reason: str = ""
    memory: MemoryComparison | None = None
    fits_memory: bool | None = None
    """As simulated; None where it was not simulated."""

    @property
    def error(self) -> float | None:
        """Simulated over measured time, less one; None where one is missing."""
        if self.simulated_s is None or self.question.measured_s is None:
            return None
        return self.simulated_s / self.question.measured_s - 1

    @property
    def status(self) -> str:
        """``compared`` where there is an error, of time or memory or of the flag, else why not."""
        known = self.error is not None or self.memory or self.question.was_out_of_memory
        return COMPARED if known and self.fits_memory is not None else SKIPPED


def compare(questions: Sequence[Question], num_processes: int = 0) -> list[Comparison]:
    """Return a comparison a question, in order; each scenario is simulated."""
    rows = [row for row, question in enumerate(questions) if question.scenario is not None]
    jobs = [Job(each.scenario, each.of) for each in questions if each.scenario is not None]
    found = dict(zip(rows, simulate_jobs(jobs, num_processes), strict=True))
    by_name = {questions[row].name: simulated for row, simulated in found.items()}
    return [
        _comparison(question, found.get(row), by_name.get(question.base))
        for row, question in enumerate(questions)
    ]


def _comparison(
    question: Question, simulated: Simulated | None, base: Simulated | None
) -> Comparison:
    if simulated is None or simulated.problem:
        reason = simulated.problem if simulated else question.reason
        return Comparison(question, None, reason)
    seconds = simulated.seconds
    if question.base:
        if base is None or base.problem:
            return Comparison(question, None, f"{question.base} cannot be simulated")
        seconds /= base.seconds
    memory = None
    if question.memory is not None and simulated.stages:
        held = held_bytes(simulated, question.memory)
        memory = MemoryComparison(question.memory.num_bytes, held)
    return Comparison(question, seconds, question.reason, memory, simulated.fits_memory)


def held_bytes(simulated: Simulated, measured: MeasuredMemory) -> float:
    """Return the simulated memory of what was measured."""
    overhead = 0 if measured.with_overhead else 1
    held = [stage["total"] - overhead * stage["overhead"] for stage in simulated.stages]
    if measured.of == "all":
        return sum(held) * simulated.num_devices / len(held)
    return float(held[0] if measured.of == "first" else max(held))
