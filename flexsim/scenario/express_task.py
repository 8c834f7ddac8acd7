"""One scenario prepared for the express way, and keys of what its parts follow from."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from flexsim.engine.contraction_uniform import Closing
from flexsim.operator_graph import OperatorGraph
from flexsim.scenario.checks import Sizes
from flexsim.scenario.prepare import Setting
from flexsim.scenario.schema import Scenario
from flexsim.scenario.uniform import Small
from flexsim.strategy import Degrees
from flexsim.task_graph.columns import StaticMemory


@dataclass(frozen=True, eq=False)
class Whole:
    """What a model is, and what is asked of it again and again."""

    graph: OperatorGraph
    is_regular: bool
    flops: int
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Task:
    """One scenario, prepared."""

    scenario: Scenario
    setting: Setting
    sizes: Sizes
    degrees: Degrees
    small: Small
    model: Hashable
    """Key of all that follows from the model and what trains it."""
    kind: int
    """Stands for the model and the small pipeline."""
    cluster: int
    """Stands for the model and the devices."""
    whole: Whole

    @property
    def times(self) -> int:
        """Samples of a microbatch and replica."""
        return self.scenario.training.micro_batch

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


@dataclass(frozen=True, eq=False)
class End:
    """The update of all ranks, and what they hold throughout."""

    closing: Closing
    static: StaticMemory
    num_tasks: int
    num_unfolded: int
