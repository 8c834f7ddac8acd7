"""Bringing a tensor into the layout that a reader needs, once a pass."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexsim.strategy.layout import Layout
from flexsim.strategy.transition import Collective, Exchange, Move, Step, TensorSize
from flexsim.task_graph.kinds import COLLECTIVE_CODE, TASK_CODE
from flexsim.task_graph.places import Places
from flexsim.task_graph.pricing import Pricing
from flexsim.task_graph.rows import Have, Notebook, Row, Store, kind_of_axes, unique
from flexsim.task_graph.transitions import Transitions

_MOVED = TASK_CODE["pipeline"]
_RESHARDED = TASK_CODE["reshard"]


Plans = dict[tuple[object, ...], tuple[int, tuple[Step, ...]]]
"""From which of several layouts to go to another, and how, by both and by the tensor's size."""


class Reader(NamedTuple):
    """Who reads: an operator's index, its global stage and the action that it belongs to.

    ``gate`` holds back communication that has no other reason to wait.
    """

    operator: int
    stage: int
    action: int
    gate: tuple[int, ...] = ()


class _Message(NamedTuple):
    """What a step's row says; the step is kept so that its identity stands for it."""

    step: Step
    places: Places
    duration_ns: NDArray[np.int64]
    num_bytes: NDArray[np.int64]


class Carrier:
    """Writes the communication rows that take tensors from layout to layout."""

    def __init__(
        self,
        notebook: Notebook,
        pricing: Pricing,
        scatter_gather: bool,
        transitions: Transitions | None = None,
        plans: Plans | None = None,
    ) -> None:
        """Write into ``notebook`` with durations from ``pricing``; ``plans`` are known ones."""
        self._notebook = notebook
        self._pricing = pricing
        self._scatter_gather = scatter_gather
        self._plans: Plans = {} if plans is None else plans
        self._transitions = transitions or Transitions()
        self._messages: dict[int, _Message] = {}

    def bring(
        self, store: Store, tensor: tuple[str, TensorSize], target: Layout, reader: Reader
    ) -> tuple[int, ...]:
        """Return the rows after which ``tensor`` is at hand as ``target`` for ``reader``.

        The cheapest layout in ``store`` is taken from; what is made on the way is kept there.
        """
        name, size = tensor
        haves = store[name]
        for have in haves:
            if have.layout is target or have.layout == target:
                return have.rows
        layouts = tuple([have.layout for have in haves])
        best, plan = self._cheapest(layouts, target, size)
        return self._carry(haves, haves[best], plan, target, reader)

    def _cheapest(
        self, layouts: tuple[Layout, ...], target: Layout, size: TensorSize
    ) -> tuple[int, tuple[Step, ...]]:
        """Return from which of ``layouts`` to go to ``target``, and how."""
        key = (layouts, target, size.shape, size.bytes_per_element, size.unordered)
        found = self._plans.get(key)
        if found is None:
            steps, spread = self._transitions.steps, self._scatter_gather
            plans = [steps(one, target, size, spread) for one in layouts]
            best = min(range(len(plans)), key=lambda i: (_cost(plans[i]), i))
            found = self._plans[key] = best, plans[best]
        return found

    def _carry(
        self, haves: list[Have], have: Have, plan: tuple[Step, ...], target: Layout, reader: Reader
    ) -> tuple[int, ...]:
        crossing = any(not isinstance(step, Collective) for step in plan)
        for step in plan:
            rows = self._write(step, have, reader, crossing)
            crossing = crossing and isinstance(step, Collective)
            stage = have.stage if crossing else reader.stage
            have = Have(step.result, rows, stage)
            if step.lasting:
                haves.append(have)
        if have.layout != target:
            haves.append(Have(target, have.rows, reader.stage))
        return have.rows

    def _write(self, step: Step, have: Have, reader: Reader, at_source: bool) -> tuple[int, ...]:
        """Write one step; what precedes a crossing runs with the tensor's own stage."""
        stage = have.stage if at_source else reader.stage
        needs = have.rows or reader.gate
        if isinstance(step, Exchange) and not len(step.sources):
            return needs
        _, places, duration, num_bytes = self._message(step)
        collective = 0
        if isinstance(step, Collective):
            kind, collective = kind_of_axes(step.axes), COLLECTIVE_CODE[step.kind]
        else:
            kind = _MOVED if have.stage != reader.stage else _RESHARDED
        row = Row(
            stage,
            reader.action,
            kind,
            reader.operator,
            places,
            duration,
            num_bytes,
            needs,
            False,
            collective,
        )
        written = self._notebook.write(row)
        return unique((*needs, written)) if isinstance(step, Exchange) else (written,)

    def _message(self, step: Step) -> _Message:
        """Return where a step runs, how long, and its bytes; found once."""
        found = self._messages.get(id(step))
        if found is None:
            if isinstance(step, Collective):
                places = self._notebook.on_groups(step.mesh, step.axes)
                num_bytes = np.full(places.num_members, step.num_bytes, np.int64)
                duration = self._pricing.collective(step.kind, step.num_bytes, places)
            else:
                places, num_bytes = self._transfer(step)
                duration = self._pricing.move(num_bytes, places)
            found = self._messages[id(step)] = _Message(step, places, duration, num_bytes)
        return found

    def _transfer(self, step: Move | Exchange) -> tuple[Places, np.ndarray]:
        if isinstance(step, Exchange):
            return Places(step.sources[:, None], step.targets), step.num_bytes
        places = self._notebook.on_twins(step.source, step.target)
        return places, np.full(places.num_members, step.num_bytes, np.int64)


def _cost(plan: tuple[Step, ...]) -> int:
    return sum(
        int(step.num_bytes.sum()) if isinstance(step, Exchange) else step.num_bytes for step in plan
    )
