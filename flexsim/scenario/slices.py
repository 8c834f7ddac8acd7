"""Slices of a sequence: how long they are, and which scenarios may have them."""

from __future__ import annotations

from flexsim.cost.profiles import SoftwareProfile
from flexsim.errors import ScenarioError
from flexsim.models import ModelConfig, family_keys
from flexsim.models.families import LOOKS_BOTH_WAYS
from flexsim.operator_graph.slices import even_slices
from flexsim.scenario.schema import BEST, Scenario
from flexsim.strategy.strategy import ACTIVATIONS
from flexsim.task_graph.schedules import SCHEDULES


def slices_of(
    scenario: Scenario, config: ModelConfig, software: SoftwareProfile
) -> tuple[int, ...]:
    """Return the lengths of the slices of a sequence; none where it passes whole.

    Unless given there are as many as pipeline ranks, as even as can be; the best are found later
    (:mod:`flexsim.scenario.best_slices`). Raise :class:`ScenarioError` where the scenario has
    something that slices do not go with.
    """
    entry = SCHEDULES.get(scenario.strategy.chosen_schedule)
    if entry is None or not entry.slices_sequences:
        return ()
    _check_model(scenario, config)
    _check_others(scenario)
    given = scenario.strategy.token_slices
    if given == BEST:
        return ()
    number = given if isinstance(given, int) else min(scenario.strategy.pipeline, config.sequence)
    lengths = tuple(given) if isinstance(given, list) else even_slices(config.sequence, number)
    _check_lengths(scenario, config, lengths)
    if scenario.strategy.sequence_parallel and not software.pads_parts:
        _check_parts(scenario, lengths)
    return lengths


def _check_model(scenario: Scenario, config: ModelConfig) -> None:
    """Raise where a model has no attention, or one that reads what comes later."""
    keys = family_keys(config.family)
    if not {"heads", "sequence"} <= {*keys} or config.family in LOOKS_BOTH_WAYS:
        raise ScenarioError(
            f"{_named(scenario)} cuts sequences where causal attention only looks back, but the "
            f"family {config.family!r} has no such attention; choose gpt, llama or another "
            "causal transformer, or another schedule"
        )


def _check_others(scenario: Scenario) -> None:
    """Raise for what would need keys and values of earlier slices elsewhere than they lie."""
    strategy, training = scenario.strategy, scenario.training
    wrong = {
        f"strategy.file = {strategy.file!r}": strategy.file is not None,
        f"strategy.context = {strategy.context}": strategy.context > 1,
        f"strategy.zero = {strategy.zero}": strategy.zero == 3,
        f"strategy.balance = {strategy.balance!r}": strategy.balance in ("time", "memory"),
        f"training.recompute = {training.recompute!r}": training.recompute in ("full", "best"),
        "training.offload = ['activations']": ACTIVATIONS in (training.offload or ()),
    }
    found = [key for key, is_wrong in wrong.items() if is_wrong]
    if found:
        raise ScenarioError(
            f"{_named(scenario)} keeps the keys and values of earlier slices on the devices that "
            f"made them, which is not built together with {found[0]}; leave that out, or choose "
            "another schedule"
        )


def _check_lengths(scenario: Scenario, config: ModelConfig, lengths: tuple[int, ...]) -> None:
    if sum(lengths) != config.sequence or min(lengths) < 1:
        raise ScenarioError(
            f"{scenario.source}: strategy.token_slices = {scenario.strategy.token_slices} does not "
            f"cut model.sequence = {config.sequence}; choose a number from 1 to {config.sequence}, "
            "or lengths that add up to it"
        )


def _check_parts(scenario: Scenario, lengths: tuple[int, ...]) -> None:
    tensor = scenario.strategy.tensor
    uneven = [length for length in lengths if length % tensor]
    if uneven:
        raise ScenarioError(
            f"{scenario.source}: strategy.token_slices makes a slice of {uneven[0]} positions, "
            f"which strategy.tensor = {tensor} does not divide as strategy.sequence_parallel asks; "
            f"choose slices that are multiples of {tensor}"
        )


def _named(scenario: Scenario) -> str:
    return f"{scenario.source}: strategy.schedule = {scenario.strategy.chosen_schedule!r}"
