"""Types of the values that a scenario may hold."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from flexsim.units import parse_seconds
from flexsim.validation import as_value_error

MOST = 2**31 - 1


class Table(BaseModel):
    """A table of a file: frozen, every key known, every value of its type."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _positive(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError("a time must be above zero")
    return seconds


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("it should not hold line breaks or control characters")
    return text


Text = Annotated[str, Field(max_length=1000), AfterValidator(_printable)]
Name = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_printable)]
Count = Annotated[int, Field(ge=1, le=MOST, strict=True)]
Flag = Annotated[bool, Field(strict=True)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Seconds = Annotated[
    float,
    BeforeValidator(as_value_error(parse_seconds)),
    AfterValidator(_positive),
    WithJsonSchema({"type": "string", "examples": ["13.75 s"]}),
]
