"""Reading a device-graph file: a shipped one by its name, the user's own by its path."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from flexsim.device_graph.graph import DeviceGraph
from flexsim.errors import DeviceGraphError
from flexsim.files import find_file, read_toml

if TYPE_CHECKING:
    from pydantic import BaseModel

    from flexsim.device_graph.schema import ExplicitFile, LevelsFile

    Model = TypeVar("Model", bound=BaseModel)

_EXPLICIT_KEYS = ("devices", "switches", "links")


def load_device_graph(name_or_path: str, hosts: int | None = None) -> DeviceGraph:
    """Return the device graph of a shipped name ("dgx-a100") or of a path to a .toml file.

    ``hosts`` replaces the number of hosts that a levels file gives, and keeps only the first
    hosts of an explicit one. Raise :class:`DeviceGraphError` in one sentence for a file that
    is missing, malformed or too small.
    """
    path = find_file("device_graphs", name_or_path, DeviceGraphError, "device graph")
    return device_graph_from(read_toml(path, DeviceGraphError), path, hosts)


def device_graph_from(content: dict[str, Any], path: Path, hosts: int | None = None) -> DeviceGraph:
    """Return the device graph of a parsed file; ``path`` names it in messages."""
    from flexsim.device_graph.schema import ExplicitFile, LevelsFile

    if hosts is not None and hosts < 1:
        raise DeviceGraphError(f"{path}: hosts = {hosts} must be 1 or more")
    if any(key in content for key in _EXPLICIT_KEYS):
        return _explicit(_checked(ExplicitFile, content, path), path, hosts)
    return _levels(_checked(LevelsFile, content, path), path, hosts)


def _checked(model: type[Model], content: dict[str, Any], path: Path) -> Model:
    from pydantic import ValidationError

    from flexsim.validation import one_sentence

    try:
        return model.model_validate(content)
    except ValidationError as problem:
        raise DeviceGraphError(one_sentence(str(path), problem, model)) from problem


def _explicit(file: ExplicitFile, path: Path, hosts: int | None) -> DeviceGraph:
    from flexsim.device_graph.explicit import build_explicit

    num_hosts = len(file.hosts) if hosts is None else hosts
    _check_at_most(path, num_hosts, len(file.hosts), "the hosts that the file lists")
    return build_explicit(file, file.name or path.stem, str(path), num_hosts)


def _levels(file: LevelsFile, path: Path, hosts: int | None) -> DeviceGraph:
    from flexsim.device_graph.levels import build_levels
    from flexsim.device_graph.schema import MOST_DEVICES

    num_hosts = file.hosts if hosts is None else hosts
    _check_at_most(path, num_hosts, file.max_hosts or num_hosts, "its max_hosts")
    most = max(1, MOST_DEVICES // file.devices_per_host)
    _check_at_most(path, num_hosts, most, f"{MOST_DEVICES:,} devices allow")
    if num_hosts > 1 and file.inter_host is None:
        raise DeviceGraphError(
            f"{path}: hosts = {num_hosts}, but the table inter_host is missing, so the devices"
            " of host1 cannot be reached from host0; add it or choose hosts = 1"
        )
    return build_levels(file, file.name or path.stem, str(path), num_hosts)


def _check_at_most(path: Path, hosts: int, most: int, limit: str) -> None:
    if hosts > most:
        raise DeviceGraphError(
            f"{path}: hosts = {hosts} is more than {limit}; choose from 1 to {most}"
        )
