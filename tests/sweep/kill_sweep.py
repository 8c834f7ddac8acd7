"""Run as a program: a sweep that is killed again and again, and then left alone.

Arguments: sweep file, results file, seed, number of kills. Children are forked, so that each
begins at once; after every kill the results file must hold whole rows of the sweep, but for a
torn last one.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

from flexsim.sweep.api import sweep


def main(file: str, output: str, seed: str, times: str) -> None:
    rng, path = random.Random(int(seed)), Path(output)
    expected = path.with_name("undisturbed.csv")
    sweep(file, expected)  # here, so that children find compiled code and plans
    begun = time.monotonic()
    _in_child(file, path, None)
    longest_s = time.monotonic() - begun
    _check(path, expected)
    path.unlink()
    whole = set(expected.read_bytes().splitlines(keepends=True))
    num_killed = 0
    while num_killed < int(times):
        if not _in_child(file, path, rng.uniform(0, longest_s)):
            _check(path, expected)
            path.unlink()
            continue
        num_killed += 1
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        assert len(set(lines)) == len(lines)
        assert all(line in whole for line in lines if line.endswith(b"\n"))
    _in_child(file, path, None)
    _check(path, expected)
    print(f"{num_killed} kills survived")


def _in_child(file: str, path: Path, seconds: float | None) -> bool:
    """Sweep in a child; kill it after so many seconds. Return whether it was killed."""
    child = os.fork()
    if not child:
        sweep(file, path)
        os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def _check(path: Path, expected: Path) -> None:
    assert path.read_bytes() == expected.read_bytes()


if __name__ == "__main__":
    main(*sys.argv[1:])
