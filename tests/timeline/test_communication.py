from types import SimpleNamespace

import numpy as np
from graphs import make_task_graph
from rich.console import Console, Group

from flexsim.scenario.communication_report import communication_parts
from flexsim.task_graph.columns import StaticMemory
from flexsim.timeline.communication import KindOfCommunication, communication_by_kind
from flexsim.timeline.spans import Timeline

RESOURCES = [
    ("compute", 0, -1),
    ("compute", 1, -1),
    ("tensor", 0, -1),
    ("tensor", 1, -1),
    ("pipeline", 0, 1),
]
TASKS = [(100, [0], []), (40, [2, 3], [0]), (60, [4], [1])]


def timeline_of(kinds=("forward", "tensor", "pipeline"), **columns):
    graph = make_task_graph(TASKS, kinds, RESOURCES, **columns)
    return Timeline(graph, np.array([0, 100, 140]), np.array([100, 140, 200]))


def test_a_collective_counts_on_every_member_and_a_transfer_is_sent_once():
    tensor, pipeline = sorted(communication_by_kind(timeline_of()), key=lambda row: row.time_s)
    assert tensor == KindOfCommunication("tensor", 100.0, 40e-9)
    # 60 ns at both ends of the channel; 100 bytes from one device of the two
    assert pipeline == KindOfCommunication("pipeline", 50.0, 60e-9)


def test_the_most_time_comes_first():
    assert [row.kind for row in communication_by_kind(timeline_of())] == ["pipeline", "tensor"]


def test_devices_count_as_often_as_they_stand_for_others():
    none = np.zeros(2, np.int64)
    alike = StaticMemory(np.arange(2, dtype=np.int32), none, none, none, np.array([3, 1]))
    rows = communication_by_kind(timeline_of(static_memory=alike))
    assert rows[0] == KindOfCommunication("pipeline", 75.0, 60e-9)


def test_without_communication_there_are_no_rows():
    assert communication_by_kind(timeline_of(("forward", "forward", "backward"))) == []


def report(timeline, links, exposed):
    metrics = {"exposed_communication_s": exposed}
    parts = communication_parts(SimpleNamespace(timeline=timeline, metrics=metrics, links=links))
    console = Console(width=80, color_system=None)
    with console.capture() as captured:
        console.print(Group(*parts))
    return captured.get().splitlines()


def test_the_report_tells_bytes_time_and_what_is_exposed():
    exposed = {"tensor": 30e-9, "pipeline": 60e-9}
    lines = report(timeline_of(), "not followed", exposed)
    cells = [[cell for cell in line.split("  ") if cell.strip()] for line in lines]
    assert [cell.strip() for cell in cells[2]] == ["pipeline", "50 B", "60.0 ns", "100.0 %"]
    assert [cell.strip() for cell in cells[3]] == ["tensor", "100 B", "40.0 ns", "75.0 %"]
    assert [cell.strip() for cell in cells[4]] == ["all", "150 B", "100 ns", "90.0 %"]
    assert lines[5] == "links: not followed"


def test_without_communication_there_is_no_section():
    kinds = ("forward", "forward", "backward")
    assert communication_parts(SimpleNamespace(timeline=timeline_of(kinds))) == []
