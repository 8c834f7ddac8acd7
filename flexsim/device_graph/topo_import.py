"""From a table of ``nvidia-smi topo -m`` to a device-graph file with a host drawn link by link.

What the table does not say is inferred: GPUs that all have more NVLinks with one another than a
GPU has at all hang on an NVSwitch, and the ways over PCI Express become a tree of switches.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import combinations
from typing import TypeVar

from flexsim.device_graph.topo_text import PATHS, TopoTable
from flexsim.errors import DeviceGraphError
from flexsim.units import parse_bandwidth

Entry = TypeVar("Entry")

NVLINK_GENERATIONS = {
    "p100": (4, "20 GB/s"),
    "v100": (6, "25 GB/s"),
    "a100": (12, "25 GB/s"),
    "a800": (8, "25 GB/s"),
    "h100": (18, "25 GB/s"),
    "h200": (18, "25 GB/s"),
    "h800": (8, "25 GB/s"),
    "b200": (18, "50 GB/s"),
    "gb200": (18, "50 GB/s"),
}
"""NVLinks of a GPU and the bandwidth of one, each direction (NVIDIA's data sheets)."""
PCIE_GENERATIONS = {
    **dict.fromkeys(("k80", "p100", "v100", "rtx"), ("3.0", "15.75 GB/s")),
    **dict.fromkeys(("a100", "a800"), ("4.0", "31.5 GB/s")),
    **dict.fromkeys(("h100", "h200", "h800", "b200", "gb200"), ("5.0", "63 GB/s")),
}
"""PCI Express of a device type: generation and bandwidth of 16 lanes."""
GIVEN = ("nvlink", "pcie", "socket", "nic")
"""Bandwidths that may be given: of one NVLink, of PCI Express, between sockets, of a NIC."""
_MOST_NVLINKS = 18
_BRIDGE_NAMES = {"PIX": "pcie", "PXB": "bridge", "PHB": "root", "NODE": "socket"}


@dataclass(frozen=True)
class TopoOptions:
    """What the table does not say."""

    device_type: str
    bandwidths: dict[str, str] = field(default_factory=dict)
    """By a name of :data:`GIVEN`, as a file has it; others follow from the device type. Without
    one for ``nic`` the file has no network, and so one host."""


@dataclass(frozen=True)
class Group:
    """Links that are alike, as the file lists them."""

    kind: str
    bandwidth: str
    latency: str
    source: str
    """Where the numbers come from: a comment of the file."""
    between: list[tuple[str, str]] = field(default_factory=list)


def topology_file(table: TopoTable, options: TopoOptions, source: str) -> str:
    """Return the text of a device-graph file for a host with this table."""
    switches: list[str] = []
    groups = [*_nvlinks(table, options, switches, source), *_pcie(table, options, switches, source)]
    title = f"{len(table.devices)} × {options.device_type}, by nvidia-smi topo -m"
    head = [
        "# Read from a table of `nvidia-smi topo -m` by flexsim import-topology.",
        f"# {_inferred(table)}",
        f"title = {_quoted(title)}",
        f"device_type = {_quoted(options.device_type)}",
        "",
        "[host]",
        f"devices = {_listed(table.devices)}",
    ]
    nics = [f"nics = {_listed(table.nics)}"] if table.nics else []
    between = [f"switches = {_listed(switches)}"] if switches else []
    return "\n".join(
        [*head, *nics, *between, *map(_group_text, groups), *_network(table, options), ""]
    )


def _inferred(table: TopoTable) -> str:
    words = sorted({word for (first, second), word in table.words.items() if first != second})
    return f"Between GPUs and NICs it has {', '.join(words)}; switches are inferred from them."


def _nvlinks(
    table: TopoTable, options: TopoOptions, switches: list[str], source: str
) -> list[Group]:
    """Return NVLinks, direct or by a switch, as many groups as there are widths."""
    counts = {pair: table.nvlinks(*pair) for pair in combinations(table.devices, 2)}
    widths = sorted({count for count in counts.values() if count})
    if not widths:
        return []
    most, each = _generation(options, source)
    what = f"x {each}, NVIDIA's data sheet, each direction"
    if options.bandwidths.get("nvlink"):
        what = f"x {each}, as given"
    if all(counts.values()) and widths[0] * (len(table.devices) - 1) > most:
        switches.append("nvswitch")
        ends = [(device, "nvswitch") for device in table.devices]
        return [Group("nvlink", _times(widths[0], each), "300 ns", f"{widths[0]} {what}", ends)]
    return [
        Group(
            *("nvlink", _times(width, each), "600 ns", f"{width} {what}"),
            [pair for pair, count in counts.items() if count == width],
        )
        for width in widths
    ]


def _generation(options: TopoOptions, source: str) -> tuple[int, str]:
    """Return the NVLinks that a GPU has at most, and the bandwidth of one."""
    most, each = _by_type(options.device_type, NVLINK_GENERATIONS) or (_MOST_NVLINKS, "")
    if not (options.bandwidths.get("nvlink") or each):
        raise DeviceGraphError(
            f"{source}: the table has NVLinks, but their bandwidth is not known for the device type"
            f" {options.device_type!r}; give --bandwidth nvlink=..., or a device type of"
            f" {', '.join(NVLINK_GENERATIONS)}"
        )
    return most, options.bandwidths.get("nvlink", each)


def _pcie(table: TopoTable, options: TopoOptions, switches: list[str], source: str) -> list[Group]:
    """Return the tree of PCI Express, and the links between sockets at its top."""
    is_needed = table.nics or any(not table.nvlinks(*p) for p in combinations(table.devices, 2))
    if not is_needed:
        return []
    generation, bandwidth = _by_type(options.device_type, PCIE_GENERATIONS) or ("", "")
    bandwidth, origin = options.bandwidths.get("pcie") or bandwidth, f"PCI Express {generation} x16"
    if not bandwidth:
        raise DeviceGraphError(
            f"{source}: the generation of PCI Express is not known for the device type"
            f" {options.device_type!r}; give --bandwidth pcie=..., or a device type of"
            f" {', '.join(PCIE_GENERATIONS)}"
        )
    origin = "as given" if options.bandwidths.get("pcie") else origin
    links, sockets = _tree(table, switches)
    groups = [Group("pcie", bandwidth, "500 ns", origin, links)] if links else []
    socket = options.bandwidths.get("socket") or "20.8 GB/s"
    what = "as given" if options.bandwidths.get("socket") else "estimate: UPI, 10.4 GT/s x 2 bytes"
    pairs = list(combinations(sockets, 2))
    return [*groups, *([Group("socket", socket, "500 ns", what, pairs)] if pairs else [])]


def _tree(table: TopoTable, switches: list[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the links of the PCIe tree and its sockets, and add its switches to the others."""
    members = {name: name for name in table.names}
    """The topmost vertex over every GPU and NIC so far."""
    links: list[tuple[str, str]] = []
    for depth, path in enumerate(PATHS[:-1]):
        for position, group in enumerate(_connected(table, PATHS[: depth + 1])):
            tops = list(dict.fromkeys(members[name] for name in group))
            if len(tops) == 1 and not (path == "NODE" and tops[0] in table.names):
                continue
            switch = f"{_BRIDGE_NAMES[path]}{position}"
            switches.append(switch)
            links += [(top, switch) for top in tops]
            members |= dict.fromkeys(group, switch)
    return links, list(dict.fromkeys(members.values()))


def _connected(table: TopoTable, paths: tuple[str, ...]) -> list[list[str]]:
    """Return groups of GPUs and NICs that reach one another over these ways, in their order.

    GPUs whose way over PCI Express NVLinks hide are near where their processors are the same.
    """
    group_of = {name: name for name in table.names}
    for first, second in combinations(table.names, 2):
        if _is_near(table, first, second, paths) and group_of[first] != group_of[second]:
            old, new = group_of[second], group_of[first]
            group_of = {name: new if group == old else group for name, group in group_of.items()}
    return [
        [name for name in table.names if group_of[name] == group]
        for group in dict.fromkeys(group_of.values())
    ]


def _is_near(table: TopoTable, first: str, second: str, paths: tuple[str, ...]) -> bool:
    if table.words[first, second] in paths:
        return True
    same = table.affinity[first] == table.affinity[second]
    return bool(table.nvlinks(first, second)) and same and "NODE" in paths


def _by_type(device_type: str, table: dict[str, Entry]) -> Entry | None:
    """Return the entry whose key the device type begins with; the longest of several."""
    found = [key for key in table if device_type.startswith(key)]
    return table[max(found, key=len)] if found else None


def _times(count: int, bandwidth: str) -> str:
    return f"{count * parse_bandwidth(bandwidth) / 1e9:g} GB/s"


def _network(table: TopoTable, options: TopoOptions) -> list[str]:
    if not options.bandwidths.get("nic"):
        return []
    return [
        "",
        "[inter_host]",
        'kind = "infiniband"',
        f'bandwidth = "{options.bandwidths.get("nic")}"  # as given',
        'latency = "600 ns"  # NVIDIA ConnectX-6 user manual: "sub-600ns latency"',
    ]


def _group_text(group: Group) -> str:
    pairs = "\n".join(f"  {_listed(pair)}," for pair in group.between)
    return (
        f'\n[[host.links]]\nkind = "{group.kind}"\n'
        f'bandwidth = "{group.bandwidth}"  # {group.source}\nlatency = "{group.latency}"\n'
        f"between = [\n{pairs}\n]"
    )


def _listed(names: tuple[str, ...] | list[str]) -> str:
    return "[{}]".format(", ".join(map(_quoted, names)))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
