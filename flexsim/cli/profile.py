"""``flexsim profile``: measure a scenario's operators on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flexsim.cli.options import Changes, Quiet


def profile_command(  # noqa: PLR0913
    *,
    scenario: Annotated[Path, typer.Option(help="The scenario to measure for.")],
    output: Annotated[Path, typer.Option(help="The table that is written (CSV).")],
    device: Annotated[str, typer.Option(help="cpu, or cuda.")] = "cpu",
    in_steps: Annotated[
        bool,
        typer.Option("--in-steps", help="Train for real, a process a device, and time inside."),
    ] = False,
    iterations: Annotated[int, typer.Option(help="Iterations of --in-steps.")] = 12,
    changes: Changes = None,
    quiet: Quiet = False,
) -> None:
    """Measure every distinct kernel of a scenario with PyTorch, or collectives under torchrun."""
    from rich.console import Console

    from flexsim.files import check_directory
    from flexsim.profiling.profile import is_follower, profile
    from flexsim.scenario.load import load_scenario

    loaded = load_scenario(scenario, changes or [])
    check_directory(output.absolute().parent)
    quiet = quiet or is_follower()
    console = Console(stderr=True, quiet=quiet)
    with console.status("Measuring") as status:
        rows = profile(
            loaded,
            output,
            device=device,
            in_steps=in_steps,
            num_iterations=iterations,
            progress=lambda count, what: status.update(f"Measured {count} kernels, last {what}"),
        )
    if not quiet:
        print(f"wrote {output}: {len(rows)} measured times")
        print(f"use it with: flexsim run {scenario} --set cluster.measured_times={output}")
