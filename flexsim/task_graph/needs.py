"""The layouts in which a forward reads a tensor, and the most replicated one among them."""

from __future__ import annotations

from functools import cached_property

from flexsim.operator_graph.graph import OperatorGraph
from flexsim.operator_graph.records import Operator, Use
from flexsim.strategy.layout import Layout
from flexsim.strategy.transition import TensorSize, transition
from flexsim.task_graph.cuts import Cuts


class Needs:
    """What the readers of every tensor ask for."""

    def __init__(self, graph: OperatorGraph, cuts: Cuts) -> None:
        """Find the layouts of each tensor when they are first asked for."""
        self._graph = graph
        self._cuts = cuts
        self._layouts: dict[str, tuple[Layout, ...]] = {}
        self._widest: dict[tuple[object, ...], Layout] = {}

    def widest(self, tensor: str, target: Layout, size: TensorSize) -> Layout:
        """Return the most replicated layout needed from which ``target`` follows for free."""
        needed = self._layouts_of(tensor)
        if target.partial or (len(needed) == 1 and needed[0] is target):
            return target
        key = (needed, target, size.shape)
        if key not in self._widest:
            self._widest[key] = _widest(needed, target, size)
        return self._widest[key]

    def _layouts_of(self, tensor: str) -> tuple[Layout, ...]:
        """Return the distinct layouts that readers of ``tensor`` need, in program order."""
        found = self._layouts.get(tensor)
        if found is None:
            uses = self._uses.get(tensor, ())
            layouts = [self._cuts.of(op).read(op, use) for op, use in uses]
            found = self._layouts[tensor] = tuple(dict.fromkeys(layouts))
        return found

    @cached_property
    def _uses(self) -> dict[str, list[tuple[Operator, Use]]]:
        """Who reads each tensor, but the operator that writes it."""
        found: dict[str, list[tuple[Operator, Use]]] = {}
        weights = self._graph.weights
        for operator in self._graph.operators:
            for step in operator.forward:
                for use in step.reads:
                    if use.tensor not in weights and use.tensor in operator.inputs:
                        found.setdefault(use.tensor, []).append((operator, use))
        return found


def _widest(needed: tuple[Layout, ...], target: Layout, size: TensorSize) -> Layout:
    wider = [
        n
        for n in needed
        if n.mesh == target.mesh and not n.bounds and not transition(n, target, size)
    ]
    return max([target, *wider], key=lambda n: n.local_elements(size.shape))
