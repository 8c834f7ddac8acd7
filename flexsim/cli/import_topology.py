"""``flexsim import-topology``: what ``nvidia-smi topo -m`` prints as a device-graph file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def import_topology_command(
    file: Annotated[
        Path, typer.Argument(help="What `nvidia-smi topo -m` printed.", show_default=False)
    ],
    device_type: Annotated[
        str, typer.Option(help="A device profile: a shipped name or a file.", show_default=False)
    ],
    output: Annotated[
        Path | None, typer.Option(help="File to write; printed unless given.", show_default=False)
    ] = None,
    bandwidth: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND=VALUE",
            help="Of one NVLink, of pcie, socket or nic: nic=200Gb/s. May be repeated.",
        ),
    ] = None,
) -> None:
    """Write a device-graph file from what `nvidia-smi topo -m` prints on a machine."""
    from flexsim.cost.profiles import load_device_profile
    from flexsim.device_graph.topo_import import TopoOptions, topology_file
    from flexsim.device_graph.topo_text import parse_topo
    from flexsim.files import whole_file

    load_device_profile(device_type)
    text = file.read_text(encoding="utf-8", errors="replace")
    options = TopoOptions(device_type, _bandwidths(bandwidth or []))
    written = topology_file(parse_topo(text, str(file)), options, str(file))
    if output is None:
        print(written, end="")
        return
    with whole_file(output) as temporary:
        temporary.write_text(written, encoding="utf-8")
    print(f"wrote {output}; look at it with: flexsim describe {output}")


def _bandwidths(given: list[str]) -> dict[str, str]:
    """Return bandwidths by what they are of, as they were given."""
    from flexsim.device_graph.topo_import import GIVEN
    from flexsim.errors import FlexSimError, choices_text
    from flexsim.units import parse_bandwidth

    found = {}
    for each in given:
        kind, _, value = each.partition("=")
        if kind not in GIVEN:
            raise FlexSimError(f"--bandwidth {each}: {choices_text(kind, GIVEN)}, as in nic=25GB/s")
        if parse_bandwidth(value) <= 0:
            raise FlexSimError(f"--bandwidth {each}: a bandwidth must be above zero")
        found[kind] = value
    return found
