"""The command line: each command in a module of its own, its imports inside."""

from __future__ import annotations

import contextlib
import io
import sys
from typing import Annotated, Any, cast

import typer

from flexsim.cli.calibrate import calibrate_command
from flexsim.cli.collective import collective_command
from flexsim.cli.compare import compare_command
from flexsim.cli.describe import describe_command
from flexsim.cli.import_topology import import_topology_command
from flexsim.cli.listing import list_command
from flexsim.cli.plot import plot_command
from flexsim.cli.profile import profile_command
from flexsim.cli.report import report_command
from flexsim.cli.run import run_command
from flexsim.cli.schedule import schedule_command
from flexsim.cli.schema import schema_command
from flexsim.cli.search import search_command
from flexsim.cli.space import space_command
from flexsim.cli.sweep import sweep_command
from flexsim.cli.validate import validate_command
from flexsim.errors import FlexSimError

app = typer.Typer(
    name="flexsim",
    help="Simulate one training iteration of a neural network on a cluster, without a GPU.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("run")(run_command)
app.command("sweep")(sweep_command)
app.command("compare")(compare_command)
app.command("plot")(plot_command)
app.command("report")(report_command)
app.command("search")(search_command)
app.command("space")(space_command)
app.command("schedule")(schedule_command)
app.command("collective")(collective_command)
app.command("validate")(validate_command)
app.command("calibrate")(calibrate_command)
app.command("profile")(profile_command)
app.command("describe")(describe_command)
app.command("list")(list_command)
app.command("import-topology")(import_topology_command)
app.command("schema")(schema_command)


def _print_version(wanted: bool) -> None:
    if wanted:
        from flexsim import __version__

        print(f"flexsim {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print and exit."),
    ] = False,
) -> None:
    """Take the options that stand before a command."""


UsageError = cast("type[Exception]", typer.BadParameter.__mro__[1])
"""What a wrong option raises; typer may bring its own copy of click, so it is not imported."""


def main() -> None:
    """Run the command line: 0 is success, 2 a user's mistake told in one sentence.

    Without arguments it prints the help.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        sys.exit(app(sys.argv[1:] or ["--help"], standalone_mode=False) or 0)
    except FlexSimError as problem:
        _fail(str(problem))
    except UsageError as problem:
        _fail(_usage_text(problem))
    except KeyboardInterrupt:
        sys.exit(130)
    except MemoryError:
        _fail("out of memory; simulate fewer layers, stages or microbatches")
    except OSError as problem:
        where = f"{problem.filename}: " if problem.filename else ""
        _fail(f"{where}{problem.strerror or problem}")


def _usage_text(problem: Any) -> str:
    """Return a complaint of the command-line library as one sentence."""
    command = problem.ctx.command_path if problem.ctx else "flexsim"
    said = " ".join(problem.format_message().split()).rstrip(".")
    return f"{said}; see {command} --help"


def _fail(message: str) -> None:
    with contextlib.suppress(OSError):
        print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
