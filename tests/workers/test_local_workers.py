"""A map on this process, and on processes of this machine."""

from __future__ import annotations

import itertools
import os
import pickle
import signal
import subprocess
import sys
import time

import psutil
import pytest
from mapped_functions import (
    asked_to_stop,
    deadly_at_five,
    endless,
    parent_and_modules,
    placed_square,
    random_numbers,
    refuse_seven,
    unpicklable,
)

from flexsim.errors import StrategyError, WorkersError
from flexsim.workers import Talk, WorkerDied, Workers, count_workers, loading, map_unordered
from flexsim.workers.batches import Batch, Origin, packed, run_batch

HERE, TWO = Workers(num_local=1), Workers(num_local=2)
WAIT_S = 40


def other_processes():
    """Return this process's children but those that Python keeps for itself."""
    found = psutil.Process().children(recursive=True)
    return [each for each in found if "resource_tracker" not in " ".join(each.cmdline())]


def test_one_worker_is_this_process_and_takes_items_one_by_one():
    source = itertools.count()
    found = map_unordered(placed_square, source, HERE)
    assert next(found)[1].process == os.getpid()
    assert [next(found)[0] for _ in range(3)] == [1, 2, 3]
    assert next(source) == 4


def test_one_worker_needs_no_dask():
    code = (
        "import sys; from flexsim.workers import Workers, map_unordered;"
        "print(list(map_unordered(abs, [-1, -2], Workers(num_local=1))));"
        "print('distributed' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[(0, 1), (1, 2)]\nFalse\n"


def test_two_processes_share_the_items_and_leave_nothing_behind():
    taken = []

    def items():
        for number in range(400):
            taken.append(number)
            yield number

    found, most_ahead = {}, 0
    for index, place in map_unordered(placed_square, items(), TWO):
        assert index not in found
        found[index] = place
        most_ahead = max(most_ahead, len(taken) - len(found))
    assert {index: place.square for index, place in found.items()} == {n: n * n for n in taken}
    assert len(taken) == 400
    assert most_ahead < 200
    assert len({place.process for place in found.values()} - {os.getpid()}) == 2
    assert all(set(place.threads.values()) == {"1"} for place in found.values())
    assert other_processes() == []


def test_an_item_that_kills_its_workers_gives_a_sentence_and_the_others_their_results():
    found = dict(map_unordered(deadly_at_five, range(12), TWO))
    died = found.pop(5)
    assert isinstance(died, WorkerDied)
    assert died.index == 5
    assert "the worker died every time" in died.reason
    assert found == {n: n for n in range(12) if n != 5}
    assert other_processes() == []


@pytest.mark.parametrize("workers", [HERE, TWO])
def test_an_exception_is_raised_as_it_is(workers):
    found = []
    with pytest.raises(StrategyError, match=r"^seven does not fit$"):
        for index, _ in map_unordered(refuse_seven, range(10_000), workers):
            found.append(index)
    assert 7 not in found
    assert len(found) < 9_000  # the other worker may have got far meanwhile
    assert other_processes() == []


def test_one_process_tells_and_is_asked_to_stop_too():
    heard = []
    talk = Talk(lambda index, message: heard.append((index, message)), lambda: len(heard) > 2)
    assert list(map_unordered(asked_to_stop, [9], HERE, talk)) == [(0, 3)]
    assert heard == [(0, (9, 0)), (0, (9, 1)), (0, (9, 2))]


def test_processes_tell_and_are_asked_to_stop():
    heard = []
    talk = Talk(lambda index, message: heard.append((index, *message)), lambda: len(heard) >= 6)
    found = dict(map_unordered(asked_to_stop, [10, 20], TWO, talk))
    assert sorted(found) == [0, 1]
    for index, number in ((0, 10), (1, 20)):
        assert [each for each in heard if each[0] == index] == [
            (index, number, told) for told in range(found[index])
        ]


def test_a_script_needs_no_guard_and_keeps_its_classes(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from flexsim.workers import Workers, map_unordered\n"
        "class Pair:\n"
        "    def __init__(self, number): self.number = number\n"
        "def pair(number): return Pair(number + 1)\n"
        "found = [each for _, each in map_unordered(pair, range(9), Workers(num_local=2))]\n"
        "print(sorted(each.number for each in found), {type(each) is Pair for each in found})\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[1, 2, 3, 4, 5, 6, 7, 8, 9] {True}\n", "")


def test_random_numbers_of_two_processes_differ():
    with loading(TWO, "numpy"):
        found = dict(map_unordered(random_numbers, range(200), TWO))
    assert len(set(found.values())) == 200


def test_maps_share_what_is_loaded_for_them():
    with loading(TWO, "fractions"), loading(TWO, "colorsys"):
        (begun,) = other_processes()
        for _ in range(2):
            found = dict(map_unordered(parent_and_modules, range(50), TWO))
            parents, loaded = zip(*found.values(), strict=True)
            assert (set(parents), set(loaded)) == ({begun.pid}, {("fractions",)})
        psutil.wait_procs(begun.children(), WAIT_S)
        assert begun.children() == []
    assert other_processes() == []


def test_loading_needs_no_process_for_one_worker():
    with loading(HERE, "fractions"):
        assert other_processes() == []


def test_processes_that_cannot_start_are_told(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(WorkersError, match="processes that are started on this machine end at"):
        next(map_unordered(abs, range(10), TWO))
    assert other_processes() == []


def test_what_cannot_be_sent_back_is_told():
    outcome = pickle.loads(run_batch(Batch(packed(unpicklable), packed(((0, 1),)), Origin.here())))
    assert outcome.results == ()
    assert "a result' cannot be sent from a worker: cannot pickle" in str(outcome.error)


def test_a_worker_of_another_version_is_refused():
    for origin, told in (
        (Origin("0.0", Origin.here().python, "/"), "the work comes from flexsim 0.0"),
        (Origin(Origin.here().version, "2.7", "/"), "the work comes from Python 2.7"),
    ):
        outcome = pickle.loads(run_batch(Batch(packed(abs), packed(((0, 1),)), origin)))
        assert told in str(outcome.error)
        assert outcome.results == ()


def test_workers_are_counted():
    assert count_workers(TWO) == 2
    assert count_workers(Workers()) >= 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_end_all_processes_quietly(number):
    code = (
        "import signal\n"
        # A test run in the background of a shell has it ignored, and so would this process.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from flexsim.workers import Workers, map_unordered\n"
        "from mapped_functions import endless\n"
        "if __name__ == '__main__':\n"
        "    for _ in map_unordered(endless, range(6), Workers(num_local=2)): pass\n"
    )
    assert endless  # the module is importable there as here
    folder = os.path.dirname(__file__)
    running = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": folder},
    )
    try:
        workers = {int(line) for line in itertools.islice(running.stdout, 4)}
        time.sleep(0.5)  # all is sent by then, and the map waits
        os.killpg(running.pid, number)
        _, errors = running.communicate(timeout=WAIT_S)
    finally:
        running.kill()
    assert len(workers) == 2
    assert not any(psutil.pid_exists(each) and is_alive(each) for each in workers)
    if number == signal.SIGTERM:
        assert (running.returncode, errors) == (128 + number, "")
    else:
        assert errors.rstrip().endswith("KeyboardInterrupt")
        assert errors.count("Traceback") == 1


def is_alive(process):
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        try:
            if psutil.Process(process).status() == psutil.STATUS_ZOMBIE:
                return False
        except psutil.NoSuchProcess:
            return False
        time.sleep(0.05)
    return True
