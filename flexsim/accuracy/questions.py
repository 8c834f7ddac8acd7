"""From tables of runs and from scenarios with published numbers to what is to be compared."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from flexsim.accuracy.compare import Question
from flexsim.accuracy.flops import (
    hardware_flops,
    model_flops,
    num_devices_of,
    peak_flops_per_s,
    tokens_of,
)
from flexsim.accuracy.run_scenario import is_layer
from flexsim.accuracy.runs import Run, Unsimulatable
from flexsim.accuracy.simulated import BACKWARD, FORWARD, ITERATION, PASSES, SPAN
from flexsim.accuracy.spellings import SOURCES, spelled
from flexsim.errors import ScenarioError
from flexsim.files import read_toml
from flexsim.scenario.load import load_scenario
from flexsim.scenario.schema import PublishedTable, Scenario

RELATIVE = "speedup"
NOT_MEASURED = "nothing was measured that a simulated time or memory compares with"


def questions_of_runs(runs: Sequence[Run]) -> list[Question]:
    """Return a question a run."""
    questions = [_question(run) for run in runs]
    return [_relative(run, question, runs) for run, question in zip(runs, questions, strict=True)]


def _question(run: Run) -> Question:
    scenario = run.scenario()
    plain = Question(run.row_id, run.family, None, reason=run.problem)
    if isinstance(scenario, Unsimulatable) or run.problem:
        return replace(plain, measured_s=run.given_s, metric="iter_time_s" if run.given_s else "")
    found = replace(
        plain,
        scenario=scenario,
        of=_timed(run, scenario),
        memory=run.memory,
        was_out_of_memory=run.is_out_of_memory,
    )
    if run.measured is not None:
        return replace(found, metric=run.measured.metric, measured_s=run.measured.seconds)
    if run.memory or run.is_out_of_memory:
        return replace(found, metric="mem_gib" if run.memory else "out of memory")
    return replace(found, reason=NOT_MEASURED)


def _timed(run: Run, scenario: Scenario) -> str:
    """Return what of a run was timed."""
    if is_layer(run.cells):
        return PASSES
    checks_later = "zb" in run.cells.words("schedule") and not scenario.strategy.gradient_norm
    return SPAN if checks_later else ITERATION


def _relative(run: Run, question: Question, runs: Sequence[Run]) -> Question:
    """Return a question for a time relative to the run with a speedup of one, where that is all."""
    speedup = run.cells.facts.get(RELATIVE)
    if question.reason != NOT_MEASURED or not speedup:
        return question
    same = [each for each in runs if each.family == run.family and _model(each) == _model(run)]
    base = next((each for each in same if each.cells.facts.get(RELATIVE) == 1), None)
    if base is None:
        return replace(question, reason="the run that its speedup refers to is not in the table")
    if base is run:
        return replace(question, reason="the speedups of other runs refer to it")
    return replace(
        question, metric=f"1 / speedup over {base.row_id}", measured_s=1 / speedup,
        base=base.row_id, reason="",
    )  # fmt: skip


def _model(run: Run) -> str:
    return run.cells.words("model", "layers", "hidden", "seq")


def questions_of_scenarios(paths: Sequence[Path]) -> list[Question]:
    """Return the questions of all scenario files that hold published numbers.

    Files of other kinds beside them, sweeps for example, have none and are not looked at further.
    """
    published = [path for path in paths if "published" in read_toml(path, ScenarioError)]
    return [each for path in published for each in _published(path, load_scenario(path))]


def _published(path: Path, scenario: Scenario) -> Iterator[Question]:
    table = scenario.published
    if table is None:
        return
    family = _family(table.source or "", path)
    found = _iteration(scenario, table)
    if found is not None:
        yield Question(path.stem, family, scenario, *found)
    for of, seconds in ((FORWARD, table.forward_time_s), (BACKWARD, table.backward_time_s)):
        if seconds is not None:
            name = f"{path.stem}, {of}"
            yield Question(name, family, scenario, f"{of}_time", seconds, of)


def _iteration(scenario: Scenario, table: PublishedTable) -> tuple[str, float] | None:
    """Return which published number tells the iteration time, and the time in seconds."""
    if table.iteration_time_s is not None:
        return "iteration_time", table.iteration_time_s
    if table.tokens_per_s is not None:
        return "tokens_per_s", tokens_of(scenario) / table.tokens_per_s
    if table.tflops_per_device is not None:
        rate = table.tflops_per_device * 1e12 * num_devices_of(scenario)
        return "tflops_per_device", hardware_flops(scenario) / rate
    if table.mfu is not None:
        return "mfu", model_flops(scenario) / (table.mfu * peak_flops_per_s(scenario))
    if table.hfu is not None:
        return "hfu", hardware_flops(scenario) / (table.hfu * peak_flops_per_s(scenario))
    return None


def _family(source: str, path: Path) -> str:
    """Return the name of a source that is known, or else what stands before its details."""
    known = spelled(source, SOURCES)
    return known or re.split(r"[:;]", source)[0].strip() or path.parent.name
