"""``python -m flexsim`` does what ``flexsim`` does."""

from __future__ import annotations

import subprocess
import sys

from command_line import flexsim

from flexsim import __version__


def module(*arguments):
    command = [sys.executable, "-m", "flexsim", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_module_is_the_command():
    answer = module("--version")
    assert (answer.returncode, answer.stdout) == (0, f"flexsim {__version__}\n")


def test_the_module_tells_mistakes_as_the_command_does():
    answer = module("run", "no-such-file.toml")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr == flexsim("run", "no-such-file.toml").err
