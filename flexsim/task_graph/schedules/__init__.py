"""Pipeline schedules: in which order every rank runs its forwards and backwards."""

from flexsim.task_graph.schedules.catalog import (
    GROWN_SCHEDULES,
    SCHEDULES,
    ScheduleEntry,
    build_schedule,
)
from flexsim.task_graph.schedules.notation import Action, format_action, parse_action
from flexsim.task_graph.schedules.orders import gpipe, interleaved_1f1b, one_f_one_b
from flexsim.task_graph.schedules.schedule import PipelineShape, Schedule
from flexsim.task_graph.schedules.validity import check

__all__ = [
    "GROWN_SCHEDULES",
    "SCHEDULES",
    "Action",
    "PipelineShape",
    "Schedule",
    "ScheduleEntry",
    "build_schedule",
    "check",
    "format_action",
    "gpipe",
    "interleaved_1f1b",
    "one_f_one_b",
    "parse_action",
]
