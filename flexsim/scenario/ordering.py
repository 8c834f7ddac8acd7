"""How a scenario names the order of its passes: a schedule, ``auto``, or a file."""

from __future__ import annotations

from pathlib import Path

from flexsim.errors import ScenarioError, ScheduleError
from flexsim.files import is_file
from flexsim.scenario.checks import Sizes, check_name, in_file
from flexsim.scenario.schema import Scenario
from flexsim.strategy.baselines import PLACEMENTS, Degrees, ranks_of_stages
from flexsim.task_graph.schedules import SCHEDULES, Schedule
from flexsim.task_graph.schedules.catalog import AUTO
from flexsim.task_graph.schedules.files import SUFFIX, read_schedule


def is_in_file(scenario: Scenario) -> bool:
    """Whether the schedule is a file."""
    return scenario.strategy.chosen_schedule.endswith(SUFFIX)


def check_schedule(scenario: Scenario) -> None:
    """Raise where the scenario's schedule is neither a name nor a file."""
    name = scenario.strategy.chosen_schedule
    if not is_in_file(scenario):
        check_name(scenario.source, "strategy.schedule", name, SCHEDULES)
    strategy, simulation = scenario.strategy, scenario.simulation
    _check_heeded(scenario, "warm_up", ("strategy.warm_up", strategy.warm_up))
    _check_heeded(scenario, "num_slices", ("strategy.token_slices", strategy.token_slices))
    _check_heeded(scenario, "num_iterations", ("simulation.iterations", simulation.iterations))


def _check_heeded(scenario: Scenario, hint: str, given: tuple[str, object]) -> None:
    """Raise where a key is given that the schedule has no use for."""
    name, (key, value) = scenario.strategy.chosen_schedule, given
    heeded = [other for other, entry in SCHEDULES.items() if hint in entry.hints]
    if value is not None and name not in heeded:
        raise ScenarioError(
            f"{scenario.source}: {key} = {value} has no meaning for "
            f"strategy.schedule = {name!r}; choose {' or '.join(heeded)}"
        )


def has_gradient_norm(scenario: Scenario) -> bool:
    """Whether the norm of all gradients is taken; without a flush only if it is asked for."""
    table = scenario.strategy
    is_asked_for = "gradient_norm" in table.model_fields_set
    return table.gradient_norm and (flushes(scenario) or is_asked_for)


def flushes(scenario: Scenario) -> bool:
    """Whether every iteration ends before weights are updated."""
    entry = SCHEDULES.get(scenario.strategy.chosen_schedule)
    return entry is None or entry.flushes


def schedule_of_file(scenario: Scenario) -> Schedule:
    """Return the schedule of a file, which is looked for beside the scenario first."""
    given = Path(scenario.strategy.chosen_schedule)
    near = Path(scenario.source).parent / given
    with in_file(scenario.source, "strategy.schedule"):
        return read_schedule(near if is_file(near) else given)


def placement_of(scenario: Scenario, sizes: Sizes) -> tuple[str, int]:
    """Return which rank holds which stage, and how many copies of the model there are."""
    name = scenario.strategy.chosen_schedule
    if name == AUTO:
        return "v" if sizes.chunks == 2 else "loop", 1
    if name in SCHEDULES:
        return SCHEDULES[name].placement, SCHEDULES[name].num_lanes
    with in_file(scenario.source, "strategy.schedule"):
        return _placement_of_file(scenario, sizes), 1


def _placement_of_file(scenario: Scenario, sizes: Sizes) -> str:
    schedule = schedule_of_file(scenario)
    _check_fits(scenario, sizes, schedule)
    for placement in PLACEMENTS:
        degrees = Degrees(pipeline=sizes.pipeline, chunks=sizes.chunks, placement=placement)
        if schedule.rank_of_stage.tolist() == ranks_of_stages(degrees):
            return placement
    raise ScheduleError(
        f"{scenario.strategy.chosen_schedule}: its stages lie on the ranks "
        f"{schedule.rank_of_stage.tolist()}; they must go round the ranks in turn, or there and "
        "back"
    )


def _check_fits(scenario: Scenario, sizes: Sizes, schedule: Schedule) -> None:
    """Raise where a file has other sizes than the scenario; this names the first."""
    wanted = {
        "strategy.pipeline": (sizes.pipeline, schedule.num_ranks, "ranks"),
        "strategy.pipeline x strategy.chunks": (
            sizes.pipeline * sizes.chunks,
            schedule.num_stages,
            "stages",
        ),
        "training.global_batch": (
            sizes.num_microbatches,
            schedule.num_microbatches,
            "microbatches a replica",
        ),
    }
    for key, (given, found, what) in wanted.items():
        if given != found:
            raise ScheduleError(
                f"{scenario.strategy.chosen_schedule} is for {found} {what}, but {key} makes "
                f"{given}; change one of them"
            )
