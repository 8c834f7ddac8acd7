"""What a search gives back, and the files it writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flexsim.errors import StrategyError
from flexsim.scenario.runner import Result
from flexsim.scenario.schema import Scenario
from flexsim.scenario.summary import SUMMARY
from flexsim.search.objective import Problem
from flexsim.search.space import Space
from flexsim.search.trace import ACCEPTED, CUT_OFF, INFEASIBLE, Row, count, write_trace
from flexsim.strategy import Strategy
from flexsim.strategy.files import write_strategy
from flexsim.strategy.flexflow_files import write_flexflow


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The best strategy of a search, beside data parallelism and the scenario's own strategy.

    ``trace`` has every proposal, chain by chain. ``baseline`` is data parallelism, ``expert``
    the strategy of the scenario; None where it cannot be run. ``seconds`` is the time that
    the chains took, side by side.
    """

    best_strategy: Strategy
    best: Result
    baseline: Result
    expert: Result | None
    trace: tuple[Row, ...]
    seconds: float
    method: str
    proven_optimal: bool
    problem: Problem
    space: Space
    interrupted: bool = False
    refusals: Mapping[str, int] = field(default_factory=dict)
    """Why strategies could not be built or do not fit memory, and how often; most often first."""
    scenario: Scenario | None = None
    """What was searched for, its ``[search]`` table as it was used."""

    @property
    def best_metrics(self) -> Mapping[str, Any]:
        """The metrics of the best strategy."""
        return self.best.metrics

    @property
    def baseline_metrics(self) -> Mapping[str, Any]:
        """The metrics of data parallelism."""
        return self.baseline.metrics

    @property
    def acceptance_rate(self) -> float:
        """The share of proposals that were accepted."""
        return count(self.trace, ACCEPTED) / len(self.trace) if self.trace else 0.0

    def summary(self) -> dict[str, Any]:
        """Return the numbers of the search by name, as ``--json`` prints them."""
        expert = self.expert.metrics["iteration_time_s"] if self.expert else None
        return {
            "method": self.method,
            "best_iteration_time_s": self.best_metrics["iteration_time_s"],
            "baseline_iteration_time_s": self.baseline_metrics["iteration_time_s"],
            "expert_iteration_time_s": expert,
            "proposals": len(self.trace),
            "proposals_per_s": len(self.trace) / self.seconds if self.seconds else 0.0,
            "acceptance_rate": self.acceptance_rate,
            "cut_off": count(self.trace, CUT_OFF),
            "infeasible": count(self.trace, INFEASIBLE),
            "proven_optimal": self.proven_optimal,
            "interrupted": self.interrupted,
        }

    def save(self, directory: str | Path) -> list[Path]:
        """Write the trace, the best strategy, timelines, pictures; last the summary.

        ``best-strategy.flexflow.txt`` is written only where FlexFlow's format can say it.
        Return the paths of all.
        """
        from flexsim.plotting.search_strategy import save_strategy_picture
        from flexsim.plotting.search_timelines import save_timelines
        from flexsim.plotting.search_trace import save_search_picture
        from flexsim.search.summary import TIMELINES, write_search_summary, write_timelines

        folder = Path(directory)
        write_trace(folder / "search.csv", self.trace)
        strategy = folder / "best-strategy.json"
        problem = self.problem
        write_strategy(strategy, self.best_strategy, problem.graph, problem.devices)
        written = [folder / "search.csv", strategy, *self._save_flexflow(folder)]
        written.append(save_search_picture(self.trace, folder / "search.png"))
        picture = folder / "strategy.png"
        written.append(save_strategy_picture(problem.graph, self.best_strategy, picture))
        both = {"data parallelism": self.baseline.timeline, "best found": self.best.timeline}
        written.append(save_timelines(both, folder / "timelines.png"))
        own = {"the scenario's own": self.expert.timeline} if self.expert else {}
        write_timelines(folder / TIMELINES, {**both, **own})
        tables = [folder / "search.csv", folder / TIMELINES]
        summary = write_search_summary(folder / SUMMARY, self, tables)
        return [*written, folder / TIMELINES, summary]

    def _save_flexflow(self, folder: Path) -> list[Path]:
        path = folder / "best-strategy.flexflow.txt"
        try:
            write_flexflow(path, self.best_strategy, self.problem.graph)
        except StrategyError:
            path.unlink(missing_ok=True)
            return []
        return [path]
