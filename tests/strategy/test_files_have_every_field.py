"""Whatever a strategy says is in its file."""

from __future__ import annotations

from dataclasses import fields

from flexsim.strategy import Strategy
from flexsim.strategy.files import _Run


def test_a_file_has_a_place_for_every_field() -> None:
    elsewhere = {"configs", "stage_of"}
    assert {field.name for field in fields(Strategy)} - elsewhere == set(_Run.model_fields)
