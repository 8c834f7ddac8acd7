"""Bringing a tensor into the layout that a reader needs, once a pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flexsim.strategy.layout import Layout
from flexsim.strategy.transition import Collective, Exchange, Move, Step, TensorSize, transition
from flexsim.task_graph.kinds import TASK_CODE
from flexsim.task_graph.places import Places
from flexsim.task_graph.pricing import Pricing
from flexsim.task_graph.rows import Have, Notebook, Row, Store, kind_of_axes, unique


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads: an operator's index, its global stage and the action that it belongs to.

    ``gate`` holds back communication that has no other reason to wait.
    """

    operator: int
    stage: int
    action: int
    gate: tuple[int, ...] = ()


class Carrier:
    """Writes the communication rows that take tensors from layout to layout."""

    def __init__(self, notebook: Notebook, pricing: Pricing, scatter_gather: bool) -> None:
        """Write into ``notebook`` with durations from ``pricing``."""
        self._notebook = notebook
        self._pricing = pricing
        self._scatter_gather = scatter_gather

    def bring(
        self, store: Store, tensor: tuple[str, TensorSize], target: Layout, reader: Reader
    ) -> tuple[int, ...]:
        """Return the rows after which ``tensor`` is at hand as ``target`` for ``reader``.

        The cheapest layout in ``store`` is taken from; what is made on the way is kept there.
        """
        name, size = tensor
        haves = store[name]
        for have in haves:
            if have.layout == target:
                return have.rows
        plans = [transition(h.layout, target, size, self._scatter_gather) for h in haves]
        best = min(range(len(plans)), key=lambda i: (_cost(plans[i]), i))
        return self._carry(haves, haves[best], plans[best], target, reader)

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
        if isinstance(step, Collective):
            places = self._notebook.on_groups(step.mesh, step.axes)
            duration = self._pricing.collective(step.kind, step.num_bytes, places)
            num_bytes = np.full(places.num_members, step.num_bytes, np.int64)
            kind = kind_of_axes(step.axes)
        else:
            if isinstance(step, Exchange) and not len(step.sources):
                return needs
            places, num_bytes = self._transfer(step)
            duration = self._pricing.move(num_bytes, places)
            kind = TASK_CODE["pipeline" if have.stage != reader.stage else "reshard"]
        row = Row(
            stage, reader.action, kind, reader.operator, places, duration, num_bytes, needs, False
        )
        written = self._notebook.write(row)
        kept = needs if isinstance(step, Exchange) else ()
        return unique((*kept, written))

    def _transfer(self, step: Move | Exchange) -> tuple[Places, np.ndarray]:
        if isinstance(step, Exchange):
            return Places(step.sources[:, None], step.targets), step.num_bytes
        places = self._notebook.on_twins(step.source, step.target)
        return places, np.full(places.num_members, step.num_bytes, np.int64)


def _cost(plan: tuple[Step, ...]) -> int:
    return sum(
        int(step.num_bytes.sum()) if isinstance(step, Exchange) else step.num_bytes for step in plan
    )
