"""What the README shows, and the scripts that it names; its commands are run with the docs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def fenced(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


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


@pytest.mark.parametrize("script", ["custom_mlp.py", "compare_schedules.py"])
def test_scenario_script_runs(script, checkout):
    done = finished([sys.executable, f"scenarios/{script}"], checkout)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 3


def test_every_preset_scenario_shown_is_a_scenario(tmp_path):
    from flexsim import load_scenario

    (toml,) = fenced("toml")
    path = tmp_path / "shown.toml"
    path.write_text(toml)
    assert load_scenario(path).published.iteration_time_s == 13.75
