"""``flexsim describe``: a device graph in lines and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from flexsim.device_graph import DeviceGraph


def describe_command(
    file: Annotated[
        str, typer.Argument(help="A device graph: a file or a shipped name.", show_default=False)
    ],
    hosts: Annotated[int | None, typer.Option(help="Number of hosts.", show_default=False)] = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Picture to write (.png, .svg, .pdf); plots/<name>.png unless given."),
    ] = None,
) -> None:
    """Print what a device graph holds, and draw it."""
    from flexsim.cli.console import facts_table, out
    from flexsim.device_graph import load_device_graph
    from flexsim.device_graph.describe import describe

    graph = load_device_graph(file, hosts)
    path = plot or Path(f"plots/{graph.name}.png")
    _draw(graph, path)
    out().print(facts_table([*describe(graph), ("picture", str(path))]))


def _draw(graph: DeviceGraph, path: Path) -> None:
    import matplotlib as mpl

    from flexsim.cli.pictures import save_figure
    from flexsim.plotting.topology import topology_figure

    # Names are a user's: a dollar sign in them begins no formula.
    with mpl.rc_context({"text.parse_math": False}):
        save_figure(topology_figure(graph), path)
