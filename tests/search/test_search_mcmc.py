"""Metropolis' rule, against the current state; chains on processes; checkpoints."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_search import scenario, walk_of

import flexsim
from flexsim.errors import FlexSimError
from flexsim.search.mcmc import limit_of, mcmc
from flexsim.search.trace import ACCEPTED

SMALL = scenario(search={"budget": 30, "chains": 3})


@given(
    current=st.integers(1, 10**12),
    proposed=st.integers(1, 10**12),
    u=st.floats(1e-12, 1.0),
    temperature=st.floats(1e-3, 10.0),
)
def test_the_limit_is_metropolis_rule(current, proposed, u, temperature):
    slower = (proposed - current) / (current * temperature)
    if slower > 700 or abs(u - math.exp(min(0.0, -slower))) < 1e-9 * u:
        return
    accepted = u <= math.exp(min(0.0, -slower))
    assert (proposed <= limit_of(current, temperature, u)) == accepted


def test_at_temperature_zero_nothing_slower_is_accepted():
    walk = walk_of(SMALL, budget=60)
    walk.temperature = 0.0
    mcmc(walk)
    currents = [row.current_ns for row in walk.rows]
    assert currents == sorted(currents, reverse=True)


def test_acceptance_is_against_the_current_and_not_the_best():
    walk = walk_of(SMALL, budget=150)
    walk.temperature = 0.5
    mcmc(walk)
    pairs = zip(walk.rows, walk.rows[1:], strict=False)
    assert any(
        after.outcome == ACCEPTED and after.best_ns < after.makespan_ns != before.current_ns
        for before, after in pairs
    )


def test_a_chain_that_finds_nothing_for_half_its_budget_ends():
    walk = walk_of(scenario(search={"dimensions": "S", "copies": False}), budget=100)
    walk.temperature, walk.restarts = 0.0, 0
    mcmc(walk)
    improved = [row.proposal for row in walk.rows if row.makespan_ns == row.best_ns > 0]
    assert len(walk.rows) < 100
    assert len(walk.rows) <= 50 + max(improved, default=0)


def test_a_stuck_chain_returns_to_its_best_first():
    walk = walk_of(SMALL, budget=80)
    walk.temperature, walk.restarts = 5.0, 3
    mcmc(walk)
    assert walk.restarts_since > 0
    assert walk.best_evaluation.makespan_ns == min(row.best_ns for row in walk.rows)


def test_processes_change_nothing():
    one = flexsim.search(SMALL, processes=1)
    two = flexsim.search(SMALL, processes=2)
    assert one.trace == two.trace
    assert one.best_strategy.configs == two.best_strategy.configs
    assert {row.chain for row in one.trace} == {0, 1, 2}


def test_chains_differ_and_so_do_seeds():
    first, second = flexsim.search(SMALL), flexsim.search(SMALL, seed=1)
    chains = [[row[1:] for row in first.trace if row.chain == chain] for chain in (0, 2)]
    assert chains[0] != chains[1]
    assert first.trace != second.trace


def test_a_search_that_was_cut_short_goes_on_as_if_it_had_not_been(tmp_path):
    whole = flexsim.search(SMALL, budget=60, output=tmp_path / "whole")
    flexsim.search(SMALL, budget=60, output=tmp_path / "cut", watch=_Interrupt(25))
    resumed = flexsim.search(SMALL, budget=60, output=tmp_path / "cut", resume=True)
    assert resumed.trace == whole.trace
    assert resumed.best_strategy.configs == whole.best_strategy.configs


def test_an_interrupted_search_returns_its_best():
    result = flexsim.search(SMALL, chains=1, budget=1000, watch=_Interrupt(10))
    assert result.interrupted
    assert len(result.trace) == 10
    assert result.best_metrics["iteration_time_s"] == result.trace[-1].best_ns / 1e9


def test_a_checkpoint_of_another_search_is_refused(tmp_path):
    flexsim.search(SMALL, output=tmp_path)
    other = scenario(model={"hidden": 128}, search={"budget": 30, "chains": 3})
    with pytest.raises(FlexSimError, match="another scenario"):
        flexsim.search(other, output=tmp_path, resume=True)
    with pytest.raises(FlexSimError, match="seed = 0, not 1"):
        flexsim.search(SMALL, seed=1, output=tmp_path, resume=True)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"identity": 1}'])
def test_a_broken_checkpoint_is_refused(tmp_path, text):
    flexsim.search(SMALL, output=tmp_path)
    (tmp_path / "checkpoints" / "checkpoint-0.json").write_text(text, encoding="utf-8")
    with pytest.raises(FlexSimError, match="no checkpoint"):
        flexsim.search(SMALL, output=tmp_path, resume=True)


class _Interrupt:
    """Presses Ctrl-C after so many proposals of all chains together."""

    def __init__(self, after):
        self.left = after

    def __call__(self, standing):
        import os
        import signal

        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)
