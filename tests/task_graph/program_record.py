"""Programs of small models, with every collective and transfer told by name, bytes and place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from flexsim.cost import SoftwareProfile, Work, load_software_profile
from flexsim.cost.costs import Costs
from flexsim.device_graph import DeviceGraph, load_device_graph
from flexsim.models import build_model, model_config
from flexsim.operator_graph import OperatorGraph
from flexsim.strategy import Degrees, ParallelConfig, Strategy, check_strategy, megatron
from flexsim.task_graph.expand import build_program
from flexsim.task_graph.kinds import ACTION_KINDS, TASK_KINDS
from flexsim.task_graph.parts import WeightPart
from flexsim.task_graph.program import Program
from flexsim.task_graph.update import write_update

SHAPE = {"layers": 2, "hidden": 16, "heads": 4, "sequence": 8, "vocabulary": 32}


@dataclass(frozen=True)
class Message:
    """One collective or transfer row; ``devices`` are the groups' rows, or pairs."""

    action: str
    stage: int
    stream: str
    name: str
    num_bytes: int
    devices: tuple[tuple[int, ...], ...]
    operator: str

    @property
    def what(self) -> tuple[str, int]:
        """Name and bytes."""
        return self.name, self.num_bytes


class Recorder:
    """A communication model whose durations are numbers of what it was asked."""

    def __init__(self) -> None:
        self.log: list[tuple[str, tuple[tuple[int, ...], ...]]] = [("", ())]

    def collective_ns(
        self, collective: str, num_bytes: int, groups: NDArray[np.int32], /
    ) -> NDArray[np.int64]:
        return self._note(collective, groups)

    def transfer_ns(
        self,
        num_bytes: NDArray[np.int64] | int,
        sources: NDArray[np.int32],
        targets: NDArray[np.int32],
        /,
    ) -> NDArray[np.int64]:
        return self._note("transfer", np.stack([sources, targets], 1))

    def _note(self, name: str, devices: NDArray[np.int32]) -> NDArray[np.int64]:
        self.log.append((name, tuple(map(tuple, devices.tolist()))))
        return np.full(len(devices), len(self.log) - 1, np.int64)


def one_ns(work: Work, device_type: str) -> int:
    """Price every kernel alike."""
    return 1


@cache
def cluster(hosts: int = 2) -> DeviceGraph:
    """Return hosts of eight devices."""
    return load_device_graph("dgx-a100", hosts=hosts)


@cache
def software(**changes: float) -> SoftwareProfile:
    """Return a profile that synchronizes every weight by itself."""
    return replace(load_software_profile("megatron-lm"), gradient_bucket_bytes=0, **changes)


def model(family: str = "gpt", sequences: int = 2, **changes: object) -> OperatorGraph:
    """Return a small model."""
    return build_model(model_config(family, None, **(SHAPE | changes)), sequences)


@dataclass(frozen=True, eq=False)
class Recorded:
    """A program with its update and what the recorder saw."""

    program: Program
    parts: list[WeightPart]
    messages: list[Message]

    def of(self, action: str, block: str | None = None, stream: str = "") -> list[Message]:
        """Return the messages of an action (F, B, U), of one block's operators, of one stream."""
        return [
            m
            for m in self.messages
            if m.action == action
            and (block is None or m.operator.startswith(f"{block}."))
            and stream in ("", m.stream)
        ]


def counted(messages: Iterable[Message]) -> Counter[tuple[str, int]]:
    """Count messages by name and bytes."""
    return Counter(m.what for m in messages)


def record(graph: OperatorGraph, strategy: Strategy) -> Recorded:
    """Return the program of ``graph`` under ``strategy``, recorded."""
    check_strategy(strategy, graph, cluster().num_devices)
    recorder = Recorder()
    costs = Costs(one_ns, recorder, software())
    program = build_program(graph, strategy, cluster(), costs)
    parts = write_update(program, costs.software)
    messages = []
    for row in program.notebook.rows:
        if not row.is_compute:
            name, devices = recorder.log[int(row.duration_ns[0])]
            operator = graph.operators[row.operator].name if row.operator >= 0 else ""
            messages.append(
                Message(
                    ACTION_KINDS[row.action],
                    row.stage,
                    TASK_KINDS[row.kind],
                    name,
                    int(row.num_bytes.max()),
                    devices,
                    operator,
                )
            )
    return Recorded(program, parts, messages)


def recorded(graph: OperatorGraph, **degrees: object) -> Recorded:
    """Return the program of ``graph`` under Megatron degrees, recorded."""
    return record(graph, megatron(graph, Degrees(**degrees)))  # type: ignore[arg-type]


def with_configs(
    strategy: Strategy, splits: Mapping[str, Mapping[str, tuple[str, ...]]]
) -> Strategy:
    """Return ``strategy`` with other cuts, by operator name, on the meshes that it has."""
    configs = {
        name: ParallelConfig.of(config.mesh, splits[name]) if name in splits else config
        for name, config in strategy.configs.items()
    }
    return replace(strategy, configs=configs)
