"""``flexsim collective``: one collective at many message sizes, as nccl-tests prints it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from flexsim.scenario.collective_table import CollectiveTable


def collective_command(  # noqa: PLR0913
    collective: Annotated[
        str,
        typer.Argument(
            help="all-reduce, all-gather, reduce-scatter, all-to-all or broadcast.",
            show_default=False,
        ),
    ],
    *,
    device_graph: Annotated[
        str, typer.Option(help="A device graph: a file or a shipped name.", show_default=False)
    ],
    hosts: Annotated[int | None, typer.Option(help="Number of hosts.", show_default=False)] = None,
    devices: Annotated[
        int | None,
        typer.Option(help="The first so many devices; all unless given.", show_default=False),
    ] = None,
    least: Annotated[str, typer.Option("--min", help="Least message.")] = "1 KB",
    most: Annotated[str, typer.Option("--max", help="Largest message.")] = "1 GB",
    step_factor: Annotated[int, typer.Option(help="From one size to the next.")] = 2,
    algorithm: Annotated[
        str, typer.Option(help="auto takes the fastest by formula for each size.")
    ] = "auto",
    network: Annotated[
        str, typer.Option(help="analytic, links (steps hold links) or fair (flows share links).")
    ] = "analytic",
    as_json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Picture to write (.png, .svg, .pdf).", show_default=False)
    ] = None,
) -> None:
    """Print time and bandwidth of a collective from small messages to large ones."""
    from flexsim.device_graph import load_device_graph
    from flexsim.scenario.collective_table import collective_table, message_sizes

    sizes = message_sizes(_bytes("--min", least), _bytes("--max", most), step_factor)
    graph = load_device_graph(device_graph, hosts)
    table = collective_table(collective, graph, devices, sizes, algorithm, network)
    if plot is not None:
        _draw(table, plot)
    if as_json:
        print(json.dumps(_content(table), indent=2))
    else:
        _print(table, plot)


def _bytes(option: str, text: str) -> float:
    from flexsim.errors import FlexSimError
    from flexsim.units import parse_bytes

    try:
        return parse_bytes(text)
    except FlexSimError as problem:
        raise FlexSimError(f"{option}: {problem}") from problem


def _content(table: CollectiveTable) -> dict[str, object]:
    from dataclasses import asdict

    return asdict(table)


def _print(table: CollectiveTable, plot: Path | None) -> None:
    from flexsim.cli.console import out

    console = out()
    where = f"{table.num_devices:,} devices of {table.device_graph}, {table.network} network"
    console.print(f"{table.collective} among {where}\n", highlight=False, markup=False)
    console.print(_rows(table))
    if plot is not None:
        console.print(f"\nwrote {plot}", highlight=False, markup=False, soft_wrap=True)


def _rows(table: CollectiveTable) -> Table:
    """Return the rows as nccl-tests has them: bytes, microseconds, GB/s."""
    from rich import box
    from rich.table import Table

    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in ("size (B)", "time (us)", "algorithm", "algbw (GB/s)", "busbw (GB/s)"):
        shown.add_column(name, justify="left" if name == "algorithm" else "right", no_wrap=True)
    for row in table.rows:
        shown.add_row(
            f"{row.num_bytes:,}",
            f"{row.time_ns / 1e3:,.2f}",
            row.algorithm,
            f"{row.algorithm_bandwidth_bytes_per_s / 1e9:,.2f}",
            f"{row.bus_bandwidth_bytes_per_s / 1e9:,.2f}",
        )
    return shown


def _draw(table: CollectiveTable, path: Path) -> None:
    from flexsim.cli.pictures import save_figure
    from flexsim.plotting.collectives import collective_figure

    where = f"{table.num_devices:,} devices of {table.device_graph}, {table.network} network"
    save_figure(collective_figure(table.to_frame(), f"{table.collective} among {where}"), path)
