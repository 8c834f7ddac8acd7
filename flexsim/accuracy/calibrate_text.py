"""Changing constants in the text of a profile file; everything else stays as it is written."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_TABLE = re.compile(r"\s*\[([^\[\]]+)\]\s*(#.*)?")
_REMARK = "  # fitted, see above"


def with_constants(text: str, values: Mapping[str, str]) -> str:
    """Return a TOML text in which some keys have other values, as text.

    A key is named with its table: ``links.nvlink.efficiency``. One that is not there is added
    to its table, and a table that is not there at the end.
    """
    lines = text.splitlines()
    for name, value in values.items():
        table, _, key = name.rpartition(".")
        lines = _with_key(lines, table, key, value)
    return "\n".join(lines) + "\n"


def with_heading(text: str, heading: Sequence[str], name: str) -> str:
    """Return a profile's text with another comment at its top and another name."""
    lines = text.splitlines()
    while lines and (lines[0].startswith("#") or not lines[0].strip()):
        lines.pop(0)
    comment = [f"# {line}".rstrip() for line in heading]
    body = re.sub(
        r"^name\s*=.*$", f'name = "{name}"', "\n".join(lines), count=1, flags=re.MULTILINE
    )
    return "\n".join([*comment, body]) + "\n"


def _with_key(lines: Sequence[str], table: str, key: str, value: str) -> list[str]:
    begin, end = _range(lines, table)
    if begin < 0:
        return [*lines, "", f"[{table}]", f"{key} = {value}{_REMARK}"]
    new = f"{key} = {value}{_REMARK}"
    for number in range(begin, end):
        if re.match(rf"\s*{re.escape(key)}\s*=", lines[number]):
            return [*lines[:number], new, *lines[number + 1 + _following(lines, number) :]]
    return [*lines[:begin], new, *lines[begin:]]


def _following(lines: Sequence[str], number: int) -> int:
    """Return how many lines go on with the comment of a key: indented ones."""
    count = 0
    while number + 1 + count < len(lines) and re.match(r"\s+#", lines[number + 1 + count]):
        count += 1
    return count


def _range(lines: Sequence[str], table: str) -> tuple[int, int]:
    """Return the lines of a table, its heading left out; (-1, -1) where it is not there."""
    heads = [(n, found[1].strip()) for n, line in enumerate(lines) if (found := _table(line))]
    ends = [number for number, _ in heads] + [len(lines)]
    if not table:
        first_key = next((n for n, line in enumerate(lines) if re.match(r"\w+\s*=", line)), 0)
        return first_key, ends[0]
    place = next((place for place, (_, name) in enumerate(heads) if name == table), None)
    return (-1, -1) if place is None else (heads[place][0] + 1, ends[place + 1])


def _table(line: str) -> re.Match[str] | None:
    return _TABLE.fullmatch(line)
