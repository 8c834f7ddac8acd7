"""Cuts: what a config makes of an operator's tensors, found once for all that repeat it."""

from __future__ import annotations

from collections.abc import Callable

from flexsim.operator_graph.keys import Key
from flexsim.operator_graph.records import Operator, Step, Use
from flexsim.strategy.config import ParallelConfig
from flexsim.strategy.layout import Layout, read_layout, write_layout
from flexsim.strategy.strategy import Strategy
from flexsim.task_graph.gradients import widest

Writes = tuple[tuple[int, Layout], ...]
"""For every tensor that a step writes, the number of the first map that does, and a layout."""

Choice = Callable[[list[Layout]], Layout]


class Cut:
    """Operators of one index space under one config, with the layouts of what they touch.

    Layouts depend on the shape of a mesh, not on its devices: ``original`` is the first cut
    that differs from this one in the devices only; it finds the layouts for all.
    """

    def __init__(self, config: ParallelConfig, original: Cut | None = None) -> None:
        """Remember nothing yet."""
        self.config = config
        self.original = self if original is None else original
        self._reads: dict[Key, Layout] = {}
        self._writes: dict[Key, Writes] = {}
        self._widest: dict[Key, Writes] = {}
        self._here: dict[Layout, Layout] = {}

    def read(self, operator: Operator, use: Use) -> Layout:
        """Return the layout in which ``operator`` reads ``use``."""
        found = self._reads.get(use.key)
        if found is None:
            found = self._reads[use.key] = self._find_read(operator, use)
        return found

    def writes(self, operator: Operator, step: Step) -> Writes:
        """Return how each tensor lies that ``step`` writes; what a map leaves partial, is so."""
        found = self._writes.get(step.key)
        if found is None:
            found = self._writes[step.key] = self._find_writes(operator, step, _with_all_sums)
        return found

    def widest_writes(self, operator: Operator, step: Step) -> Writes:
        """Return the same with the most partial layout that a map leaves each tensor in."""
        found = self._widest.get(step.key)
        if found is None:
            found = self._widest[step.key] = self._find_writes(operator, step, widest)
        return found

    def _find_read(self, operator: Operator, use: Use) -> Layout:
        if self.original is self:
            return read_layout(operator, self.config, use)
        return self._on_my_mesh(self.original.read(operator, use))

    def _find_writes(self, operator: Operator, step: Step, choose: Choice) -> Writes:
        if self.original is not self:
            same = self.original
            kept = same.writes if choose is _with_all_sums else same.widest_writes
            return tuple((i, self._on_my_mesh(layout)) for i, layout in kept(operator, step))
        layouts: dict[str, list[Layout]] = {}
        for m in step.maps:
            layout = write_layout(operator, self.config, m)
            layouts.setdefault(m.write.tensor, []).append(layout)
        tensors = [m.write.tensor for m in step.maps]
        return tuple((tensors.index(name), choose(found)) for name, found in layouts.items())

    def _on_my_mesh(self, layout: Layout) -> Layout:
        if layout not in self._here:
            self._here[layout] = layout.on(self.config.mesh)
        return self._here[layout]


def _with_all_sums(layouts: list[Layout]) -> Layout:
    return layouts[0].with_partial(p for layout in layouts for p in layout.partial)


class Cuts:
    """The cuts of a strategy."""

    def __init__(self, strategy: Strategy) -> None:
        """Find each cut when it is first asked for."""
        self._configs = strategy.configs
        self._of_operator: dict[str, Cut] = {}
        self._cuts: dict[tuple[Key, ParallelConfig], Cut] = {}
        self._originals: dict[tuple[object, ...], Cut] = {}

    def of(self, operator: Operator) -> Cut:
        """Return the cut of an operator."""
        found = self._of_operator.get(operator.name)
        if found is None:
            found = self._of_operator[operator.name] = self._cut(operator)
        return found

    def forget(self, operator: Operator) -> None:
        """Find the cut of an operator anew, whose config is another one now."""
        self._of_operator.pop(operator.name, None)

    def _cut(self, operator: Operator) -> Cut:
        config = self._configs[operator.name]
        key = operator.key, config
        if key not in self._cuts:
            alike = (operator.key, config.splits, config.mesh.names, config.mesh.shape)
            cut = self._cuts[key] = Cut(config, self._originals.get(alike))
            self._originals.setdefault(alike, cut)
        return self._cuts[key]
