"""What cannot be followed together, told in one sentence before anything is tiled."""

from __future__ import annotations

from collections.abc import Sequence

from flexsim.errors import StrategyError
from flexsim.strategy.strategy import ACTIVATIONS, Strategy
from flexsim.task_graph.rows import WEIGHT, Row
from flexsim.task_graph.split import WHOLE


def check_split(strategy: Strategy, passes: tuple[int, ...]) -> None:
    """Raise :class:`StrategyError` where a schedule cuts backwards that must stay whole."""
    if passes == WHOLE:
        return
    splits = f"schedule {strategy.schedule!r} runs weight gradients by themselves"
    if strategy.sharding.weights:
        raise StrategyError(
            f"{splits}, for which weights would be gathered twice: strategy.zero = 3 does not go "
            "with it; choose zero = 0, 1 or 2, or a schedule with whole backwards such as 1f1b"
        )
    if ACTIVATIONS in strategy.offload:
        raise StrategyError(
            f"{splits}, for which activations would come back twice: training.offload = "
            "['activations'] does not go with it; choose a schedule with whole backwards such as "
            "1f1b"
        )


def check_halves(strategy: Strategy, rows: Sequence[Row], passes: tuple[int, ...]) -> None:
    """Raise :class:`StrategyError` where a stage has no weight gradients to run by themselves.

    ``rows`` are those of halves, as :func:`flexsim.task_graph.split.split_rows` cuts them.
    """
    if WEIGHT not in passes:
        return
    have = {row.stage for row in rows if row.action == WEIGHT}
    missing = [stage for stage in range(strategy.num_stages) if stage not in have]
    if missing:
        raise StrategyError(
            f"schedule {strategy.schedule!r} runs weight gradients by themselves, but stage "
            f"{missing[0]} of the model has none; choose fewer stages or a schedule with whole "
            "backwards such as 1f1b"
        )
