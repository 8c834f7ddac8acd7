"""The trace of a search: the best so far of every chain, and where the chain was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flexsim.reports.parts import Figure, Spec
from flexsim.reports.style import CYCLE, axis, layout, log_scale, time_unit, with_legend
from flexsim.units import NS_PER_S

if TYPE_CHECKING:
    import pandas as pd

_MOST_POINTS = 3000
_MOST_CHAINS = 24
_WIDE = 4.0
"""Where a chain began so many times above the best, times stand on a logarithmic axis."""


def improvements(trace: pd.DataFrame) -> pd.DataFrame:
    """Return the rows at which the best of their chain fell."""
    found = trace[trace["best_ns"].notna()]
    before = found.groupby("chain")["best_ns"].shift()
    return found[before.isna() | (found["best_ns"] < before)]


def trace_figure(trace: pd.DataFrame) -> Figure:
    """Return the figure: thick the best so far, thin where the chain is."""
    found = trace[trace["best_ns"].notna()]
    factor_s, unit = time_unit(float(found["current_ns"].max()) / NS_PER_S if len(found) else 1.0)
    chains = sorted(found["chain"].unique().tolist())[:_MOST_CHAINS]
    traces = [
        one
        for number, chain in enumerate(chains)
        for one in _lines(found[found["chain"] == chain], number, NS_PER_S * factor_s)
    ]
    shape = layout(
        xaxis=axis("proposals of the chain"),
        yaxis=axis(f"iteration time ({unit})", **_scale(found, NS_PER_S * factor_s)),
        **with_legend(),
    )
    spec = {"data": traces, "layout": shape}
    return Figure("trace-figure", "Iteration time against proposals", spec, 400, _caption(found))


def _caption(found: pd.DataFrame) -> str:
    num_chains = found["chain"].nunique()
    told = "Thick: the best so far; thin: where the chain is."
    if found.groupby("chain").size().max() > _MOST_POINTS:
        told += f" Where a chain is, at {_MOST_POINTS:,} of its proposals."
    return told + f" The first {_MOST_CHAINS} of {num_chains} chains." * (num_chains > _MOST_CHAINS)


def _scale(found: pd.DataFrame, ns_per_unit: float) -> Spec:
    if not len(found):
        return {}
    least, most = found["best_ns"].min() / ns_per_unit, found["current_ns"].max() / ns_per_unit
    return log_scale(least, most) if most > _WIDE * least else {}


def _lines(rows: pd.DataFrame, number: int, ns_per_unit: float) -> list[Spec]:
    """Return where a chain is, thinned, and the steps of its best."""
    chain = int(rows["chain"].iloc[0])
    every = rows.iloc[np.unique(np.linspace(0, len(rows) - 1, _MOST_POINTS).astype(int))]
    steps = improvements(rows)
    best_x = [*steps["proposal"].tolist(), int(rows["proposal"].iloc[-1])]
    best_y = [*steps["best_ns"].tolist(), float(rows["best_ns"].iloc[-1])]
    common = {"type": "scatter", "mode": "lines", "legendgroup": chain, "name": f"chain {chain}"}
    color = CYCLE[number % len(CYCLE)]
    return [
        {
            **common,
            "x": every["proposal"].tolist(),
            "y": [each / ns_per_unit for each in every["current_ns"].tolist()],
            "line": {"shape": "hv", "width": 0.8, "color": color},
            "opacity": 0.6,
            "showlegend": False,
            "hoverinfo": "skip",
        },
        {
            **common,
            "x": best_x,
            "y": [each / ns_per_unit for each in best_y],
            "line": {"shape": "hv", "width": 2.4, "color": color},
            "hovertemplate": "proposal %{x:,}: %{y:.4g}",
        },
    ]
