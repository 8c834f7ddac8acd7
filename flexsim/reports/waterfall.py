"""The waterfall of a run: a bar a cause, from ideal compute time to the iteration time."""

from __future__ import annotations

from flexsim.plotting.waterfall import Bar, waterfall_bars
from flexsim.reports.parts import Figure
from flexsim.reports.style import axis, escaped, layout, time_unit
from flexsim.scenario.report_cells import percent
from flexsim.timeline.waterfall import Waterfall
from flexsim.units import format_seconds


def waterfall_figure(table: Waterfall) -> Figure:
    """Return the figure; times are means over devices."""
    bars = waterfall_bars(table)
    factor_s, unit = time_unit(max(bar.end_s for bar in bars))
    most = 1.25 * max(max(bar.start_s, bar.end_s) for bar in bars) / factor_s or 1.0
    trace = {
        "type": "bar",
        "orientation": "h",
        "y": list(range(len(bars))),
        "base": [bar.start_s / factor_s for bar in bars],
        "x": [(bar.end_s - bar.start_s) / factor_s for bar in bars],
        "marker": {"color": [bar.color for bar in bars]},
        "text": [_told(bar) for bar in bars],
        "textposition": "outside",
        "cliponaxis": False,
        "customdata": [bar.label for bar in bars],
        "hovertemplate": "%{customdata}: %{text}<extra></extra>",
        "width": 0.68,
    }
    labels = {"tickvals": trace["y"], "ticktext": [bar.label for bar in bars], "ticks": ""}
    shape = layout(
        xaxis=axis(f"time of a device, mean ({unit})", range=[min(0.0, _least(bars)), most]),
        yaxis=axis("", range=[len(bars) - 0.4, -0.6], showgrid=False, **labels),
    )
    spec = {"data": [trace], "layout": shape}
    label = "From ideal compute time to the iteration time"
    height_px = 110 + 30 * len(bars)
    return Figure("waterfall-figure", label, spec, height_px, _CAPTION, min_width_px=620)


_CAPTION = (
    "What each cause adds, from computing the model's FLOPs at the devices' peak (ideal compute) "
    "down to the iteration time; every bar begins where the one above it ends."
)


def _least(bars: list[Bar]) -> float:
    return min(min(bar.start_s, bar.end_s) for bar in bars)


def _told(bar: Bar) -> str:
    time_s = bar.end_s - bar.start_s
    sign = "−" if time_s < 0 else ""
    return escaped(f"{sign}{format_seconds(abs(time_s))} · {sign}{percent(abs(bar.share))}")
