"""Reading a device-graph file: a shipped one by its name, the user's own by its path."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from flexsim.device_graph.base import with_bases
from flexsim.device_graph.graph import DeviceGraph
from flexsim.errors import DeviceGraphError
from flexsim.files import find_file, read_toml

if TYPE_CHECKING:
    from pydantic import BaseModel

    from flexsim.device_graph.schema import LevelsFile
    from flexsim.device_graph.schema_fat_tree import FatTreeFile, MixedFile

    Model = TypeVar("Model", bound=BaseModel)


def load_device_graph(name_or_path: str, hosts: int | None = None) -> DeviceGraph:
    """Return the device graph of a shipped name ("dgx-a100") or of a path to a .toml file.

    ``hosts`` replaces the number of hosts that a file by levels, of a fat tree or of a torus
    gives, and keeps only the first hosts of an explicit or mixed one. Raise
    :class:`DeviceGraphError` in one sentence for a file that is missing, malformed or too small.
    """
    path = find_file("device_graphs", name_or_path, DeviceGraphError, "device graph")
    return device_graph_from(read_toml(path, DeviceGraphError), path, hosts)


def device_graph_from(content: dict[str, Any], path: Path, hosts: int | None = None) -> DeviceGraph:
    """Return the device graph of a parsed file; ``path`` names it in messages."""
    if hosts is not None and hosts < 1:
        raise DeviceGraphError(f"{path}: hosts = {hosts} must be 1 or more")
    whole = with_bases(content, path)
    return _family(whole)(whole, path, hosts)


def _family(content: dict[str, Any]) -> Callable[[dict[str, Any], Path, int | None], DeviceGraph]:
    """Return the reader of a file's family, told by the tables that only this family has."""
    for keys, reader in _FAMILIES:
        if any(key in content for key in keys):
            return reader
    return _levels


def _checked(model: type[Model], content: dict[str, Any], path: Path) -> Model:
    from pydantic import ValidationError

    from flexsim.validation import one_sentence

    try:
        return model.model_validate(content)
    except ValidationError as problem:
        raise DeviceGraphError(one_sentence(str(path), problem, model)) from problem


def _explicit(content: dict[str, Any], path: Path, hosts: int | None) -> DeviceGraph:
    from flexsim.device_graph.explicit import build_explicit
    from flexsim.device_graph.schema import ExplicitFile

    file = _checked(ExplicitFile, content, path)
    num_hosts = len(file.hosts) if hosts is None else hosts
    _check_at_most(path, num_hosts, len(file.hosts), "the hosts that the file lists")
    return build_explicit(file, file.name or path.stem, str(path), num_hosts)


def _levels(content: dict[str, Any], path: Path, hosts: int | None) -> DeviceGraph:
    from flexsim.device_graph.levels import build_levels
    from flexsim.device_graph.schema import LevelsFile

    file = _checked(LevelsFile, content, path)
    num_hosts = _num_hosts(file, path, hosts, file.devices_per_host)
    return build_levels(file, file.name or path.stem, str(path), num_hosts)


def _fat_tree(content: dict[str, Any], path: Path, hosts: int | None) -> DeviceGraph:
    from flexsim.device_graph.cluster import build_cluster
    from flexsim.device_graph.schema_fat_tree import FatTreeFile

    file = _checked(FatTreeFile, content, path)
    num_hosts = _num_hosts(file, path, hosts, file.num_devices)
    return build_cluster(file, [num_hosts], file.name or path.stem, str(path))


def _mixed(content: dict[str, Any], path: Path, hosts: int | None) -> DeviceGraph:
    from flexsim.device_graph.cluster import build_cluster
    from flexsim.device_graph.schema_fat_tree import MixedFile

    file = _checked(MixedFile, content, path)
    available = [kind.hosts for kind in file.host_types]
    num_hosts = sum(available) if hosts is None else hosts
    _check_at_most(path, num_hosts, sum(available), "the hosts that the file lists")
    _check_mixed(file, num_hosts, path)
    counts: list[int] = []
    for each in available:
        counts.append(min(each, num_hosts - sum(counts)))
    return build_cluster(file, counts, file.name or path.stem, str(path))


def _torus(content: dict[str, Any], path: Path, hosts: int | None) -> DeviceGraph:
    from flexsim.device_graph.pods import build_pods, resized
    from flexsim.device_graph.schema_torus import TorusFile

    file = _checked(TorusFile, content, path)
    num_hosts = file.num_hosts if hosts is None else hosts
    _check_at_most(path, num_hosts, file.max_hosts or num_hosts, "its max_hosts")
    file = resized(file, num_hosts, str(path))
    _check_size(path, file.num_hosts, file.devices_per_host)
    return build_pods(file, file.name or path.stem, str(path))


def _num_hosts(
    file: LevelsFile | FatTreeFile, path: Path, hosts: int | None, devices_per_host: int
) -> int:
    """Return the number of hosts that is asked for, if the file allows it."""
    num_hosts = file.hosts if hosts is None else hosts
    _check_at_most(path, num_hosts, file.max_hosts or num_hosts, "its max_hosts")
    _check_size(path, num_hosts, devices_per_host)
    if num_hosts > 1 and file.inter_host is None:
        raise DeviceGraphError(
            f"{path}: hosts = {num_hosts}, but the table inter_host is missing, so the devices"
            " of host1 cannot be reached from host0; add it or choose hosts = 1"
        )
    return num_hosts


def _check_mixed(file: MixedFile, num_hosts: int, path: Path) -> None:
    for position, kind in enumerate(file.host_types):
        if num_hosts > 1 and kind.inter_host is None:
            raise DeviceGraphError(
                f"{path}: the table host_types[{position}].inter_host is missing: it says how"
                " these hosts reach the others"
            )
        _check_size(path, num_hosts, kind.num_devices)


def _check_size(path: Path, num_hosts: int, devices_per_host: int) -> None:
    from flexsim.device_graph.schema import MOST_DEVICES

    most = max(1, MOST_DEVICES // devices_per_host)
    _check_at_most(path, num_hosts, most, f"{MOST_DEVICES:,} devices allow")


def _check_at_most(path: Path, hosts: int, most: int, limit: str) -> None:
    if hosts > most:
        raise DeviceGraphError(
            f"{path}: hosts = {hosts} is more than {limit}; choose from 1 to {most}"
        )


_FAMILIES = (
    (("torus",), _torus),
    (("devices", "switches", "links"), _explicit),
    (("host_types",), _mixed),
    (("host", "fat_tree"), _fat_tree),
)
