"""From pydantic's complaints to one sentence."""

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from flexsim.units import parse_seconds
from flexsim.validation import as_value_error, key_path, one_sentence, value_text


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Cat(_Table):
    kind: Literal["cat"]
    lives: int = 9


class Dog(_Table):
    kind: Literal["dog"]
    bones: int = 0


class Zoo(_Table):
    title: str
    size: int | str = 1
    season: Literal["summer", "winter"] = "summer"
    nap: Annotated[float, BeforeValidator(as_value_error(parse_seconds))] = 1.0
    star: Annotated[Cat | Dog, Field(discriminator="kind")] | None = None
    cats: list[Cat] = []
    tables: dict[str, Cat] = {}


def sentence(**content: object) -> str:
    with pytest.raises(ValidationError) as caught:
        Zoo.model_validate(content)
    return one_sentence("zoo.toml", caught.value, Zoo)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"titel": "x"}, "unknown key titel = 'x': did you mean 'title'? choose from cats, nap"),
        (
            {"title": "x", "cats": [{"kind": "cat", "live": 1}]},
            "unknown key cats[0].live = 1: did you",
        ),
        (
            {"title": "x", "star": {"kind": "dog", "bone": 1}},
            "unknown key star.bone = 1: did you mean",
        ),
        (
            {"title": "x", "tables": {"mine": {"kind": "cat", "live": 1}}},
            "unknown key tables.mine.live = 1: did you mean 'lives'?",
        ),
        ({"title": "x", "extra": {"a": 1}}, "unknown key extra: "),
        ({"title": "x", "star": {"kind": "cow"}}, "star.kind = 'cow': "),
        ({}, "the key title is missing"),
        ({"title": "x", "season": "sumer"}, "season = 'sumer': did you mean 'summer'? choose from"),
        ({"title": "x", "nap": "3 parsec"}, "nap: '3 parsec' is not a time such as"),
        ({"title": "x", "nap": 3}, "nap: 3 is not a time such as"),
        ({"title": "x", "star": {"kind": "cow"}}, "choose from cat, dog"),
        (
            {"title": "x", "star": {"kind": "cat", "lives": "many"}},
            "star.lives = 'many': it should",
        ),
        ({"title": 3}, "title = 3: it should be a valid string"),
    ],
)
def test_one_sentence_names_key_value_and_choices(
    content: dict[str, object], expected: str
) -> None:
    text = sentence(**content)
    assert text.startswith("zoo.toml: ")
    assert expected in text
    assert "\n" not in text


def test_a_misspelt_key_goes_before_the_missing_one() -> None:
    assert "unknown key titel" in sentence(titel="x", nap="1 h", season="autumn")


def test_paths_are_written_as_people_do() -> None:
    assert key_path(("links", 3, "bandwidth")) == "links[3].bandwidth"


def test_long_values_are_cut() -> None:
    assert len(value_text("x" * 500)) == 60
