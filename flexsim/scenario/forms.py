"""Forms of scenarios: all but batch and micro-batch, checked once for all that differ in these.

Tables of scenarios get numbers, equal ones equal numbers, so that what was made before is found
by a few small numbers; a table that many scenarios share is looked at once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from itertools import count
from typing import Any

from flexsim.kept import Kept
from flexsim.scenario.checks import Sizes
from flexsim.scenario.prepare import Setting, sizes_of, sizes_of_batch
from flexsim.scenario.quantities import Table
from flexsim.scenario.schema import Scenario

_BATCHES = frozenset({"global_batch", "micro_batch"})
_MOST_TABLES = 4_096
_MOST_FORMS = 4_096


@dataclass(frozen=True, eq=False)
class Form:
    """All of a scenario but its batch and its micro-batch."""

    number: int
    setting: Setting
    sizes: Sizes
    """With the batch of one scenario."""


class Numbers:
    """Numbers that stand for tables; ``but`` names the keys that make no difference."""

    def __init__(self, but: frozenset[str] = frozenset()) -> None:
        self._but = set(but)
        self._next = count()
        self._forget()

    def _forget(self) -> None:
        """Forget all tables; their numbers are not given again."""
        self._of_object: dict[int, tuple[Table, int]] = {}
        self._of_content: dict[Hashable, int] = {}

    def of(self, table: Table) -> int:
        """Return the number of a table."""
        found = self._of_object.get(id(table))
        return self._added(table) if found is None else found[1]

    def _added(self, table: Table) -> int:
        if len(self._of_object) >= _MOST_TABLES:
            self._forget()
        content = table.model_dump_json(exclude=self._but)
        key = type(table), content, frozenset(table.model_fields_set)
        if key not in self._of_content:
            self._of_content[key] = next(self._next)
        number = self._of_content[key]
        self._of_object[id(table)] = table, number  # kept, so that no other gets its place
        return number


class Forms:
    """Finds the form of a scenario, made now or before."""

    def __init__(self, setting: Callable[[Scenario], Setting]) -> None:
        """Take what returns the setting of a scenario."""
        self._setting = setting
        self._tables, self._training = Numbers(), Numbers(_BATCHES)
        self._forms = Kept(_MOST_FORMS)
        self._next = count()

    def of(self, scenario: Scenario) -> tuple[Form, Sizes]:
        """Return the form of a scenario, and its sizes with its batch.

        Raise the :class:`FlexSimError` that preparing it in full would raise.
        """
        form = self._forms.once(self._key(scenario), lambda: self._made(scenario))
        return form, sizes_of_batch(scenario, form.setting, form.sizes)

    def _key(self, scenario: Scenario) -> tuple[Any, ...]:
        number = self._tables.of
        return (
            scenario.source,
            number(scenario.model),
            number(scenario.cluster),
            number(scenario.strategy),
            number(scenario.simulation),
            self._training.of(scenario.training),
        )

    def _made(self, scenario: Scenario) -> Form:
        setting = self._setting(scenario)
        return Form(next(self._next), setting, sizes_of(scenario, setting))
