"""Fingerprints: one short text for everything that the result of a configuration follows from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from flexsim.device_graph.base import with_bases
from flexsim.errors import FlexSimError
from flexsim.files import data_directory, is_file, read_toml
from flexsim.sweep.axes import Axis
from flexsim.sweep.keys import defaults

_LENGTH = 16
_SHIPPED = {"cluster.device_graph": "device_graphs", "training.software": "profiles/software"}
"""Keys whose names stand for shipped files, and where these lie."""
_SUFFIXES = (".toml", ".csv", ".json", ".txt")


def fingerprint(parts: Any) -> str:
    """Return 16 hexadecimal digits that differ where ``parts`` (plain values) differ."""
    text = json.dumps(parts, sort_keys=True, default=str, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_LENGTH]


@cache
def environment() -> str:
    """Return the fingerprint of this version and of the profiles of devices beside it."""
    from flexsim import __version__

    profiles = sorted(data_directory("profiles/devices").glob("*.toml"))
    return fingerprint([__version__, *((path.name, _of_file(path)) for path in profiles)])


class Fingerprints:
    """Fingerprints of configurations that share most of their keys.

    ``keys`` are those of the scenario, ``varied`` those that a configuration may set; ``asked``
    is what else a result follows from. Files that values name, in ``folder`` or by themselves,
    count with what is in them, and with the bases of device graphs.
    """

    def __init__(
        self, keys: Mapping[str, Any], varied: Iterable[str], asked: Any, folder: Path
    ) -> None:
        _content.cache_clear()  # files may have changed since
        _known_text.cache_clear()
        self._folder = str(folder)
        keys = {key: defaults()[key] for key in _SHIPPED} | dict(keys)
        self._fixed = {key: _part(key, value, self._folder) for key, value in keys.items()}
        self._order = sorted({*keys, *varied})
        self._asked = fingerprint([environment(), asked])

    def of_all(self, axes: Iterable[Axis]) -> str:
        """Return a fingerprint of all values that keys may take, and of the files they name."""
        digest = hashlib.sha256(self.of({}).encode())
        for axis in axes:
            for step in axis.steps:
                for key, value in zip(axis.keys, step, strict=True):
                    digest.update(_part(key, value, self._folder).encode())
        return digest.hexdigest()[:_LENGTH]

    def of(self, values: Mapping[str, Any]) -> str:
        """Return the fingerprint of the configuration with ``values``."""
        varied = {key: _part(key, value, self._folder) for key, value in values.items()}
        parts = self._fixed | varied
        text = "\n".join([self._asked, *filter(None, map(parts.get, self._order))])
        return hashlib.sha256(text.encode()).hexdigest()[:_LENGTH]


def _part(key: str, value: Any, folder: str) -> str:
    if isinstance(value, list | dict):
        return _text(key, value, folder)
    return _known_text(key, type(value).__name__, value, folder)


@lru_cache(maxsize=20_000)
def _known_text(key: str, kind: str, value: Any, folder: str) -> str:
    return _text(key, value, folder)


def _text(key: str, value: Any, folder: str) -> str:
    """Return a key, its value, and what is in the files that the value names."""
    named = value if isinstance(value, list) else [value]
    paths = [_named(key, name, folder) for name in named if isinstance(name, str)]
    contents = [_content(path) for path in paths if path is not None]
    return json.dumps([key, value, contents], sort_keys=True, default=str)


def _named(key: str, name: str, folder: str) -> Path | None:
    """Return the file that a value of a key stands for, if any."""
    if name.endswith(_SUFFIXES):
        candidates = [Path(folder) / name, Path(name)]
    else:
        candidates = [data_directory(_SHIPPED[key]) / f"{name}.toml"] if key in _SHIPPED else []
    return next(filter(is_file, candidates), None)


@lru_cache(maxsize=1024)
def _content(path: Path) -> str:
    """Return the fingerprint of a file; a device graph counts with its bases."""
    try:
        whole = with_bases(read_toml(path, FlexSimError), path) if path.suffix == ".toml" else None
    except FlexSimError:
        whole = None
    return _of_file(path) if whole is None else fingerprint(whole)


def _of_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:_LENGTH]
