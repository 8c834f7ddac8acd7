"""What all figures of a page share: fonts, axes, units."""

from __future__ import annotations

import html
import math
from typing import Any

from flexsim.plotting.style import TEXT_COLOR
from flexsim.reports.parts import Spec

_FONT = 'system-ui, "Segoe UI", "Helvetica Neue", Arial, sans-serif'
_TIME_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
CYCLE = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8C6D00", "#333333"
)  # fmt: skip
"""Colours of lines that have no meaning of their own, told apart by colour-blind readers too."""
_MANY = 30.0
"""From the least to the most value of an axis, few ticks a decade are enough."""
SEQUENTIAL = "Viridis"


def layout(**changes: Any) -> Spec:
    """Return a figure's layout with keys replaced."""
    common: Spec = {
        "font": {"family": _FONT, "size": 13, "color": TEXT_COLOR},
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "margin": {"l": 72, "r": 24, "t": 28, "b": 56},
        "hoverlabel": {"bgcolor": "#ffffff", "font": {"color": TEXT_COLOR}, "align": "left"},
        "showlegend": False,
        "dragmode": "zoom",
    }
    return common | changes


def axis(title: str, **changes: Any) -> Spec:
    """Return an axis with its title, unit included, and keys replaced."""
    common: Spec = {
        "title": {"text": title, "standoff": 8},
        "showgrid": True,
        "gridcolor": "#eeeeee",
        "zeroline": False,
        "linecolor": "#999999",
        "ticks": "outside",
        "tickcolor": "#999999",
        "automargin": True,
    }
    return common | changes


def with_legend(title: str = "") -> Spec:
    """Return the keys of a layout with a legend in lines above the axes, buttons at the right."""
    place: Spec = {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"}
    return {
        "showlegend": True,
        "legend": place | ({"title": {"text": title, "side": "left"}} if title else {}),
        "modebar": {"orientation": "v"},
        "margin": {"l": 72, "r": 44, "t": 40, "b": 56},
    }


def log_scale(least: float, most: float) -> Spec:
    """Return the keys of a logarithmic axis, its ticks written in full."""
    steps = (1, 2, 5) if most > _MANY * least else (1, 1.5, 2, 3, 4, 5, 7)
    decades = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:,.6g}" for tick in ticks]}


def time_unit(most_s: float) -> tuple[float, str]:
    """Return the seconds of the unit that suits times up to ``most_s``, and its name."""
    return next((pair for pair in _TIME_UNITS if most_s >= pair[0]), _TIME_UNITS[-1])


def escaped(text: str) -> str:
    """Return a user's text for a figure, where Plotly would take tags for markup."""
    return html.escape(text, quote=False)
