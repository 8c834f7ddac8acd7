"""Writes the reference pages that follow from the code: commands, and the keys of a scenario."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mkdocs_gen_files

from flexsim.scenario.schema import Scenario

Schema = dict[str, Any]


def commands_page() -> str:
    """Return every command with its options."""
    command = [sys.executable, "-m", "typer", "flexsim.cli", "utils", "docs", "--name", "flexsim"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.replace("# `flexsim`", "# Command line", 1)


def keys_page() -> str:
    """Return every table of a scenario with its keys."""
    schema = Scenario.model_json_schema()
    parts = ["# Scenario keys", "", schema.get("description", ""), ""]
    for name, reference in schema["properties"].items():
        table = _resolved(reference, schema)
        if "properties" in table:
            parts += [
                f"## `[{name}]`",
                "",
                table.get("description", ""),
                "",
                *_rows(table, schema),
                "",
            ]
    return "\n".join(parts)


def _rows(table: Schema, schema: Schema) -> Iterator[str]:
    yield "| key | may be | unless given | meaning |"
    yield "|---|---|---|---|"
    required = table.get("required", ())
    for key, value in table["properties"].items():
        default = "required" if key in required else _default(value)
        yield f"| `{key}` | {_kind(value, schema)} | {default} | {_text(value, schema)} |"


def _default(value: Schema) -> str:
    default = value.get("default")
    return "" if default is None else f"`{_toml(default)}`"


def _toml(value: Any) -> str:
    return (
        {True: "true", False: "false"}.get(value, str(value))
        if isinstance(value, bool)
        else str(value)
    )


def _text(value: Schema, schema: Schema) -> str:
    text = value.get("description") or _resolved(value, schema).get("description", "")
    return text.replace("|", "\\|").replace("\n", " ")


def _kind(value: Schema, schema: Schema) -> str:
    """Return the type of a key in words, with its choices."""
    value = _resolved(value, schema)
    if "enum" in value:
        return ", ".join(f"`{choice}`" for choice in value["enum"])
    if "const" in value:
        return f"`{value['const']}`"
    if "anyOf" in value:
        kinds = [_kind(each, schema) for each in value["anyOf"] if each.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if value.get("type") == "array":
        return f"list of {_kind(value.get('items', {}), schema)}"
    names = {"string": "text", "object": "table", "boolean": "`true`, `false`"}
    return names.get(value.get("type", ""), value.get("type", "any"))


def _resolved(value: Schema, schema: Schema) -> Schema:
    """Follow a reference, also one that may be null."""
    parts = [each for each in value.get("anyOf", ()) if each.get("type") != "null"]
    if len(parts) == 1 and "$ref" in parts[0]:
        value = parts[0]
    if "$ref" in value:
        return dict(schema["$defs"][value["$ref"].rsplit("/", 1)[-1]])
    return value


for path, text in (
    ("reference/command-line.md", commands_page()),
    ("reference/scenario-keys.md", keys_page()),
):
    with mkdocs_gen_files.open(path, "w") as page:
        page.write(text)

for picture in sorted(Path("plots/gallery").glob("*.png")):
    with mkdocs_gen_files.open(f"gallery/{picture.name}", "wb") as copy:
        copy.write(picture.read_bytes())
