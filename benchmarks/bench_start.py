"""How long the command line and the package take to start."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from processes import COMMAND

PROGRAMS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    'python -c "import flexsim"': [sys.executable, "-c", "import flexsim"],
    "flexsim --help": [COMMAND, "--help"],
}


def start(program: Sequence[str]) -> int:
    """Run a program and return how many characters it printed."""
    done = subprocess.run(program, stdout=subprocess.PIPE, text=True, check=True)
    return len(done.stdout)


@pytest.mark.parametrize("name", PROGRAMS)
def test_start(name: str, measure: Callable[..., Any]) -> None:
    """Time a process from its start to its end."""
    start(PROGRAMS[name])
    printed = measure(start, PROGRAMS[name], rounds=10, what="start", program=name)
    assert bool(printed) == name.endswith("--help")
