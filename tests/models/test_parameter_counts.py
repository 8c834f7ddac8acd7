"""Parameter counts against the published ones."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from preset_graphs import GPT_PRESETS, preset_graph

from flexsim.models import PRESETS
from flexsim.models.networks import NETWORKS

WANTED = [
    "megatron-1.2b",
    "megatron-2.5b",
    "megatron-4.2b",
    "megatron-8.3b",
    "gpt-1.7b",
    "gpt-3.6b",
    "gpt-7.5b",
    "gpt-18b",
    "gpt-39b",
    "gpt-76b",
    "gpt-145b",
    "gpt-310b",
    "gpt-530b",
    "gpt-1t",
    "gpt-22b",
    "gpt3-2.7b",
    "gpt3-175b",
    "mt-nlg-530b",
    "gopher-280b",
    "palm-540b",
    "llama3-8b",
    "llama3-70b",
    "llama3-405b",
    "bert-large",
    "mixtral-8x7b",
    "deepseek-v3",
    "gpt-moe-13b",
    "gpt-moe-52b",
]


def half_of_last_digit(published: float) -> float:
    """Return half a unit of the last digit that "1.7 billion" prints."""
    exponent = Decimal(f"{published / 1e9:g}").as_tuple().exponent
    assert isinstance(exponent, int)
    return 0.5 * 10.0**exponent * 1e9


def test_every_promised_preset_is_there() -> None:
    assert {*WANTED, *NETWORKS} == set(PRESETS)


@pytest.mark.parametrize("name", WANTED)
def test_within_one_percent_of_what_was_published(name: str) -> None:
    """Within 1 %, or within the rounding of a count that is printed with two digits."""
    published = PRESETS[name].published_parameters
    assert published is not None
    allowed = max(0.01 * published, half_of_last_digit(published))
    assert preset_graph(name).num_parameters == pytest.approx(published, abs=allowed, rel=0)


@pytest.mark.parametrize("name", GPT_PRESETS)
def test_gpt_counts_equal_the_closed_form(name: str) -> None:
    """Narayanan et al. 2021, equation 2, plus the final layer norm that it leaves out."""
    c = PRESETS[name]
    layers, hidden = c.layers, c.hidden
    formula = 12 * layers * hidden**2 + 13 * layers * hidden + (c.vocabulary + c.sequence) * hidden
    assert preset_graph(name).num_parameters == formula + 2 * hidden


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_says_where_it_comes_from(name: str) -> None:
    assert re.search(r"\b(19|20)\d\d\b", PRESETS[name].source)
    assert PRESETS[name].name == name
