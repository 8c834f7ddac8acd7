"""Fingerprints: one short text for everything that the result of a configuration follows from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from flexsim.files import data_directory

_LENGTH = 16
_SHIPPED = ("device_graphs", "profiles/devices", "profiles/software")


def fingerprint(parts: Any) -> str:
    """Return 16 hexadecimal digits that differ where ``parts`` (plain values) differ."""
    text = json.dumps(parts, sort_keys=True, default=str, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_LENGTH]


@cache
def environment() -> str:
    """Return the fingerprint of this version and of the device graphs and profiles beside it."""
    from flexsim import __version__

    return fingerprint([__version__, *(_of_file(str(path)) for path in _shipped())])


def _shipped() -> Iterator[Path]:
    for kind in _SHIPPED:
        yield from sorted(data_directory(kind).rglob("*.*"))


class Fingerprints:
    """Fingerprints of configurations that share most of their keys.

    ``keys`` are those of the scenario, ``varied`` those that a configuration may set; ``asked``
    is what else a result follows from. Files that values name, in ``folder`` or by themselves,
    count with what is in them, and with the bases of device graphs.
    """

    def __init__(
        self, keys: Mapping[str, Any], varied: Iterable[str], asked: Any, folder: Path
    ) -> None:
        self._folder = str(folder)
        self._fixed = {key: _part(key, value, self._folder) for key, value in keys.items()}
        self._order = sorted({*keys, *varied})
        self._asked = fingerprint([environment(), asked])

    def of(self, values: Mapping[str, Any]) -> str:
        """Return the fingerprint of the configuration with ``values``."""
        parts = dict(self._fixed)
        for key, value in values.items():
            parts[key] = _part(key, value, self._folder)
        text = "\n".join([self._asked, *(parts[key] for key in self._order if key in parts)])
        return hashlib.sha256(text.encode()).hexdigest()[:_LENGTH]


def _part(key: str, value: Any, folder: str) -> str:
    if isinstance(value, list | dict):
        return _text(key, value, folder)
    return _known_text(key, type(value).__name__, value, folder)


@lru_cache(maxsize=20_000)
def _known_text(key: str, kind: str, value: Any, folder: str) -> str:
    return _text(key, value, folder)


def _text(key: str, value: Any, folder: str) -> str:
    files: dict[str, str] = {}
    for text in value if isinstance(value, list) else (value,):
        if isinstance(text, str) and text.endswith((".toml", ".csv", ".json", ".txt")):
            files |= _contents(text, folder)
    return json.dumps([key, value, files], sort_keys=True, default=str)


@lru_cache(maxsize=1024)
def _contents(name: str, folder: str) -> dict[str, str]:
    for path in (Path(folder) / name, Path(name)):
        if path.is_file():
            return {name: _of_file(str(path)), **_bases(path)}
    return {name: ""}


def _bases(path: Path) -> dict[str, str]:
    from flexsim.device_graph.base import with_bases
    from flexsim.errors import FlexSimError
    from flexsim.files import read_toml

    if path.suffix != ".toml":
        return {}
    try:
        return {
            f"base of {path.name}": fingerprint(with_bases(read_toml(path, FlexSimError), path))
        }
    except FlexSimError:
        return {}


@lru_cache(maxsize=1024)
def _of_file(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:_LENGTH]
