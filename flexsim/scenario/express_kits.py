"""Kits for the express way: each made once for a seed, its layers and a set of prices.

Seeds whose tasks wait for and hold the same have drafts and patterns in common, whatever their
tasks last; questions that several seeds ask are answered once.
"""

from __future__ import annotations

from collections.abc import Hashable
from itertools import count

import numpy as np

from flexsim.engine.contraction_kit import Draft, Kit, Pattern
from flexsim.engine.contraction_store import Store
from flexsim.kept import Kept
from flexsim.scenario.express_task import Task
from flexsim.task_graph.columns import Int64
from flexsim.task_graph.enquiry import Known
from flexsim.task_graph.merged_parts import names_on_several
from flexsim.task_graph.short import Short, codes_of, durations_of, resources_in_rank
from flexsim.task_graph.short_host import with_host_ns
from flexsim.task_graph.short_pieces import anchors_of, shared_of, structure_of
from flexsim.task_graph.uniform import Seed

_ROOM = 1 << 22
"""Numbers in the store for tables."""
_MOST_KITS, _MOST_SEEDS, _MOST_DRAFTS = 100_000, 600, 64
_MOST_KNOWN = 100_000


class Kits:
    """Makes kits of short pipelines and remembers them, their patterns and what both need."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._numbers, self._next = Kept(_MOST_SEEDS), count()
        self._structures, self._drafts = Kept(_MOST_SEEDS), Kept(_MOST_DRAFTS)
        self._answers, self._codes = Kept(_MOST_SEEDS), Kept(_MOST_SEEDS)
        self._known: dict[Hashable, Known] = {}
        self.forget()

    def forget(self) -> None:
        """Forget all that is in the store."""
        self.store, self._patterns = Store(_ROOM), Kept(_MOST_KITS)
        self._kits = Kept(_MOST_KITS)

    def forget_entries(self) -> None:
        """Forget what the store's entries hold, kits among them; patterns stay."""
        self.store.forget_entries()
        self._kits = Kept(_MOST_KITS)

    def kit(self, task: Task, plain: Seed, shape: tuple[int, bool], prices: Int64) -> Kit | str:
        """Return the kit of a short pipeline, or why it has none.

        ``shape`` is its number of stages, and whether it goes round a pair of ranks; ``prices``
        are those of a seed's messages.
        """
        key = task.kind, task.times, task.layers, shape, prices.tobytes()
        return self._kits.once(key, lambda: self._made_kit(task, plain, shape, prices))

    def _made_kit(
        self, task: Task, plain: Seed, shape: tuple[int, bool], prices: Int64
    ) -> Kit | str:
        duration_ns = durations_of(
            self._codes_once(task, plain, shape[0]), self._kernels_ns(task, plain), prices
        )
        if duration_ns.min(initial=1) < 1:
            return "a message has no price"
        duration_ns = with_host_ns(plain, task.layers, shape[0], duration_ns)
        key = "pattern", task.kind, task.layers, shape
        pattern = self._patterns.once(
            key, lambda: self._made_pattern(task, plain, shape, duration_ns)
        )
        return pattern if isinstance(pattern, str) else pattern.kit(duration_ns, self.store)

    def _codes_once(self, task: Task, plain: Seed, num_stages: int) -> Int64:
        key = task.kind, task.layers, num_stages
        return self._codes.once(key, lambda: codes_of(plain, task.layers, num_stages))

    def _kernels_ns(self, task: Task, plain: Seed) -> Int64:
        key = task.kind, task.times
        return self._answers.once(
            key, lambda: plain.answers(task.times, self._known_of(task.model)).duration_ns
        )

    def _known_of(self, model: Hashable) -> Known:
        """Return what is known of a model's questions; all is forgotten where it is too much."""
        known = self._known.setdefault(model, {})
        if sum(map(len, self._known.values())) > _MOST_KNOWN:
            self._known = {model: (known := {})}
        return known

    def _made_pattern(
        self, task: Task, plain: Seed, shape: tuple[int, bool], duration_ns: Int64
    ) -> Pattern | str:
        number, names = self._structures.once(task.kind, lambda: self._structure(plain))
        key, short = (number, task.layers, shape), Short(plain, task.layers, shape[0])
        draft = self._drafts.once(key, lambda: _draft(short, shape[1], names))
        bounds = draft.parting.bounds(duration_ns)
        return self._patterns.once(
            (key, bounds.tobytes()), lambda: draft.pattern(bounds, self.store)
        )

    def _structure(self, plain: Seed) -> tuple[int, frozenset[str]]:
        """Return the number of a seed's structure, and the weights that several stages hold."""
        names = names_on_several(plain)
        key = structure_of(plain, names)
        return self._numbers.once(key, lambda: next(self._next)), names


def _draft(short: Short, is_pair: bool, names: frozenset[str]) -> Draft:
    templates, num_stages = short.templates(), short.site.num_stages
    in_rank = resources_in_rank(templates.resource_table, is_pair)
    stages = np.array([short.like(stage) for stage in range(num_stages)])
    shared = shared_of(short, names) if num_stages > 1 else []
    at = [(0 if stage == 0 else num_stages - 1, rows) for stage, rows in shared]
    blocking = short.seed.strategy.blocking_transfers
    return Draft.of(templates, in_rank, (anchors_of(short, stages), at), blocking)
