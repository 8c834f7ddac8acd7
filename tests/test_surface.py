"""What people build upon: public names, commands and their options, frozen."""

from importlib.util import find_spec

import pytest
import typer.main
from command_line import flexsim as command_line

import flexsim
from flexsim.cli import app

NAMES = [
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
OPTIONS = {
    "run": [
        "--engine",
        "--network",
        "--collective-algorithm",
        "--segment",
        "--forwarding",
        "--contract",
        "--set",
        "--strategy",
        "--output",
        "--detail",
        "--waterfall",
        "--critical-path",
        "--report",
        "--json",
        "--quiet",
    ],
    "list": ["--plot"],
    "describe": ["--hosts", "--plot"],
    "import-topology": ["--device-type", "--output", "--bandwidth"],
    "collective": [
        "--device-graph",
        "--hosts",
        "--devices",
        "--min",
        "--max",
        "--step-factor",
        "--algorithm",
        "--network",
        "--json",
        "--plot",
    ],
    "schedule": [
        "--stages",
        "--ranks",
        "--microbatches",
        "--chunks",
        "--warm-up",
        "--slices",
        "--iterations",
        "--limit",
        "--forward",
        "--input-gradient",
        "--weight-gradient",
        "--transfer",
        "--json",
        "--draw",
        "--plot",
        "--output",
    ],
    "report": ["--output", "--quiet"],
    "profile": [
        "--scenario",
        "--output",
        "--device",
        "--in-steps",
        "--iterations",
        "--set",
        "--quiet",
    ],
    "plot": ["--x", "--y", "--by", "--kind", "--where", "--best", "--output", "--quiet"],
    "compare": ["--output", "--json", "--quiet"],
    "schema": [],
    "search": [
        "--method",
        "--budget",
        "--seconds",
        "--seed",
        "--chains",
        "--workers",
        "--processes",
        "--scheduler",
        "--transformations",
        "--set",
        "--output",
        "--resume",
        "--json",
        "--quiet",
    ],
    "space": ["--set", "--json"],
    "sweep": [
        "--output",
        "--format",
        "--workers",
        "--scheduler",
        "--set",
        "--json",
        "--quiet",
    ],
    "calibrate": [
        "--runs",
        "--profile",
        "--output",
        "--constants",
        "--folds",
        "--json",
        "--quiet",
    ],
    "validate": ["--runs", "--table", "--json", "--output", "--workers", "--quiet"],
}


def test_exported_names_are_frozen():
    assert sorted(flexsim.__all__) == NAMES
    assert dir(flexsim) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_exported_name_exists(name):
    home = flexsim._HOME.get(name)
    if home and find_spec(home) is None:
        pytest.skip(f"{home} is not built")
    assert getattr(flexsim, name) is not None


def test_other_names_do_not_exist():
    with pytest.raises(AttributeError, match="nonsense"):
        flexsim.nonsense  # noqa: B018


def test_commands_and_options_are_frozen():
    commands = typer.main.get_command(app).commands
    found = {
        name: [
            option
            for each in command.params
            if each.param_type_name == "option" and each.name != "help"
            for option in each.opts
        ]
        for name, command in commands.items()
    }
    assert found == OPTIONS


def test_version_is_the_package_s():
    assert command_line("--version") == (0, f"flexsim {flexsim.__version__}\n", "")
