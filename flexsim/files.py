"""Where data files lie, and how results are written: whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flexsim.errors import FlexSimError, choices_text

_PACKAGE = Path(__file__).resolve().parent


def data_directory(kind: str) -> Path:
    """Return the directory of shipped files of one ``kind`` ("device_graphs", "profiles/devices").

    A checkout keeps them at its top level, an installed wheel under ``flexsim/data``.
    """
    installed = _PACKAGE / "data" / kind
    return installed if installed.is_dir() else _PACKAGE.parent / kind


def shipped_names(kind: str, suffix: str = ".toml") -> list[str]:
    """Return the sorted names (without suffix) of the shipped files of one kind."""
    return sorted(path.stem for path in data_directory(kind).glob(f"*{suffix}"))


def find_file(kind: str, name_or_path: str, error: type[FlexSimError], what: str) -> Path:
    """Return the path of a shipped file by its name, or of the user's own by its path.

    Raise ``error`` with the nearest shipped name where there is no such file.
    """
    if name_or_path.endswith(".toml") or os.sep in name_or_path:
        path = Path(name_or_path)
        if not is_file(path):
            raise error(f"{name_or_path}: no such {what} file")
        return path
    shipped = data_directory(kind) / f"{name_or_path}.toml"
    if not is_file(shipped):
        choices = choices_text(name_or_path, shipped_names(kind))
        raise error(f"there is no {what} {name_or_path!r}: {choices}, or give a path to a .toml")
    return shipped


def is_file(path: Path) -> bool:
    """Return whether ``path`` is a file; a name that the system refuses is not."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def check_directory(directory: Path) -> None:
    """Raise :class:`FlexSimError` where ``directory`` neither is one nor can be made."""
    existing = next(each for each in (directory, *directory.absolute().parents) if each.exists())
    if not existing.is_dir():
        raise FlexSimError(f"{directory}: nothing can be written there: {existing} is a file")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise FlexSimError(f"{directory}: nothing can be written there: {existing} is read-only")


def read_toml(path: Path, error: type[FlexSimError]) -> dict[str, Any]:
    """Return a parsed TOML file; raise ``error`` in one sentence where it cannot be read."""
    try:
        with path.open("rb") as stream:
            return tomllib.load(stream)
    except (OSError, ValueError, RecursionError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else problem
        raise error(f"{path}: cannot be read: {reason}") from problem


def reason_of(problem: Exception) -> str:
    """Return what went wrong, in one line."""
    told = problem.strerror if isinstance(problem, OSError) else " ".join(str(problem).split())
    return told or type(problem).__name__


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that replaces it at the end, or leave it alone.

    The temporary path keeps the suffix, since picture writers choose a format by it. An
    :class:`OSError` names ``path``, not the temporary one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _temporary_beside(path) as temporary:
            yield temporary
            temporary.chmod(0o644)
            temporary.replace(path)
    except OSError as problem:
        raise OSError(problem.errno, problem.strerror or str(problem), str(path)) from problem


@contextlib.contextmanager
def _temporary_beside(path: Path) -> Iterator[Path]:
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
