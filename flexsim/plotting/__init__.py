"""Pictures: a table first, then a drawing of it.

``draw_`` functions draw a table on a matplotlib Axes, ``_table`` functions make the table. The
public ones are imported from here, where they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flexsim.plotting.bubbles import draw_bubbles
    from flexsim.plotting.collectives import draw_against_size
    from flexsim.plotting.comparison import comparison_figure, draw_run, save_comparison
    from flexsim.plotting.critical_path import draw_critical_path
    from flexsim.plotting.differences import ComparedRun, compared_run, difference_table
    from flexsim.plotting.gallery import draw_schedule
    from flexsim.plotting.links import draw_links
    from flexsim.plotting.memory import draw_memory
    from flexsim.plotting.quantities import quantity_of
    from flexsim.plotting.saving import save_figure
    from flexsim.plotting.search_strategy import draw_strategy
    from flexsim.plotting.search_timelines import draw_devices
    from flexsim.plotting.search_trace import draw_search
    from flexsim.plotting.sweep_heat_map import draw_heat_map, heat_map_table
    from flexsim.plotting.sweep_lines import draw_lines, lines_table
    from flexsim.plotting.sweep_parallel import draw_parallel, parallel_table
    from flexsim.plotting.sweep_pareto import draw_pareto, pareto_table
    from flexsim.plotting.sweep_scaling import draw_efficiency, draw_scaling, scaling_table
    from flexsim.plotting.topology import draw_topology
    from flexsim.plotting.validation import draw_errors, draw_validation
    from flexsim.plotting.waterfall import draw_waterfall

_HOME = {
    "ComparedRun": "flexsim.plotting.differences",
    "compared_run": "flexsim.plotting.differences",
    "comparison_figure": "flexsim.plotting.comparison",
    "difference_table": "flexsim.plotting.differences",
    "draw_against_size": "flexsim.plotting.collectives",
    "draw_bubbles": "flexsim.plotting.bubbles",
    "draw_critical_path": "flexsim.plotting.critical_path",
    "draw_devices": "flexsim.plotting.search_timelines",
    "draw_efficiency": "flexsim.plotting.sweep_scaling",
    "draw_errors": "flexsim.plotting.validation",
    "draw_heat_map": "flexsim.plotting.sweep_heat_map",
    "draw_lines": "flexsim.plotting.sweep_lines",
    "draw_links": "flexsim.plotting.links",
    "draw_memory": "flexsim.plotting.memory",
    "draw_parallel": "flexsim.plotting.sweep_parallel",
    "draw_pareto": "flexsim.plotting.sweep_pareto",
    "draw_run": "flexsim.plotting.comparison",
    "draw_scaling": "flexsim.plotting.sweep_scaling",
    "draw_schedule": "flexsim.plotting.gallery",
    "draw_search": "flexsim.plotting.search_trace",
    "draw_strategy": "flexsim.plotting.search_strategy",
    "draw_topology": "flexsim.plotting.topology",
    "draw_validation": "flexsim.plotting.validation",
    "draw_waterfall": "flexsim.plotting.waterfall",
    "heat_map_table": "flexsim.plotting.sweep_heat_map",
    "lines_table": "flexsim.plotting.sweep_lines",
    "parallel_table": "flexsim.plotting.sweep_parallel",
    "pareto_table": "flexsim.plotting.sweep_pareto",
    "quantity_of": "flexsim.plotting.quantities",
    "save_comparison": "flexsim.plotting.comparison",
    "save_figure": "flexsim.plotting.saving",
    "scaling_table": "flexsim.plotting.sweep_scaling",
}

__all__ = [
    "ComparedRun",
    "compared_run",
    "comparison_figure",
    "difference_table",
    "draw_against_size",
    "draw_bubbles",
    "draw_critical_path",
    "draw_devices",
    "draw_efficiency",
    "draw_errors",
    "draw_heat_map",
    "draw_lines",
    "draw_links",
    "draw_memory",
    "draw_parallel",
    "draw_pareto",
    "draw_run",
    "draw_scaling",
    "draw_schedule",
    "draw_search",
    "draw_strategy",
    "draw_topology",
    "draw_validation",
    "draw_waterfall",
    "heat_map_table",
    "lines_table",
    "parallel_table",
    "pareto_table",
    "quantity_of",
    "save_comparison",
    "save_figure",
    "scaling_table",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its home when it is first used."""
    if name not in _HOME:
        raise AttributeError(f"module 'flexsim.plotting' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
