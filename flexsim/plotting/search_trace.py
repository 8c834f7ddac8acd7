"""The picture of a search: best and current iteration time against proposals, chains apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from flexsim.plotting.saving import save_figure
from flexsim.plotting.style import TEXT_COLOR
from flexsim.units import NS_PER_S

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_NEVER_S = 1e9
"""The best of a chain that has found nothing feasible yet stands above this."""
_WIDE = 4.0
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_CHAIN_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#F0E442")


class TraceRow(Protocol):
    """What the picture needs of a proposal."""

    @property
    def chain(self) -> int:
        """The chain that made it."""

    @property
    def proposal(self) -> int:
        """Its number in the chain, from 1."""

    @property
    def current_ns(self) -> int:
        """Where the chain is afterwards."""

    @property
    def best_ns(self) -> int:
        """The best that the chain has seen."""


def search_table(trace: Sequence[TraceRow]) -> pd.DataFrame:
    """Return ``chain, proposal, current_s, best_s``, a row a proposal."""
    import pandas as pd

    frame = pd.DataFrame(
        {
            "chain": [row.chain for row in trace],
            "proposal": [row.proposal for row in trace],
            "current_s": [row.current_ns / NS_PER_S for row in trace],
            "best_s": [row.best_ns / NS_PER_S for row in trace],
        }
    )
    return frame[frame["best_s"] < _NEVER_S]


def draw_search(table: pd.DataFrame, ax: Axes) -> None:
    """Draw the best of each chain as a thick line over a thin one for where it was."""
    highest = float(table["current_s"].max()) if len(table) else 1.0
    factor, unit = next((pair for pair in _UNITS if highest >= pair[0]), _UNITS[-1])
    for chain, rows in table.groupby("chain"):
        color = _CHAIN_COLORS[int(str(chain)) % len(_CHAIN_COLORS)]
        ax.step(rows["proposal"], rows["current_s"] / factor, color=color, lw=0.6, alpha=0.5,
                where="post")  # fmt: skip
        ax.step(rows["proposal"], rows["best_s"] / factor, color=color, lw=2.0, where="post",
                label=f"chain {chain}")  # fmt: skip
    ax.set_xlabel("proposals of the chain", color=TEXT_COLOR)
    ax.set_ylabel(f"iteration time ({unit})", color=TEXT_COLOR)
    ax.spines[["top", "right"]].set_visible(False)
    if len(table):
        ax.legend(frameon=False)
        _scale(ax, highest / factor, float(table["best_s"].min()) / factor)


def _scale(ax: Axes, highest: float, least: float) -> None:
    """Use a logarithmic axis where a chain began far above what was found."""
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    if highest > _WIDE * least:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.yaxis.set_major_formatter(ScalarFormatter())
        ax.yaxis.set_minor_formatter(NullFormatter())


def save_search_picture(trace: Sequence[TraceRow], path: Path) -> Path:
    """Write the picture of a search and return its path."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 5.0), layout="constrained")
    ax = figure.subplots()
    draw_search(search_table(trace), ax)
    ax.set_title("Search: thick the best so far, thin where the chain is", loc="left")
    return save_figure(figure, path)
