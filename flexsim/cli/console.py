"""Standard output for people: coloured on a terminal, plain and wide enough in a pipe."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

_PIPE_WIDTH = 160


def out() -> Console:
    """Return the console that prints to standard output."""
    console = Console()
    return console if console.is_terminal else Console(width=_PIPE_WIDTH, no_color=True)


def facts_table(rows: Iterable[tuple[str, str]], title: str | None = None) -> Table:
    """Return a table of labels and texts."""
    table = Table(box=None, show_header=False, pad_edge=False, title=title, title_justify="left")
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in rows:
        table.add_row(Text(label), Text(text))
    return table
