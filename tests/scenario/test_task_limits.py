"""A task graph larger than memory is refused before it is built, and says what to change."""

from pathlib import Path

import pytest
from command_line import flexsim as command
from command_line import only_error
from shipped_scenarios import ROOT
from small_gpt import write_small

import flexsim
from flexsim.scenario import limits, runner
from flexsim.scenario.free_memory import free_bytes
from flexsim.task_graph.plan import Plan

MEMINFO = "MemTotal: 64 kB\nMemFree: 1 kB\nMemAvailable:    32 kB\n"


def with_free(monkeypatch, num_bytes):
    monkeypatch.setattr(limits, "free_bytes", lambda: num_bytes)


def small(tmp_path, *changes):
    path = tmp_path / "my.toml"
    write_small(path)
    return flexsim.load_scenario(path, changes)


def test_a_graph_that_just_fits_is_run_and_one_task_less_room_is_refused(tmp_path, monkeypatch):
    scenario = small(tmp_path)
    num_tasks = flexsim.run(scenario).task_graph.num_tasks
    with_free(monkeypatch, num_tasks * limits.BYTES_PER_TASK)
    assert flexsim.run(scenario).task_graph.num_tasks == num_tasks
    with_free(monkeypatch, num_tasks * limits.BYTES_PER_TASK - 1)
    monkeypatch.setattr(Plan, "task_graph", lambda _: pytest.fail("it is built"))
    with pytest.raises(flexsim.FlexSimError, match=rf"my.toml: {num_tasks:,} tasks or more"):
        flexsim.run(scenario)


def test_where_nothing_is_known_of_memory_a_graph_is_run(tmp_path, monkeypatch):
    with_free(monkeypatch, None)
    assert flexsim.run(small(tmp_path)).task_graph.num_tasks > 0


def test_more_tasks_than_can_be_numbered_are_refused_in_any_memory(tmp_path, monkeypatch):
    with_free(monkeypatch, 2**60)
    monkeypatch.setattr(limits, "MOST_TASKS", 10)
    with pytest.raises(flexsim.FlexSimError, match="than the 10 that can be numbered"):
        flexsim.run(small(tmp_path))


def test_an_unfolded_cluster_is_refused_before_its_program_is_built(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with_free(monkeypatch, 4 * 2**30)
    monkeypatch.setattr(runner, "plan_task_graph", lambda *_: pytest.fail("it is built"))
    path = ROOT / "scenarios" / "llama3-405b-16384xh100.toml"
    error = only_error(command("run", str(path), "--set", "strategy.fold=false"))
    assert "tasks or more (folding is switched off) would take" in error
    assert "GiB where 4.0 GiB are free" in error
    for remedy in ("strategy.fold = true", "fewer microbatches", "training.micro_batch", "layers"):
        assert remedy in error


def test_a_folded_graph_is_not_told_to_fold(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_small(Path("my.toml"))
    with_free(monkeypatch, 0)
    error = only_error(command("run", "my.toml"))
    assert "choose fewer microbatches" in error
    assert not Path("plots").exists()


@pytest.mark.parametrize("fold", [True, False])
def test_the_estimate_from_the_strategy_alone_is_at_most_the_number_of_tasks(
    fold, tmp_path, monkeypatch
):
    told = []
    monkeypatch.setattr(limits, "_check_tasks", lambda _, num_tasks, why: told.append(num_tasks))
    scenario = small(tmp_path, f"strategy.fold={str(fold).lower()}")
    num_tasks = flexsim.run(scenario).task_graph.num_tasks
    assert told[-1] == num_tasks
    assert len(told) == (1 if fold else 2)
    assert num_tasks / 4 < told[0] <= num_tasks


def write(root, path, text):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def test_free_memory_of_a_machine_without_control_groups(tmp_path):
    write(tmp_path, "proc/meminfo", MEMINFO)
    assert free_bytes(tmp_path) == 32 * 1024


def test_free_memory_is_what_the_tightest_control_group_leaves(tmp_path):
    write(tmp_path, "proc/meminfo", MEMINFO)
    write(tmp_path, "proc/self/cgroup", "0::/jobs/mine\n")
    for group, limit in (("jobs", "20000"), ("jobs/mine", "max")):
        write(tmp_path, f"sys/fs/cgroup/{group}/memory.max", f"{limit}\n")
        write(tmp_path, f"sys/fs/cgroup/{group}/memory.current", "5000\n")
    assert free_bytes(tmp_path) == 15_000


def test_free_memory_under_control_groups_of_the_first_version(tmp_path):
    write(tmp_path, "proc/meminfo", MEMINFO)
    write(tmp_path, "proc/self/cgroup", "4:cpu,memory:/job\n3:pids:/job\n")
    write(tmp_path, "sys/fs/cgroup/memory/job/memory.limit_in_bytes", "9000\n")
    write(tmp_path, "sys/fs/cgroup/memory/job/memory.usage_in_bytes", "10000\n")
    assert free_bytes(tmp_path) == 0


def test_without_proc_the_whole_memory_counts_as_free(tmp_path):
    assert free_bytes(tmp_path) > 2**20
