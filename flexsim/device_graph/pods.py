"""Pods: tori of devices, each box of devices with a host; a network may join several pods."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flexsim.device_graph.blocks import BlockRouter, Blocks
from flexsim.device_graph.columns import LinkBlock, both_ways, joined_links
from flexsim.device_graph.fat_tree import FatTree
from flexsim.device_graph.graph import SHARED, DeviceGraph, Router
from flexsim.device_graph.schema_torus import TWISTED_SHAPES, shape_text
from flexsim.device_graph.torus import TorusRouter, has_twist
from flexsim.errors import DeviceGraphError
from flexsim.ragged import Csr

if TYPE_CHECKING:
    from flexsim.device_graph.schema_torus import TorusFile

Int64 = NDArray[np.int64]

_ALWAYS_ONE_IN = 2**16


@dataclass(frozen=True, eq=False)
class Pod:
    """One pod: devices on a torus, and a NIC a host; the NICs are its ports."""

    router: TorusRouter
    block: tuple[int, ...]
    """The box of devices that a host has."""

    @property
    def num_devices(self) -> int:
        """Devices of the pod."""
        return self.router.torus.size

    @property
    def num_hosts(self) -> int:
        """Hosts of the pod."""
        return self.num_devices // int(np.prod(self.block))

    @property
    def num_torus_links(self) -> int:
        """Directed links between devices."""
        return len(self.router.ends()[0])

    @cached_property
    def port_of_device(self) -> Int64:
        """The host of every device; hosts are numbered row-major too."""
        shape = self.router.torus.shape
        points = self.router.torus.points(np.arange(self.num_devices)) // np.array(self.block)
        hosts = tuple(size // part for size, part in zip(shape, self.block, strict=True))
        return np.asarray(np.ravel_multi_index(tuple(points.T), hosts), np.int64)

    def routes(self, sources: Int64, targets: Int64) -> Csr:
        """Return dimension-ordered routes."""
        return self.router.routes(sources, targets)

    def outward(self, devices: Int64) -> Csr:
        """Return the link to the NIC."""
        return _single(self.num_torus_links + devices)

    def inward(self, devices: Int64) -> Csr:
        """Return the link from the NIC."""
        return _single(self.num_torus_links + self.num_devices + devices)


def build_pods(file: TorusFile, name: str, source: str) -> DeviceGraph:
    """Return the device graph of all pods of a file."""
    pod = Pod(TorusRouter(file.torus.torus), file.torus.block)
    pods = np.arange(file.pods)[:, None]
    host_of_device = (pods * pod.num_hosts + pod.port_of_device).ravel()
    nics = range(file.num_hosts) if file.nic else ()
    shared = np.full(1 if file.nic else 0, SHARED)
    hosts = np.concatenate([host_of_device, np.array(nics, np.int64), shared])
    hosts = np.concatenate([host_of_device, np.array(nics, np.int64), shared])
    return DeviceGraph(
        name=name,
        source=source,
        title=file.title,
        device_types=(file.device_type,) * (file.pods * pod.num_devices),
        vertex_names=(*_names(file, pod), *(["network-switch"] if file.nic else [])),
        host_names=tuple(f"host{host}" for host in range(file.num_hosts)),
        host_of_vertex=hosts.astype(np.int32),
        links=joined_links(_blocks(file, pod)),
        router=_router(file, pod),
        torus=file.torus.shape,
    )


def resized(file: TorusFile, hosts: int, source: str) -> TorusFile:
    """Return a file with another number of hosts: as many pods, each as near to a cube as may be.

    A pod of at least a cube of the file consists of whole cubes. Raise
    :class:`DeviceGraphError` where the hosts cannot form such pods.
    """
    if hosts == file.num_hosts:
        return file
    shape = _shape_of(file, hosts)
    if shape is None:
        what = "a torus" if file.pods == 1 else f"{file.pods} equal tori"
        raise DeviceGraphError(
            f"{source}: {hosts} hosts of {file.devices_per_host} devices do not form {what}: choose"
            f" hosts = {_nearest(file, hosts)}"
        )
    if file.torus.twisted and not has_twist(shape):
        raise DeviceGraphError(
            f"{source}: {hosts} hosts form a torus of {shape_text(shape)}, which has no twist:"
            f" choose another number of hosts, or give one of the shapes {TWISTED_SHAPES}"
        )
    torus = file.torus.model_copy(update={"shape": shape})
    return file.model_copy(update={"torus": torus, "hosts": None, "devices": None})


def _shape_of(file: TorusFile, hosts: int) -> tuple[int, ...] | None:
    """Return the shape of a pod with the least sum of sizes, None where there is none."""
    if hosts % file.pods:
        return None
    num_devices = hosts // file.pods * file.devices_per_host
    cube = file.torus.cube_shape or file.torus.block
    unit = cube if num_devices >= math.prod(cube) else file.torus.block
    shapes = _shapes(num_devices, unit)
    return min(shapes, key=lambda shape: (sum(shape), shape), default=None)


def _shapes(num_devices: int, unit: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yield the boxes of so many devices whose sizes are multiples of ``unit``."""
    first, *rest = unit
    if not rest:
        yield from [(num_devices,)] if num_devices % first == 0 else []
        return
    for size in range(first, num_devices + 1, first):
        if num_devices % size == 0:
            yield from ((size, *others) for others in _shapes(num_devices // size, tuple(rest)))


def _nearest(file: TorusFile, hosts: int) -> str:
    """Return the next smaller and the next larger number of hosts that form tori."""
    smaller = next((n for n in range(hosts - 1, 0, -1) if _shape_of(file, n)), None)
    larger = next(n for n in range(hosts + 1, 2 * hosts + _ALWAYS_ONE_IN) if _shape_of(file, n))
    return " or ".join(str(each) for each in (smaller, larger) if each)


def _router(file: TorusFile, pod: Pod) -> Router:
    if file.inter_pod is None or file.pods == 1:
        return pod.router
    first = np.arange(file.pods, dtype=np.int64)
    num_links = pod.num_torus_links + 2 * pod.num_devices
    starts = (first * pod.num_devices, first * pod.num_hosts, first * num_links)
    ports = np.arange(file.num_hosts, dtype=np.int64)
    network = FatTree(np.zeros_like(ports), ports, 1, 1, 0, 0, hashed=False)
    blocks = Blocks(np.zeros_like(first), *starts)
    return BlockRouter(blocks, [pod], network, file.pods * num_links)


def _blocks(file: TorusFile, pod: Pod) -> list[LinkBlock]:
    """Return pod by pod its torus and the links to its NICs, then those to the network."""
    source, target = pod.router.ends()
    torus = (file.torus.kind, file.torus.bandwidth, file.torus.latency)
    num_devices = file.pods * pod.num_devices
    blocks = []
    for number in range(file.pods):
        first = number * pod.num_devices
        blocks.append(LinkBlock(first + source, first + target, *torus))
        if file.nic:
            nics = num_devices + number * pod.num_hosts + pod.port_of_device
            blocks += both_ways(first + np.arange(pod.num_devices), nics, file.nic)
    if file.inter_pod:
        nics = num_devices + np.arange(file.num_hosts)
        blocks += both_ways(nics, np.full_like(nics, num_devices + file.num_hosts), file.inter_pod)
    return blocks


def _names(file: TorusFile, pod: Pod) -> list[str]:
    """Return ``pod0.tpu(1,2,3)`` for devices (the pod only where there are several) and NICs."""
    points = ["({})".format(",".join(map(str, p))) for p in np.ndindex(*file.torus.shape)]
    kind = file.device_type.partition("-")[0]
    pods = [f"pod{number}." if file.pods > 1 else "" for number in range(file.pods)]
    devices = [f"{each}{kind}{point}" for each in pods for point in points]
    return devices + [f"host{host}.nic" for host in range(file.num_hosts if file.nic else 0)]


def _single(links: Int64) -> Csr:
    return Csr(np.arange(len(links) + 1, dtype=np.int64), links.astype(np.int32))
