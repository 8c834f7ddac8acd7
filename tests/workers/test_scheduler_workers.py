"""A real scheduler and two workers on the loopback address; one of them is killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from command_line import flexsim as command_line
from command_line import only_error
from mapped_functions import asked_to_stop, directory, slow_square
from small_gpt import toml_text
from small_search import content, scenario

import flexsim
from flexsim.errors import WorkersError
from flexsim.workers import Talk, Workers, count_workers, map_unordered

START_S = 60
TESTS = Path(__file__).resolve().parent
SMALL = scenario(search={"budget": 45, "chains": 3})


class Cluster:
    """A scheduler and workers without anybody who starts them again."""

    def __init__(self, folder):
        self.file = folder / "scheduler.json"
        self.workers = []
        self.scheduler = self._start("dask_scheduler", "--host", "127.0.0.1", "--port", "0")
        self.begin_worker()
        self.begin_worker()
        until(lambda: self.file.is_file() and self.file.read_text().rstrip().endswith("}"))
        self.address = json.loads(self.file.read_text())["address"]

    def begin_worker(self):
        options = ("--nthreads", "1", "--no-nanny", "--memory-limit", "0")
        self.workers.append(self._start("dask_worker", *options))

    def end(self):
        for process in [*self.workers, self.scheduler]:
            process.kill()
            process.wait()

    def _start(self, name, *options):
        command = [sys.executable, "-m", f"distributed.cli.{name}", "--no-dashboard"]
        return subprocess.Popen(
            [*command, "--scheduler-file", str(self.file), *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(TESTS)},
            cwd=self.file.parent,
        )


def until(is_so):
    end = time.monotonic() + START_S
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    found = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        until(lambda: count_workers(Workers(found.address)) == 2)
        yield found
    finally:
        found.end()


@pytest.fixture(scope="module")
def whole():
    return flexsim.search(SMALL)


def test_a_search_is_the_same_over_a_scheduler_and_its_checkpoints_come_home(
    cluster, whole, tmp_path
):
    found = flexsim.search(SMALL, scheduler=cluster.address, output=tmp_path)
    assert found.trace == whole.trace
    assert found.best_strategy.configs == whole.best_strategy.configs
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == [f"checkpoint-{chain}.json" for chain in range(3)]


def test_a_search_that_was_cut_short_goes_on_over_a_scheduler(cluster, whole, tmp_path):
    left = iter(range(20))

    def watch(standing):
        if next(left) == 19:
            os.kill(os.getpid(), signal.SIGINT)

    assert flexsim.search(SMALL, output=tmp_path, watch=watch).interrupted
    found = flexsim.search(SMALL, output=tmp_path, resume=True, scheduler=cluster.address)
    assert found.trace == whole.trace


def test_the_command_searches_over_a_scheduler(cluster, tmp_path):
    table = content(search={"budget": 20, "chains": 2, "seconds": 20.0})
    file = tmp_path / "small.toml"
    file.write_text(toml_text(table), encoding="utf-8")
    output = ("--output", str(tmp_path / "out"), "--json")
    answer = command_line("search", str(file), "--scheduler", cluster.address, *output)
    alone = command_line("search", str(file), *output)
    assert (answer.code, answer.err) == (0, "")
    best = "best_iteration_time_s"
    assert json.loads(answer.out)[best] == json.loads(alone.out)[best]


def test_functions_talk_with_their_caller(cluster):
    heard = []
    talk = Talk(lambda index, message: heard.append((index, *message)), lambda: len(heard) >= 6)
    found = dict(map_unordered(asked_to_stop, [10, 20], Workers(cluster.address), talk))
    assert sorted(found) == [0, 1]
    for index, number in ((0, 10), (1, 20)):
        assert [each for each in heard if each[0] == index] == [
            (index, number, told) for told in range(found[index])
        ]


def test_workers_work_in_the_callers_directory(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert list(map_unordered(directory, [0], Workers(cluster.address))) == [(0, str(tmp_path))]


def test_other_versions_are_refused(cluster, monkeypatch):
    monkeypatch.setattr("flexsim.workers.cluster.python_version", lambda: "3.0")
    with pytest.raises(WorkersError, match=r"the scheduler has Python 3\.\d+, this process Py"):
        next(map_unordered(abs, [1], Workers(cluster.address)))


def test_a_worker_that_is_killed_costs_no_item(cluster):
    victim = cluster.workers[0].pid
    squares, places = {}, []
    for index, (square, place) in map_unordered(slow_square, range(120), Workers(cluster.address)):
        assert index not in squares
        squares[index] = square
        places.append(place)
        if len(squares) == 20:
            os.kill(victim, signal.SIGKILL)
    assert squares == {number: number**2 for number in range(120)}
    assert places[-1] != victim


def test_a_cluster_without_workers_is_told_after_some_patience(cluster):
    for process in cluster.workers:
        process.kill()
        process.wait()
    found = map_unordered(slow_square, range(5), Workers(cluster.address, patience_s=0.5))
    with pytest.raises(WorkersError, match=r"there has been no worker for 0\.5 s"):
        next(found)


def test_a_scheduler_that_ends_is_told(cluster):
    cluster.begin_worker()
    with pytest.raises(WorkersError, match="the scheduler is gone"):
        for _ in map_unordered(slow_square, range(10_000), Workers(cluster.address)):
            cluster.scheduler.kill()


@pytest.fixture
def impostor():
    """Yield the address of a server that talks, but not as a scheduler does."""
    server = socket.create_server(("127.0.0.1", 0))

    def answer():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            connection.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n")

    threading.Thread(target=answer, daemon=True).start()
    yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
    server.close()


def test_a_server_that_is_no_scheduler_is_one_sentence(impostor, tmp_path):
    file = tmp_path / "small.toml"
    file.write_text(toml_text(content()), encoding="utf-8")
    for address in (impostor, "tcp://127.0.0.1:1", "tcp://no-such-host.invalid:8786"):
        error = only_error(command_line("search", str(file), "--scheduler", address))
        assert error == (
            f"error: no dask scheduler answers at {address}; start one with dask scheduler, and"
            " give the address that it prints\n"
        )
    both = ("--scheduler", "tcp://127.0.0.1:1", "--workers", "2")
    error = only_error(command_line("search", str(file), *both))
    assert "workers = 2 and scheduler = 'tcp://127.0.0.1:1': give one of the two" in error
