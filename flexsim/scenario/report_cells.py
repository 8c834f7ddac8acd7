"""Tables and cells that the parts of a report share."""

from __future__ import annotations

from rich.table import Table

_LEAST_SHARE = 0.0005


def report_table(title: str, *columns: str) -> Table:
    """Return an empty table: ``title`` over the labels, the other columns flush right."""
    from rich import box

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(title, no_wrap=True, header_style="bold cyan")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def percent(share: float) -> str:
    """Return a share as text, with one decimal."""
    if 0 < share < _LEAST_SHARE:
        return "<0.1 %"
    return f"{100 * share:.1f} %"
