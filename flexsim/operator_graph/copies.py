"""Copies of a block's operators under other names.

A copy shares with its original everything that does not depend on names. The originals are
taken apart once, into parts that refer to each other by number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, TypeVar

from flexsim.operator_graph.records import Map, Operator, Step, Use

_NAMELESS: dict[type, tuple[str, ...]] = {
    Use: ("dims", "windows", "placing", "key"),
    Map: ("dims", "summed_dims", "signature"),
    Step: ("signature", "key"),
    Operator: ("sizes", "leaders", "key", "flops_by_pass"),
}
"""What is derived from a record without a look at names."""

Record = TypeVar("Record", Use, Map, Step, Operator)
Shared = dict[str, Any]
Numbers = tuple[int, ...]


class _MapPart(NamedTuple):
    shared: Shared
    reads: Numbers
    addends: Numbers
    write: int


class _StepPart(NamedTuple):
    shared: Shared
    label: str
    tensor: str
    maps: slice
    reads: Numbers
    writes: Numbers


@dataclass(frozen=True)
class _OperatorPart:
    shared: Shared
    suffix: str
    forward: slice
    backward: slice
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    passed_on: tuple[str, ...]
    upstream: Numbers


class Copier:
    """Copies ``operators``, whose names begin with ``block``, as often as wanted."""

    def __init__(self, operators: Sequence[Operator], block: str) -> None:
        """Take the operators apart."""
        self._numbers: dict[Use, int] = {}
        self._uses: list[tuple[Shared, str]] = []
        self._maps: list[_MapPart] = []
        self._steps: list[_StepPart] = []
        self._operators = [self._operator(operator, len(block)) for operator in operators]

    def copies(self, names: Mapping[str, str], block: str) -> list[Operator]:
        """Return the operators in ``block``; tensors not in ``names`` keep their name."""
        of = names.get
        uses = [_record(Use, shared, {"tensor": of(name, name)}) for shared, name in self._uses]
        maps = [_map(part, uses) for part in self._maps]
        steps = [_step(part, uses, maps, names) for part in self._steps]
        return [_copy(part, steps, uses, names, block) for part in self._operators]

    def _operator(self, operator: Operator, length: int) -> _OperatorPart:
        return _OperatorPart(
            _shared(operator),
            operator.name[length:],
            self._all_steps(operator.forward),
            self._all_steps(operator.backward),
            operator.inputs,
            operator.outputs,
            tuple(operator.passed_on),
            self._number_all(operator.upstream),
        )

    def _all_steps(self, steps: Iterable[Step]) -> slice:
        start = len(self._steps)
        for step in steps:
            self._steps.append(self._step(step))
        return slice(start, len(self._steps))

    def _step(self, step: Step) -> _StepPart:
        start = len(self._maps)
        for m in step.maps:
            addends, write = self._number_all(m.addends), self._number(m.write)
            self._maps.append(_MapPart(_shared(m), self._number_all(m.reads), addends, write))
        label, _, tensor = step.name.partition(" ")
        maps = slice(start, len(self._maps))
        reads, writes = self._number_all(step.reads), self._number_all(step.writes)
        return _StepPart(_shared(step), label, tensor, maps, reads, writes)

    def _number_all(self, uses: Iterable[Use]) -> Numbers:
        return tuple(self._number(use) for use in uses)

    def _number(self, use: Use) -> int:
        """Return the number of a use, the same for equal ones."""
        if use not in self._numbers:
            self._numbers[use] = len(self._uses)
            self._uses.append((_shared(use), use.tensor))
        return self._numbers[use]


def _shared(record: Use | Map | Step | Operator) -> Shared:
    names = (*(field.name for field in fields(record)), *_NAMELESS[type(record)])
    return {name: getattr(record, name) for name in names}


def _record(kind: type[Record], shared: Shared, own: Shared) -> Record:
    """Return a record with the attributes ``shared``, but those in ``own`` instead."""
    record = object.__new__(kind)
    attributes = record.__dict__
    attributes |= shared
    attributes |= own
    return record


def _map(part: _MapPart, uses: list[Use]) -> Map:
    reads = tuple([uses[i] for i in part.reads])
    addends = tuple([uses[i] for i in part.addends])
    write = uses[part.write]
    own = {"reads": reads, "addends": addends, "write": write, "uses": (*reads, *addends, write)}
    return _record(Map, part.shared, own)


def _step(part: _StepPart, uses: list[Use], maps: list[Map], names: Mapping[str, str]) -> Step:
    own: Shared = {
        "maps": tuple(maps[part.maps]),
        "reads": tuple([uses[i] for i in part.reads]),
        "writes": tuple([uses[i] for i in part.writes]),
    }
    if part.tensor:
        own["name"] = f"{part.label} {names.get(part.tensor, part.tensor)}"
    return _record(Step, part.shared, own)


def _copy(
    part: _OperatorPart, steps: list[Step], uses: list[Use], names: Mapping[str, str], block: str
) -> Operator:
    own = {
        "name": block + part.suffix,
        "block": block,
        "forward": tuple(steps[part.forward]),
        "backward": tuple(steps[part.backward]),
        "inputs": tuple([names.get(name, name) for name in part.inputs]),
        "outputs": tuple([names.get(name, name) for name in part.outputs]),
        "passed_on": frozenset([names.get(name, name) for name in part.passed_on]),
        "upstream": tuple([uses[i] for i in part.upstream]),
    }
    return _record(Operator, part.shared, own)
