"""Schedules written to files and read back; what is wrong in one is told with its place."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schedule_shapes import fitting

from flexsim.errors import ScheduleError
from flexsim.task_graph.schedules import SCHEDULES, PipelineShape, build_schedule
from flexsim.task_graph.schedules.files import read_schedule, write_schedule

ONE_WAY = sorted(
    name for name, entry in SCHEDULES.items() if entry.num_lanes == 1 and name != "terapipe"
)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(ONE_WAY), st.integers(1, 4), st.integers(1, 9), st.integers(1, 3))
def test_writing_and_reading_are_inverse(tmp_path_factory, name, p, m, v):
    path = tmp_path_factory.mktemp("order") / "order.csv"
    schedule = build_schedule(name, fitting(name, p, m, v))
    write_schedule(schedule, path)
    found = read_schedule(path)
    ranks = range(schedule.num_ranks)
    assert [found.sets(rank) for rank in ranks] == [schedule.sets(rank) for rank in ranks]
    assert found.rank_of_stage.tolist() == schedule.rank_of_stage.tolist()


def test_a_file_is_what_pytorch_writes(tmp_path):
    path = tmp_path / "order.csv"
    write_schedule(build_schedule("dualpipe-v", PipelineShape(1, 2, 2)), path)
    assert path.read_text() == "0F0,1F0,0F1,1B0,(1F1;0B0)OVERLAP_F_B,1B1,0I1,0W1\n"


def test_waits_and_communication_are_passed_over(tmp_path):
    path = tmp_path / "order.csv"
    path.write_text(
        "0UNSHARD,0F0,0SEND_F0,, ,0F1,0SEND_F1,0RECV_B0,0B0,0B1,0REDUCE_GRAD\n"
        ",1RECV_F0,1F0,1B0,1SEND_B0,1F1,1B1,1RESHARD\n\n"
    )
    found = read_schedule(path)
    assert [action.kind for action in found.actions(0)] == ["F", "F", "B", "B"]
    assert (found.num_ranks, found.num_stages, found.num_microbatches) == (2, 2, 2)


def seventeen(lines: int = 18) -> list[str]:
    return [f"{rank}F0,{rank}F1,{rank}B0,{rank}B1" for rank in range(lines)]


@pytest.mark.parametrize(
    ("line", "text", "told"),
    [
        (17, "16F0,16F1,16G0,16B1", ["line 17, cell 3", "'16G0'", "F, B, I or W"]),
        (17, "16F0,16F1,16B0,16B0", ["line 17, cell 4", "16B0", "line 17, cell 3 already"]),
        (17, "16F0,16F1,16B0", ["line 17: action 16B1 is missing"]),
        (17, "16F0,16F1,16I0,16B1,16B0", ["line 17", "16I0", "beside the full backward"]),
        (17, "16F0,16F1,16I0,16B1", ["line 17", "16W0 is missing"]),
        (17, "16F0,16F1,16B0,3B1", ["line 17, cell 4", "3B1", "line 4, cell 4 already"]),
        (17, "16F0,16B0,16F1,16B1", ["dead-locks", "line 17, cell 2: ", "action 16B0"]),
        (17, "16F0,16F9,16B0,16B1", ["line 17, cell 2", "16F9", "none of microbatch 2"]),
        (17, "16F0,16F1,(16B0;16B1)BOTH", ["line 17, cell 3", "'BOTH'", "OVERLAP_F_B"]),
        (17, "16F0,16F99999999999999999999", ["line 17, cell 2", "is not an action"]),
    ],
)
def test_what_is_wrong_is_told_with_file_line_and_cell(tmp_path, line, text, told):
    lines = seventeen()
    lines[17] = "17F0,17F1,17B0,17B1" if "dead" not in told[0] else "17F0,17F1,17B1,17B0"
    lines[line - 1] = text
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(lines))
    with pytest.raises(ScheduleError) as caught:
        read_schedule(path)
    assert all(part in str(caught.value) for part in [str(path), *told]), str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_stage_is_on_one_rank(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("0F0,0F1,0B0\n1F0,1B0,1F1,1B1,0B1\n")
    with pytest.raises(ScheduleError, match=r"line 2, cell 5: action 0B1 is on rank 1, but 0F0"):
        read_schedule(path)


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"", "no actions"), (b"\xff\xfe\x00", "cannot be read"), (b"\n,\n", "no actions")],
)
def test_files_without_a_schedule_are_refused(tmp_path, content, told):
    path = tmp_path / "mine.csv"
    path.write_bytes(content)
    with pytest.raises(ScheduleError, match=told):
        read_schedule(path)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ScheduleError, match="No such file"):
        read_schedule(tmp_path / "none.csv")
