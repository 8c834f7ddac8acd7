"""A program in a process of its own, and the most memory that it held."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

COMMAND = str(Path(sys.executable).with_name("flexsim"))
"""The installed command."""
_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024
"""Of ``ru_maxrss``."""


@dataclass(frozen=True)
class Finished:
    """What a program printed, and its peak resident memory."""

    out: str
    peak_bytes: int


def finished(program: Sequence[str]) -> Finished:
    """Run a program to its end; raise CalledProcessError where it fails.

    A process counts as its own what its parent held when it was started, so the program is
    started by a small process in between: this file, run as a script. That takes some
    hundredths of a second.
    """
    done = subprocess.run(
        [sys.executable, "-S", __file__, *program], stdout=subprocess.PIPE, text=True, check=True
    )
    out, _, peak = done.stdout.rstrip("\n").rpartition("\n")
    return Finished(out, int(peak))


def _main() -> None:
    code = subprocess.run(sys.argv[1:], check=False).returncode
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * _UNIT_BYTES)
    sys.exit(code)


if __name__ == "__main__":
    _main()
