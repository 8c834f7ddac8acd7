"""Types of the values that a scenario may hold."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from flexsim.units import parse_bytes, parse_seconds
from flexsim.validation import as_value_error

MOST = 2**31 - 1
MOST_BYTES = 10**15


class Table(BaseModel):
    """A table of a file: frozen, every key known, every value of its type."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _positive(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError("a time must be above zero")
    return seconds


def whole_bytes(text: str | int) -> int:
    """Return a size such as "4 MB", or one given in bytes, as a whole number of at least 1."""
    size = text if type(text) is int else parse_bytes(text)  # type: ignore[arg-type]
    if not 1 <= size <= MOST_BYTES:
        raise ValueError(f"{text!r} is not a size from 1 B to {MOST_BYTES:.0e} B")
    return round(size)


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
Bytes = Annotated[
    int,
    BeforeValidator(as_value_error(whole_bytes)),
    WithJsonSchema({"type": "string", "examples": ["4 MB"]}),
]
Seconds = Annotated[
    float,
    BeforeValidator(as_value_error(parse_seconds)),
    AfterValidator(_positive),
    WithJsonSchema({"type": "string", "examples": ["13.75 s"]}),
]
