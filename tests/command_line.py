"""Running the command line inside the tests' own process."""

from __future__ import annotations

import contextlib
import io
import sys
from typing import NamedTuple
from unittest import mock

from flexsim.cli import main


class Answer(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str


def flexsim(*arguments: str) -> Answer:
    """Return exit code, standard output and standard error of ``flexsim ARGUMENTS``."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["flexsim", *arguments]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return Answer(code, out.getvalue(), err.getvalue())


def only_error(answer: Answer) -> str:
    """Return the one line on standard error of a command that was refused."""
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("error: ")
    assert answer.err.endswith("\n")
    assert answer.err.count("\n") == 1
    return answer.err
