"""``flexsim list``: the names that a scenario may use."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer

from flexsim.errors import FlexSimError, choices_text
from flexsim.files import data_directory, read_toml, shipped_names

Rows = Iterable[tuple[str, str]]

_SIZES = {
    "layers": "{} layers",
    "hidden": "hidden {}",
    "heads": "{} heads",
    "sequence": "sequence {}",
    "tables": "{} tables",
    "image": "image {}",
    "classes": "{} classes",
}


def _models() -> Rows:
    from flexsim.models import PRESETS, family_keys

    for name, shape in PRESETS.items():
        keys = [key for key in _SIZES if key in family_keys(shape.family)]
        sizes = ", ".join(_SIZES[key].format(getattr(shape, key)) for key in keys)
        yield name, f"{shape.family}: {sizes}"


def _device_graphs() -> Rows:
    return [(name, _title("device_graphs", name)) for name in shipped_names("device_graphs")]


def _profiles() -> Rows:
    for kind in ("devices", "software"):
        directory = f"profiles/{kind}"
        for name in shipped_names(directory):
            yield name, f"{kind}: {_title(directory, name)}"


def _schedules() -> Rows:
    from flexsim.task_graph.schedules import SCHEDULES

    return [(name, entry.description) for name, entry in SCHEDULES.items()]


def _strategies() -> Rows:
    from flexsim.strategy import BASELINES

    return [(name, _first_line(function.__doc__)) for name, function in BASELINES.items()]


def _scenarios() -> Rows:
    root = data_directory("scenarios")
    paths = [path for path in root.rglob("*.toml") if path.parent.name != "sweeps"]
    names = sorted(path.relative_to(root).with_suffix("") for path in paths)
    return [(name.as_posix(), _title("scenarios", name.as_posix())) for name in names]


def _sweeps() -> Rows:
    kind = "scenarios/sweeps"
    return [(name, _title(kind, name)) for name in shipped_names(kind)]


_ROWS: dict[str, Callable[[], Rows]] = {
    "models": _models,
    "device-graphs": _device_graphs,
    "profiles": _profiles,
    "schedules": _schedules,
    "strategies": _strategies,
    "scenarios": _scenarios,
    "sweeps": _sweeps,
}


def list_command(
    kind: Annotated[
        str,
        typer.Argument(metavar="KIND", help=f"One of {', '.join(_ROWS)}.", show_default=False),
    ],
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Picture to write of a small pipeline under every schedule (.png, .svg, .pdf).",
            show_default=False,
        ),
    ] = None,
) -> None:
    """List the names that a scenario may use, each with what it is."""
    from flexsim.cli.console import facts_table, out

    if kind not in _ROWS:
        raise FlexSimError(f"there is nothing called {kind!r} to list: {choices_text(kind, _ROWS)}")
    if plot is not None:
        _draw(kind, plot)
    out().print(facts_table(_ROWS[kind]()))


def _draw(kind: str, path: Path) -> None:
    from flexsim.cli.pictures import save_figure
    from flexsim.plotting.gallery import gallery

    if kind != "schedules":
        raise FlexSimError(f"--plot {path}: there is a picture of schedules only, not of {kind}")
    save_figure(gallery(), path)


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0].rstrip(".").replace("``", "")


def _title(kind: str, name: str) -> str:
    """Return the title of a shipped file, or else its first comment."""
    path = data_directory(kind) / f"{name}.toml"
    title = read_toml(path, FlexSimError).get("title")
    lines = path.read_text(encoding="utf-8").splitlines()
    comments = itertools.takewhile(lambda line: line.startswith("#"), lines)
    return str(title or _first_sentence(" ".join(line.strip("# ") for line in comments)))


def _first_sentence(text: str) -> str:
    """Return a text up to its first full stop, but that of "et al."."""
    return re.split(r"(?<! al)\. (?=[A-Z])", text, maxsplit=1)[0].rstrip(".")
