"""Each letter of SOAP is reached, on three families of networks, and told truly."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from command_line import flexsim as command_line
from small_gpt import toml_text
from small_search import content, scenario, walk_of

from flexsim.search.arrangement import COPIES, degrees_of
from flexsim.search.delta_objective import delta_objective
from flexsim.search.mcmc import mcmc
from flexsim.search.proposals import propose
from flexsim.search.trace import ACCEPTED

CNN = {"preset": "lenet-5", "name": None, "layers": None, "hidden": None}
RECURRENT = {"name": "rnnlm", "layers": 1, "hidden": 32, "vocabulary": 64, "sequence": 4}
TRANSFORMER = {
    "name": "gpt", "layers": 2, "hidden": 32, "heads": 4, "sequence": 16, "vocabulary": 64
}  # fmt: skip
MODELS = {"cnn": CNN, "recurrent": RECURRENT, "transformer": TRANSFORMER}
every_model = pytest.mark.parametrize("name", MODELS)


def model(name):
    return {key: value for key, value in MODELS[name].items() if value is not None}


def of(name, **search):
    """Return a scenario of a small network on four devices."""
    found = content(cluster={"devices": 4}, training={"micro_batch": 4}, search=search)
    return type(scenario()).from_dict({**found, "model": model(name)}, "letters.toml")


def told_apart(before, after, unit):
    """Return the letters that differ between two configs, worked out from degrees and devices."""
    old, new = degrees_of(before), degrees_of(after)
    dims = {d for d in (old.keys() | new.keys()) - {COPIES} if old.get(d, 1) != new.get(d, 1)}
    found = {unit.letters[dim] for dim in dims}
    pairs = zip(before.mesh.flat.tolist(), after.mesh.flat.tolist(), strict=False)
    stays = all(one == other for one, other in pairs)
    return found if found and stays else found | {"O"}


def walked(one, budget, seed):
    """Return a warm Markov chain that has come to its end."""
    walk = walk_of(one, budget=budget, seed=seed)
    walk.objective, walk.temperature = delta_objective(walk.problem), 0.5
    walk.begin(walk.state)
    mcmc(walk)
    return walk


@every_model
def test_every_letter_is_proposed_and_accepted(name):
    walk = walked(of(name), budget=200, seed=1)
    proposed = {letter for row in walk.rows for letter in row.letters}
    accepted = {letter for row in walk.rows if row.outcome == ACCEPTED for letter in row.letters}
    assert proposed == accepted == set("SOAP")


@every_model
def test_every_letter_but_o_comes_up_alone(name):
    walk = walk_of(of(name), seed=2)
    rng = np.random.default_rng(2)
    found = set()
    for _ in range(600):
        change = propose(walk.moves, walk.state, rng)
        found.add(walk.moves.letters(walk.state, change))
        if rng.random() < 0.2:
            walk.state.apply(change)
    assert found >= {"S", "O", "A", "P"}


@every_model
def test_letters_are_what_degrees_and_devices_say(name):
    walk = walk_of(of(name), seed=3)
    rng = np.random.default_rng(3)
    for _ in range(150):
        change = propose(walk.moves, walk.state, rng)
        letters = set()
        new = {**walk.state.configs, **change.configs}
        for unit in {walk.moves.space.by_operator[each] for each in change.configs}:
            letters |= told_apart(unit.config(walk.state.configs), unit.config(new), unit)
        assert set(walk.moves.letters(walk.state, change)) == letters
        walk.state.apply(change)


@every_model
def test_a_search_of_samples_and_parameters_touches_nothing_else(name):
    walk = walked(of(name, dimensions="SP"), budget=100, seed=4)
    assert {letter for row in walk.rows for letter in row.letters} == {"S", "P"}
    for unit in walk.moves.units:
        config = unit.config(walk.state.configs)
        assert {unit.letters.get(dim) for dim in degrees_of(config)} <= {"S", "P"}
        assert config.mesh.flat.tolist() == [*range(config.mesh.size)]


def test_the_files_letters_agree_with_the_kinds(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(toml_text({**content(cluster={"devices": 4}), "model": model("transformer")}))
    answer = command_line(
        "search", str(path), "--budget", "60", "--chains", "1", "--output", str(tmp_path / "out"),
        "--json",
    )  # fmt: skip
    assert answer.code == 0
    with (tmp_path / "out" / "search.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) > 10
    assert all(row["letters"] and set(row["letters"]) <= set("SOAP") for row in rows)
    assert {row["letters"] for row in rows if row["kind"] == "swap"} <= {"O"}
