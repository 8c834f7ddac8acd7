"""A sweep that stops goes on: no row lost, doubled or torn, and the same file in the end."""

import os
import random
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import flexsim, only_error
from small_sweep import SWEEP, write_sweep

from flexsim.errors import SweepError
from flexsim.sweep.api import sweep
from flexsim.sweep.journal import Journal

PROGRAM = Path(__file__).with_name("kill_sweep.py")
NUM_KILLS = 40
MANY = {
    "grid": {
        "training.micro_batch": [1, 2, 3],
        "training.recompute": ["none", "full"],
        "strategy.tensor": [1, 2, 4, 8],
        "strategy.pipeline": [1, 2, 3, 4],
    },
    "derive": {"strategy.data": "cluster.devices // (strategy.tensor * strategy.pipeline)"},
    "where": "cluster.devices % (strategy.tensor * strategy.pipeline) == 0",
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The file of the small sweep, and its results undisturbed."""
    folder = tmp_path_factory.mktemp("finished")
    file = write_sweep(folder / "small.toml")
    sweep(file, folder / "results.csv")
    return file, (folder / "results.csv").read_bytes()


def test_killed_dozens_of_times_it_ends_in_the_same_file(tmp_path):
    file = write_sweep(tmp_path / "many.toml", MANY)
    found = subprocess.run(
        [sys.executable, PROGRAM, file, tmp_path / "results.csv", "1", str(NUM_KILLS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stderr == ""
    assert found.stdout == f"{NUM_KILLS} kills survived\n"


def test_a_file_torn_anywhere_is_mended(finished, tmp_path):
    file, whole = finished
    path, rng = tmp_path / "results.csv", random.Random(0)
    for size in [0, 1, len(whole) - 1, *rng.sample(range(len(whole)), 30)]:
        path.write_bytes(whole[:size])
        sweep(file, path)
        assert path.read_bytes() == whole


def test_rows_in_any_order_are_put_in_order(finished, tmp_path):
    file, whole = finished
    header, *rows = whole.splitlines(keepends=True)
    random.Random(0).shuffle(rows)
    path = tmp_path / "results.csv"
    path.write_bytes(header + b"".join(rows))
    assert sweep(file, path).num_before == len(rows)
    assert path.read_bytes() == whole


def test_zeros_that_a_crash_left_are_cut_off(finished, tmp_path):
    file, whole = finished
    path = tmp_path / "results.csv"
    path.write_bytes(whole[: len(whole) // 2] + b"\0" * 5000)
    sweep(file, path)
    assert path.read_bytes() == whole


def test_what_is_done_is_not_done_again(finished, tmp_path):
    file, whole = finished
    path = tmp_path / "results.csv"
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:-3]))
    told = []
    result = sweep(file, path, watch=told.append)
    assert [each.done for each in told] == [
        result.num_rows - 2,
        result.num_rows - 1,
        result.num_rows,
    ]
    assert result.num_before == result.num_rows - 3


def test_a_sweep_may_be_widened_by_its_condition(finished, tmp_path):
    _, whole = finished
    file = write_sweep(tmp_path / "small.toml", SWEEP | {"where": SWEEP["where"] + " or false"})
    path = tmp_path / "results.csv"
    path.write_bytes(whole)
    assert sweep(file, path).num_before == len(whole.splitlines()) - 1


def _refused(file, path, before):
    path.write_bytes(before)
    message = only_error(flexsim("sweep", str(file), "--output", str(path), "--workers", "1"))
    assert path.read_bytes() == before
    return message


OTHERS = {
    "another scenario": ({"training": {"global_batch": 16}}, {}),
    "another grid": ({}, {"grid": {**SWEEP["grid"], "training.micro_batch": [1, 4]}}),
    "other keys": ({}, {"grid": {**SWEEP["grid"], "strategy.chunks": [1]}}),
    "a narrower condition": ({}, {"where": [SWEEP["where"], "strategy.tensor > 1"]}),
    "other metrics": ({}, {"full": True}),
    "a price": ({}, {"price_per_device_hour": 1.0}),
}


@pytest.mark.parametrize("name", OTHERS)
def test_results_of_another_sweep_are_refused_and_kept(name, finished, tmp_path):
    tables, table = OTHERS[name]
    file = write_sweep(tmp_path / "other.toml", SWEEP | table, **tables)
    message = _refused(file, tmp_path / "results.csv", finished[1])
    assert str(tmp_path / "results.csv") in message
    assert "choose another --output" in message


@pytest.mark.parametrize("content", [b"notes\n", b"notes without an end", b"a,b\n1,2\n"])
def test_files_that_are_no_results_are_refused_and_kept(content, finished, tmp_path):
    message = _refused(finished[0], tmp_path / "results.csv", content)
    assert "holds something else" in message


def test_a_broken_row_in_the_middle_is_named_by_its_line(finished, tmp_path):
    lines = finished[1].splitlines(keepends=True)
    content = b"".join([*lines[:4], b"1,2\n", *lines[5:]])
    message = _refused(finished[0], tmp_path / "results.csv", content)
    assert "line 5 is no row" in message


def test_a_row_twice_is_refused(finished, tmp_path):
    lines = finished[1].splitlines(keepends=True)
    message = _refused(finished[0], tmp_path / "results.csv", b"".join([*lines, lines[2]]))
    assert "several rows for one configuration" in message


def test_two_sweeps_do_not_write_to_one_file(finished, tmp_path):
    path = tmp_path / "results.csv"
    columns = ["configuration", "fingerprint"]
    with Journal(path, columns), pytest.raises(SweepError, match="another sweep is writing"):
        Journal(path, columns)


def test_a_full_disk_is_told_and_nothing_is_lost(finished, tmp_path):
    file, whole = finished
    path, room = tmp_path / "results.csv", len(whole) // 2
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        answer = flexsim("sweep", str(file), "--output", str(path), "--workers", "1")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert f"{path}: there is no room for more rows" in only_error(answer)
    rows = path.read_bytes().splitlines(keepends=True)
    assert set(rows) < set(whole.splitlines(keepends=True))
    assert room - 600 < path.stat().st_size <= room
    sweep(file, path)
    assert path.read_bytes() == whole


def test_no_room_at_all(finished):
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    message = only_error(flexsim("sweep", str(finished[0]), "--output", "/dev/full"))
    assert "/dev/full: there is no room" in message
