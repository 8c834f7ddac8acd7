"""Files that build on others: ``base`` names one whose keys hold where the file gives none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from flexsim.errors import DeviceGraphError
from flexsim.files import find_file, read_toml

_DEEPEST = 8
_OF_THE_FILE = ("name", "title", "max_hosts", "fat_tree", "base")
"""Keys that describe a cluster, not its hosts."""


def with_bases(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return a parsed file together with what its base, and that of each kind of host, says."""
    whole = _on_base(content, path, "", 0)
    kinds = whole.get("host_types")
    if not isinstance(kinds, list):
        return whole
    return whole | {"host_types": [_host_type(kind, path, i) for i, kind in enumerate(kinds)]}


def _host_type(kind: Any, path: Path, position: int) -> Any:
    """Return one kind of host; of its base only what describes a host is taken over."""
    if not isinstance(kind, dict) or "base" not in kind:
        return kind
    where = f"host_types[{position}]."
    whole = _on_base(kind, path, where, 0)
    if "device_type" not in whole or "torus" in whole:
        raise DeviceGraphError(
            f"{path}: {where}base = {kind['base']!r} gives no kind of host: choose a device graph"
            " by levels or of a fat tree, with one kind of host"
        )
    return {key: value for key, value in whole.items() if key not in _OF_THE_FILE}


def _on_base(content: dict[str, Any], path: Path, where: str, depth: int) -> dict[str, Any]:
    base = content.get("base")
    if not isinstance(base, str):
        return content
    if depth == _DEEPEST:
        raise DeviceGraphError(f"{path}: {where}base = {base!r} builds on itself; name another")
    beside = str(path.parent / base) if base.endswith(".toml") or os.sep in base else base
    base_path = find_file("device_graphs", beside, DeviceGraphError, "device graph")
    below = _on_base(read_toml(base_path, DeviceGraphError), base_path, "", depth + 1)
    kept = {key: value for key, value in below.items() if key not in ("base", "name", "title")}
    return _merged(kept, content)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return both; where both have a key the upper one holds, tables key by key."""
    whole = dict(below)
    for key, value in above.items():
        lower = whole.get(key)
        is_table = isinstance(lower, dict) and isinstance(value, dict)
        whole[key] = _merged(whole[key], value) if is_table else value
    return whole
