"""From a run's words about its hardware to a device graph, hosts and devices."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from flexsim.accuracy.cells import Cells, UnsimulatableError
from flexsim.accuracy.spellings import CLUSTERS
from flexsim.device_graph import load_device_graph
from flexsim.files import shipped_names


@dataclass(frozen=True)
class Degrees:
    """How many ways a run is split; their product is the number of devices."""

    tensor: int
    pipeline: int
    data: int
    context: int

    @property
    def num_devices(self) -> int:
        """Devices in all."""
        return self.tensor * self.pipeline * self.data * self.context


def cluster_of(cells: Cells, num_devices: int) -> dict[str, Any]:
    """Return the ``[cluster]`` table; raise :class:`UnsimulatableError` for unknown devices."""
    graph = device_graph_of(cells)
    usual_hosts, a_host = _hosts_of(graph)
    _check_hosts(cells, graph, a_host)
    hosts = math.ceil(num_devices / a_host)
    table: dict[str, Any] = {"device_graph": graph}
    if hosts != usual_hosts:
        table["hosts"] = hosts
    if num_devices != hosts * a_host:
        table["devices"] = num_devices
    return table


def device_graph_of(cells: Cells) -> str:
    """Return the name of the device graph of a run's devices and network."""
    asked = f"{cells.text('gpu')} {cells.text('gpu_mem_gb')}g"
    device = re.sub(r"[\s_-]", "", asked.lower())
    if not cells.text("gpu"):
        raise UnsimulatableError("gpu is empty")
    network = cells.words("hardware", "interconnect")
    for cluster in CLUSTERS:
        if re.search(cluster.device, device) and re.search(cluster.network, network):
            return cluster.device_graph
    known = ", ".join(shipped_names("profiles/devices"))
    raise UnsimulatableError(
        f"gpu = {cells.text('gpu')!r}: there is no device profile for it, only {known}"
    )


def degrees_of(cells: Cells) -> Degrees:
    """Return the degrees; data parallelism takes what the others leave, unless it is given."""
    tensor, pipeline, context = (cells.count(column) or 1 for column in ("tp", "pp", "cp"))
    data, devices, inner = cells.count("dp"), _devices(cells), tensor * pipeline * context
    _check_degrees_known(cells, devices)
    if devices is None:
        devices = inner * (data or 1)
    if (data or 1) * inner > devices or devices % inner or inner * (data or devices) < devices:
        raise UnsimulatableError(
            f"tp x pp x dp x cp = {inner * (data or 1)} does not fit gpus = {devices}"
        )
    return Degrees(tensor, pipeline, data or devices // inner, context)


def _check_degrees_known(cells: Cells, devices: int | None) -> None:
    """A run on many devices that tells none of its degrees is not one of data parallelism."""
    if devices != 1 and not any(cells.text(column) for column in ("tp", "pp", "dp")):
        raise UnsimulatableError("how it was split is not given: tp, pp and dp are empty")
    if devices != 1 and not cells.text("tp") and not cells.text("dp"):
        raise UnsimulatableError("how it was split is not given: tp and dp are empty")


def _devices(cells: Cells) -> int | None:
    given, nodes, a_node = (cells.count(column) for column in ("gpus", "nodes", "gpus_per_node"))
    return given or (nodes * a_node if nodes and a_node else None)


def _check_hosts(cells: Cells, graph: str, a_host: int) -> None:
    nodes, a_node = cells.count("nodes"), cells.count("gpus_per_node")
    if nodes and nodes > 1 and a_node and a_node != a_host:
        raise UnsimulatableError(
            f"gpus_per_node = {a_node}, but a host of the device graph {graph} has {a_host} devices"
        )


@cache
def _hosts_of(graph: str) -> tuple[int, int]:
    """Return the hosts of a device graph that is asked for none, and the devices of a host."""
    found = load_device_graph(graph)
    return found.num_hosts, found.num_devices // found.num_hosts
