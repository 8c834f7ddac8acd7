"""What the README says can be typed, typed."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def fenced(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


COMMANDS = [
    shlex.split(line, comments=True)
    for block in fenced("sh")
    for line in block.splitlines()
    if line.strip()
]


@pytest.fixture
def checkout(tmp_path):
    """A place that looks like a checkout, so that outputs go to a temporary directory."""
    for name in ("scenarios", "device_graphs"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def finished(command, where):
    return subprocess.run(
        command, cwd=where, check=False, capture_output=True, text=True, timeout=300
    )


def test_there_are_commands_to_try():
    assert len(COMMANDS) >= 5
    assert all(command[0] == "flexsim" for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_command_runs(command, checkout):
    executable = Path(sys.executable).parent / "flexsim"
    done = finished([str(executable), *command[1:]], checkout)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("code", fenced("python"), ids=["example"])
def test_python_example_runs(code, checkout):
    done = finished([sys.executable, "-c", code], checkout)
    assert done.returncode == 0, done.stderr
    assert (checkout / "plots/from-python/bubbles.png").is_file()


@pytest.mark.parametrize("script", ["custom_mlp.py", "compare_schedules.py"])
def test_scenario_script_runs(script, checkout):
    done = finished([sys.executable, f"scenarios/{script}"], checkout)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 3


def test_every_linked_file_is_there():
    targets = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_every_preset_scenario_shown_is_a_scenario(tmp_path):
    from flexsim import load_scenario

    (toml,) = fenced("toml")
    path = tmp_path / "shown.toml"
    path.write_text(toml)
    assert load_scenario(path).published.iteration_time_s == 13.75
