"""Workers are killed again and again at random moments: every item is yielded once all the same."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from mapped_functions import endless, short_square, slow_square

from flexsim.workers import WorkerDied, Workers, count_workers, map_unordered
from flexsim.workers.forker import Forker
from flexsim.workers.serve import UP

FOLDER = Path(__file__).resolve().parent
START_S, LIMIT_S = 60, 120
NUM_KILLS = 24


class Killer(threading.Thread):
    """Kills some of the workers after random pauses, two dozen in all."""

    def __init__(self, find, pauses, seed):
        super().__init__(daemon=True)
        self._find, self._pauses, self._rng = find, pauses, random.Random(seed)
        self._ended = threading.Event()
        self.num_killed = 0

    def run(self):
        while self.is_at_it and not self._ended.wait(self._rng.uniform(*self._pauses)):
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                there = self._find()
                most = len(there) if self._rng.random() < 0.3 else 1
                for victim in self._rng.sample(there, min(most, len(there))):
                    os.kill(victim, signal.SIGKILL)
                    self.num_killed += 1

    @property
    def is_at_it(self):
        return self.num_killed < NUM_KILLS

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *problem):
        self._ended.set()
        self.join()


@pytest.fixture
def limit():
    """End the test with an error where something waits without an end."""

    def too_long(number, frame):
        raise TimeoutError(f"this took more than {LIMIT_S} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(LIMIT_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def local_workers():
    """Return the processes that work for this one: those that its child split off."""
    found = [each for child in psutil.Process().children() for each in child.children()]
    return [each.pid for each in found if each.status() != psutil.STATUS_ZOMBIE]


def check(found, killer, number):
    """Every index once; a result each, but for items that happened to die alone, twice."""
    assert [index for index, _ in sorted(found, key=lambda each: each[0])] == list(range(number))
    died = [index for index, came in found if isinstance(came, WorkerDied)]
    assert all(came == index**2 for index, came in found if index not in died)
    assert len(died) <= killer.num_killed // 4


@pytest.mark.parametrize("seed", range(2))
def test_local_processes(seed, limit):
    number, found = 900, []
    with Killer(local_workers, (0.0, 0.12), seed) as killer:
        for each in map_unordered(short_square, range(number), Workers(num_local=3)):
            found.append(each)
            if killer.is_at_it and len(found) > number // 2:
                time.sleep(0.01)
    check(found, killer, number)
    assert not killer.is_at_it
    assert local_workers() == []


def test_the_process_that_starts_them(limit):
    """Workers go on without it, and where one is needed it is started again."""
    found, killed, before = {}, set(), psutil.Process().children()
    for index, (square, place) in map_unordered(slow_square, range(150), Workers(num_local=2)):
        found[index] = square
        for child in others(before):
            if len(killed) < 3 and child.pid not in killed and len(found) > 20 * len(killed):
                os.kill(child.pid, signal.SIGKILL)
                os.kill(place, signal.SIGKILL)
                killed.add(child.pid)
    assert found == {index: index**2 for index in range(150)}
    assert len(killed) == 3
    assert others(before) == []


def test_many_that_die_at_once():
    """The process that starts them outlives any number of ends, and waits for each."""
    before = psutil.Process().children()
    forker = Forker()
    [starter] = others(before)
    try:
        for _ in range(12):
            lines = [forker.worker() for _ in range(24)]
            assert all(line.recv() == (UP,) for line in lines)
            for child in starter.children():
                child.kill()
            for line in lines:
                line.close()
        assert forker.is_alive
        until(lambda: starter.children() == [])
    finally:
        forker.close()


def others(before):
    """Return the processes of this one that were not there before."""
    return [child for child in psutil.Process().children() if child not in before]


def test_a_caller_that_is_killed_leaves_nobody_behind():
    code = (
        "from flexsim.workers import Workers, map_unordered\n"
        "from mapped_functions import endless\n"
        "list(map_unordered(endless, range(6), Workers(num_local=2)))\n"
    )
    assert endless  # the module is importable there as here
    environment = {**os.environ, "PYTHONPATH": str(FOLDER)}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as running:
        for _ in range(4):
            running.stdout.readline()
        family = psutil.Process(running.pid).children(recursive=True)
        running.kill()
        gone, alive = psutil.wait_procs(family, START_S)
    assert (len(gone), alive) == (3, [])


@pytest.fixture
def scheduler(tmp_path):
    """Yield the address of a scheduler, and the program that keeps three workers for it."""
    file = tmp_path / "scheduler.json"
    options = ("--no-dashboard", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", file)
    environment = {**os.environ, "PYTHONPATH": str(FOLDER), "DASK_DISTRIBUTED__LOGGING": "{}"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", *options]
    running = [subprocess.Popen(command, **quiet)]
    try:
        until(lambda: file.is_file() and file.read_text().rstrip().endswith("}"))
        address = json.loads(file.read_text())["address"]
        program = [sys.executable, str(FOLDER / "quick_workers.py"), address, "3"]
        running.append(subprocess.Popen(program, **quiet))
        until(lambda: count_workers(Workers(address)) == 3)
        yield address, psutil.Process(running[1].pid)
    finally:
        for process in reversed(running):  # first those who would be started again
            children = psutil.Process(process.pid).children()
            process.kill()
            process.wait()
            for child in children:
                child.kill()


def until(is_so):
    end = time.monotonic() + START_S
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_workers_of_a_scheduler(scheduler, limit):
    address, program = scheduler
    number, found = 1_500, []

    def workers():
        return [each.pid for each in program.children()]

    with Killer(workers, (0.0, 0.4), 7) as killer:
        for each in map_unordered(short_square, range(number), Workers(address)):
            found.append(each)
            if killer.is_at_it and len(found) > number // 2:
                time.sleep(0.01)
    check(found, killer, number)
    assert not killer.is_at_it
