"""A walk through the space: where one chain is, what it may still spend, the best it has seen."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flexsim.search.moves import Change, Moves, State
from flexsim.search.objective import Evaluation, Objective, Problem
from flexsim.search.trace import ACCEPTED, CUT_OFF, INFEASIBLE, NEVER, REJECTED, Row

NOTHING_YET = Evaluation(NEVER, 0, False)


@dataclass(frozen=True)
class Budget:
    """What one chain may spend; None for no limit of that kind."""

    proposals: int | None
    seconds: float | None

    def share_spent(self, proposals: int, seconds: float) -> float:
        """Return the share that is spent, 1 when nothing is left."""
        shares = [0.0]
        if self.proposals is not None:
            shares.append(proposals / self.proposals)
        if self.seconds is not None:
            shares.append(seconds / self.seconds)
        return max(shares)


@dataclass
class Stop:
    """Asks a walk to end early; ``is_asked`` is polled between proposals."""

    is_asked: Callable[[], bool] = lambda: False


@dataclass
class Walk:
    """One chain: its objective, its random numbers and everything that must outlive a crash."""

    problem: Problem
    moves: Moves
    objective: Objective
    budget: Budget
    temperature: float
    rng: np.random.Generator
    restarts: int = 0
    chain: int = 0
    on_step: Callable[[Walk], None] = lambda walk: None
    stop: Stop = field(default_factory=Stop)
    state: State = field(default_factory=lambda: State({}, {}))
    best: State = field(default_factory=lambda: State({}, {}))
    current: Evaluation = NOTHING_YET
    best_evaluation: Evaluation = NOTHING_YET
    rows: list[Row] = field(default_factory=list)
    spent_s: float = 0.0
    improved_at: float = 0.0
    """The share of the budget that was spent when the best was last improved."""
    restarts_since: int = 0
    """Returns to the best since it was last improved."""
    is_over: bool = False
    _clock: float = field(default_factory=time.monotonic)

    def begin(self, state: State) -> Evaluation:
        """Go to a state without counting a proposal."""
        found = self.objective.start(state.configs, state.stage_of)
        self.state, self.current = state.copy(), found
        if found.is_feasible:
            self._keep_best()
        return found

    def return_to_best(self) -> None:
        """Go back to the best state seen, if any was feasible."""
        if self.best.configs:
            self.begin(self.best.copy())
        self.restarts_since += 1

    @property
    def spent(self) -> float:
        """The share of the budget that is spent."""
        now = time.monotonic()
        self.spent_s, self._clock = self.spent_s + now - self._clock, now
        return self.budget.share_spent(len(self.rows), self.spent_s)

    @property
    def stale(self) -> float:
        """The share of the budget spent since the best was last improved."""
        return self.spent - self.improved_at

    def goes_on(self) -> bool:
        """Whether something is left to spend and nobody has asked to stop."""
        return not self.stop.is_asked() and self.spent < 1.0

    def step(self, change: Change, limit_ns: int) -> bool:
        """Propose a change, accept it if it is feasible and takes at most ``limit_ns``.

        As long as the current state does not fit memory, whatever fits is accepted, and what
        does not if it needs no more. Return whether it was accepted; count and note it anyway.
        """
        letters = self.moves.letters(self.state, change)
        limit_ns = limit_ns if self.current.is_feasible else NEVER
        found = self.objective.propose(change.configs, limit_ns, change.stages)
        outcome = ACCEPTED if self._fits_better(found) else _outcome(found, limit_ns)
        if outcome == ACCEPTED and found is not None:
            self.objective.accept()
            self.state.apply(change)
            self.current = found
            self._keep_best()
        else:
            self.objective.reject()
        self._note(change.kind, letters, outcome, found)
        return outcome == ACCEPTED

    def leave_out(self, kind: str) -> None:
        """Count and note a proposal that was found elsewhere to be no better than the best."""
        self._note(kind, self.moves.space.restrictions.dimensions, CUT_OFF, None)

    def _fits_better(self, found: Evaluation | None) -> bool:
        """Whether neither the current state nor a proposal fits memory, the latter no worse."""
        if found is None or found.is_feasible or self.current.is_feasible or not found.makespan_ns:
            return False
        return found.peak_memory_bytes <= self.current.peak_memory_bytes

    def content(self) -> dict[str, Any]:
        """Return what a checkpoint needs beside the states, as plain values."""
        return {
            "chain": self.chain,
            "rng": self.rng.bit_generator.state,
            "spent_s": self.spent_s,
            "improved_at": self.improved_at,
            "restarts_since": self.restarts_since,
            "is_over": self.is_over,
            "rows": [list(row) for row in self.rows],
        }

    def restore(self, content: dict[str, Any], state: State, best: State) -> None:
        """Go on from what :meth:`content` returned and the two states beside it."""
        if best.configs:
            self.begin(best)
        self.begin(state)
        self.rng.bit_generator.state = content["rng"]
        self.spent_s, self.improved_at = content["spent_s"], content["improved_at"]
        self.restarts_since, self.is_over = content["restarts_since"], content["is_over"]
        self.rows = [Row(*row) for row in content["rows"]]
        self._clock = time.monotonic()

    def _keep_best(self) -> None:
        is_shorter = self.current.makespan_ns < self.best_evaluation.makespan_ns
        if self.current.is_feasible and is_shorter:
            self.best, self.best_evaluation = self.state.copy(), self.current
            self.improved_at, self.restarts_since = self.spent, 0

    def _note(self, kind: str, letters: str, outcome: str, found: Evaluation | None) -> None:
        makespan_ns = found.makespan_ns if found and found.makespan_ns else -1
        now, best = self.current.makespan_ns, self.best_evaluation.makespan_ns
        number = len(self.rows) + 1
        row = Row(self.chain, number, kind, letters, makespan_ns, outcome, now, best)
        self.rows.append(row)
        self.on_step(self)


def _outcome(found: Evaluation | None, limit_ns: int) -> str:
    if found is None:
        return CUT_OFF
    if not found.is_feasible:
        return INFEASIBLE
    return ACCEPTED if found.makespan_ns <= limit_ns else REJECTED
