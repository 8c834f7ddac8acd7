"""What the tests let workers do; workers import it by its name."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from typing import NamedTuple

from flexsim.errors import StrategyError
from flexsim.workers import stop_is_asked, tell


class Place(NamedTuple):
    """Where an item was worked on, and how many threads numerical libraries may use there."""

    square: int
    process: int
    threads: dict[str, str | None]


def placed_square(number):
    time.sleep(0.005)
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    return Place(number * number, os.getpid(), {name: os.environ.get(name) for name in names})


def slow_square(number):
    time.sleep(0.02)
    return number * number, os.getpid()


def short_square(number):
    time.sleep(0.002)
    return number * number


def random_numbers(number):
    import numpy

    return random.random(), int(numpy.random.randint(2**31))  # noqa: NPY002 - what others use


def parent_and_modules(number):
    return os.getppid(), tuple(sys.modules.keys() & {"fractions", "colorsys"})


def deadly_at_five(number):
    if number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def refuse_seven(number):
    if number == 7:
        raise StrategyError("seven does not fit")
    return number


def unpicklable(number):
    return threading.Lock(), number


def asked_to_stop(number):
    """Tell numbers until the caller asks for an end."""
    for told in range(2_000):
        if stop_is_asked():
            return told
        tell((number, told))
        time.sleep(0.01)
    raise TimeoutError("nobody asked for an end")


def endless(number):
    os.write(1, f"{os.getpid()}\n".encode())  # whole lines, whoever else writes
    time.sleep(60 if number > 1 else 0.01)
    return number


def directory(number):
    return os.getcwd()
