"""What the express way knows of a scenario, whatever its batch."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

from flexsim.engine.contraction_uniform import Closing
from flexsim.scenario.prepare import Setting
from flexsim.scenario.schema import Scenario
from flexsim.scenario.uniform import Small
from flexsim.strategy import Degrees
from flexsim.task_graph.columns import StaticMemory


@dataclass(frozen=True, eq=False)
class Whole:
    """What a model is, and what is asked of it again and again."""

    is_regular: bool
    num_parameters: int
    flops: int
    """Of one sequence."""
    tokens_per_sequence: int
    names: tuple[str, ...]
    """Of all operators."""


@dataclass(frozen=True, eq=False)
class Task:
    """One scenario prepared, but for its batch: that of its tables and degrees has no meaning."""

    scenario: Scenario
    setting: Setting
    degrees: Degrees
    small: Small
    model: Hashable
    """Key of all that follows from the model and what trains it."""
    kind: int
    """Stands for the model and the small pipeline."""
    cluster: int
    """Stands for the model and the devices."""
    turns: int
    """Stands for what an order follows from beside the number of microbatches."""
    whole: Whole
    times: int = 1
    """Samples of a microbatch and replica."""

    @property
    def num_stages(self) -> int:
        """Global stages."""
        return self.degrees.pipeline * self.degrees.chunks

    @property
    def layers(self) -> int:
        """Of a stage."""
        return self.setting.config.layers // self.num_stages

    @property
    def ranks(self) -> Hashable:
        """Key of what follows from the ranks' devices."""
        degrees = self.degrees
        return self.cluster, degrees.tensor, degrees.pipeline, degrees.data, degrees.order

    def with_microbatches(self, number: int) -> Degrees:
        """Return the degrees with so many microbatches."""
        return replace(self.degrees, num_microbatches=number)


@dataclass(frozen=True, eq=False)
class End:
    """The update of all ranks, and what they hold throughout."""

    closing: Closing
    static: StaticMemory
    num_tasks: int
    num_unfolded: int
