"""The layouts in which a forward reads a tensor, and the most replicated one among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flexsim.operator_graph.records import Operator, Use
from flexsim.strategy.layout import Layout
from flexsim.strategy.transition import TensorSize
from flexsim.task_graph.cuts import Cuts
from flexsim.task_graph.transitions import Transitions


class Needs:
    """What the readers of every tensor ask for."""

    def __init__(
        self,
        uses: Mapping[str, Sequence[tuple[Operator, Use]]],
        cuts: Cuts,
        transitions: Transitions,
    ) -> None:
        """Find the layouts of each tensor when they are first asked for."""
        self._uses = uses
        self._cuts = cuts
        self._transitions = transitions
        self._layouts: dict[str, tuple[Layout, ...]] = {}
        self._widest: dict[tuple[object, ...], Layout] = {}

    def widest(self, tensor: str, target: Layout, size: TensorSize) -> Layout:
        """Return the most replicated layout needed from which ``target`` follows for free."""
        needed = self._layouts_of(tensor)
        if target.partial or (len(needed) == 1 and needed[0] is target):
            return target
        key = (needed, target, size.shape, size.unordered)
        if key not in self._widest:
            self._widest[key] = self._find_widest(needed, target, size)
        return self._widest[key]

    def forget(self, tensor: str) -> None:
        """Find anew what is needed of a tensor whose readers are cut differently now."""
        self._layouts.pop(tensor, None)

    def _layouts_of(self, tensor: str) -> tuple[Layout, ...]:
        """Return the distinct layouts that readers of ``tensor`` need, in program order."""
        found = self._layouts.get(tensor)
        if found is None:
            uses = self._uses.get(tensor, ())
            layouts = [self._cuts.of(op).read(op, use) for op, use in uses]
            found = self._layouts[tensor] = tuple(dict.fromkeys(layouts))
        return found

    def _find_widest(self, needed: tuple[Layout, ...], target: Layout, size: TensorSize) -> Layout:
        here = [n for n in needed if n.mesh == target.mesh and not n.bounds]
        wider = [n for n in here if not self._transitions.steps(n, target, size)]
        return max([target, *wider], key=lambda n: n.local_elements(size.shape))
