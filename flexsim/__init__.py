"""flexsim: a discrete-event execution simulator for distributed training of neural networks.

The public names are imported where they are first used, so that ``import flexsim`` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flexsim.accuracy.calibrate import Calibration, calibrate
    from flexsim.accuracy.validate import Validation, validate
    from flexsim.device_graph import DeviceGraph, load_device_graph
    from flexsim.engine.event import simulate
    from flexsim.errors import FlexSimError
    from flexsim.models import build_model, model_config
    from flexsim.operator_graph import OperatorGraph
    from flexsim.scenario.batch import run_many
    from flexsim.scenario.collective_table import collective_table
    from flexsim.scenario.load import load_scenario
    from flexsim.scenario.prepare import make_costs
    from flexsim.scenario.runner import Result, evaluate, run
    from flexsim.scenario.schema import Scenario
    from flexsim.search.api import search
    from flexsim.search.result import SearchResult
    from flexsim.strategy import ParallelConfig, Strategy
    from flexsim.sweep.api import sweep
    from flexsim.sweep.result import SweepResult
    from flexsim.task_graph.build import build_task_graph
    from flexsim.task_graph.columns import TaskGraph
    from flexsim.timeline.spans import Timeline

__version__ = "0.1.0"

_HOME = {
    "Calibration": "flexsim.accuracy.calibrate",
    "DeviceGraph": "flexsim.device_graph",
    "FlexSimError": "flexsim.errors",
    "OperatorGraph": "flexsim.operator_graph",
    "ParallelConfig": "flexsim.strategy",
    "Result": "flexsim.scenario.runner",
    "Scenario": "flexsim.scenario.schema",
    "SearchResult": "flexsim.search.result",
    "Strategy": "flexsim.strategy",
    "SweepResult": "flexsim.sweep.result",
    "TaskGraph": "flexsim.task_graph.columns",
    "Timeline": "flexsim.timeline.spans",
    "Validation": "flexsim.accuracy.validate",
    "build_model": "flexsim.models",
    "build_task_graph": "flexsim.task_graph.build",
    "calibrate": "flexsim.accuracy.calibrate",
    "collective_table": "flexsim.scenario.collective_table",
    "evaluate": "flexsim.scenario.runner",
    "load_device_graph": "flexsim.device_graph",
    "load_scenario": "flexsim.scenario.load",
    "make_costs": "flexsim.scenario.prepare",
    "model_config": "flexsim.models",
    "run": "flexsim.scenario.runner",
    "run_many": "flexsim.scenario.batch",
    "search": "flexsim.search",
    "simulate": "flexsim.engine.event",
    "validate": "flexsim.accuracy.validate",
    "sweep": "flexsim.sweep",
}

_CALLABLE_PACKAGES = ("search", "sweep")

__all__ = [
    "Calibration",
    "DeviceGraph",
    "FlexSimError",
    "OperatorGraph",
    "ParallelConfig",
    "Result",
    "Scenario",
    "SearchResult",
    "Strategy",
    "SweepResult",
    "TaskGraph",
    "Timeline",
    "Validation",
    "__version__",
    "build_model",
    "build_task_graph",
    "calibrate",
    "collective_table",
    "evaluate",
    "load_device_graph",
    "load_scenario",
    "make_costs",
    "model_config",
    "run",
    "run_many",
    "search",
    "simulate",
    "sweep",
    "validate",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its home when it is first used."""
    if name not in _HOME:
        raise AttributeError(f"module 'flexsim' has no attribute {name!r}")
    home = import_module(_HOME[name])
    value = home if name in _CALLABLE_PACKAGES else getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
