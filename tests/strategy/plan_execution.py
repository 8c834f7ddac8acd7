"""Carry out plans of communication element by element, on devices that hold contributions.

A state maps each device to the elements that it holds; an element to the set of contributions
that its value sums: the coordinates, along the partial axes, of the devices that made them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import prod

from flexsim.strategy import Layout, Mesh
from flexsim.strategy.transition import Collective, Exchange, Move, Step

WIDTH = 2
"""Bytes an element."""

Element = tuple[int, ...]
Contributions = frozenset[tuple[int, ...]]
State = dict[int, dict[Element, Contributions]]
Coordinates = dict[str, int]
Boxes = dict[int, list[Element]]
Orders = Sequence[tuple[str, ...]]


def coordinates(mesh: Mesh) -> dict[int, Coordinates]:
    """Return the mesh coordinates of every device."""
    places = itertools.product(*(range(n) for n in mesh.shape))
    pairs = zip(mesh.flat.tolist(), places, strict=True)
    return {device: dict(zip(mesh.names, place, strict=True)) for device, place in pairs}


def digits(size: int, mesh: Mesh, axes: Sequence[str]) -> list[Coordinates]:
    """Return, for every index of a tensor axis, where it lies when cut by ``axes`` in turn."""
    counts = [mesh.axis_size(name) for name in axes]
    found: list[Coordinates] = []
    for part, place in enumerate(itertools.product(*map(range, counts))):
        low, high = (k * size // prod(counts) for k in (part, part + 1))
        found += [dict(zip(axes, place, strict=True))] * (high - low)
    return found


def pieces(layout: Layout, shape: Sequence[int], orders: Orders = ()) -> Boxes:
    """Return the elements that each device has under ``layout``.

    ``orders`` gives the whole order in which each tensor axis is cut where ``layout`` has only
    some of its mesh axes; by default a device has one box.
    """
    full = [
        (*order, *(n for n in axes if n not in order)) if {*order} & {*axes} else axes
        for axes, order in itertools.zip_longest(layout.axes, orders, fillvalue=())
    ]
    lines = [digits(n, layout.mesh, order) for n, order in zip(shape, full, strict=True)]
    bounds = layout.bounds or (None,) * len(shape)
    found: Boxes = {}
    for device, here in coordinates(layout.mesh).items():
        kept = [
            list(range(*wanted[part_of(layout.mesh, axes, here)]))
            if wanted
            else [i for i, at in enumerate(line) if all(at[n] == here[n] for n in axes)]
            for line, axes, wanted in zip(lines, layout.axes, bounds, strict=True)
        ]
        found[device] = list(itertools.product(*kept))
    return found


def part_of(mesh: Mesh, axes: Sequence[str], here: Coordinates) -> int:
    """Return the part along ``axes``, the first major, of the device at ``here``."""
    part = 0
    for name in axes:
        part = part * mesh.axis_size(name) + here[name]
    return part


def initial_state(source: Layout, shape: Sequence[int]) -> State:
    """Return what devices hold at first: each its own contribution to its own box."""
    partial = [name for name, _ in source.partial]
    where = coordinates(source.mesh)
    return {
        device: dict.fromkeys(box, frozenset([tuple(where[device][n] for n in partial)]))
        for device, box in pieces(source, shape).items()
    }


def expected_state(source: Layout, target: Layout, shape: Sequence[int]) -> State:
    """Return what devices must hold in the end.

    Every contribution once, or those of the device's own coordinates where ``target`` is partial.
    """
    partial = [name for name, _ in source.partial]
    everything = list(itertools.product(*(range(source.mesh.axis_size(n)) for n in partial)))
    where = coordinates(target.mesh)
    state: State = {}
    for device, box in pieces(target, shape).items():
        mine = frozenset(
            one
            for one in everything
            if all(
                where[device][n] == at
                for n, at in zip(partial, one, strict=True)
                if n in target.partial_axes
            )
        )
        state[device] = dict.fromkeys(box, mine)
    return state


class Execution:
    """Runs a plan; counts what devices receive and the largest message, step by step.

    Where boxes overlap at first, an element may come from any device that has it.
    """

    def __init__(self, source: Layout, target: Layout, shape: Sequence[int]) -> None:
        self.shape = tuple(shape)
        self.overlaps = bool(source.bounds)
        self.state = initial_state(source, shape)
        self.orders = [max(pair, key=len) for pair in zip(source.axes, target.axes, strict=True)]
        self.received: list[dict[int, float]] = []
        self.messages: list[int] = []

    def run(self, step: Step) -> None:
        """Carry out one step; what a device holds outside its new piece is dropped."""
        orders = () if step.lasting else self.orders
        wanted = pieces(step.result, self.shape, orders)
        if isinstance(step, Collective):
            self.state = self._collective(step, wanted)
        elif isinstance(step, Move):
            self.state = self._move(step, wanted)
        else:
            self.state = self._exchange(step, wanted)

    def drop_to(self, target: Layout) -> None:
        """Drop what is outside the target's boxes: a slice, which costs nothing."""
        boxes = pieces(target, self.shape)
        self.state = {d: {e: self.state[d][e] for e in box} for d, box in boxes.items()}

    def _collective(self, step: Collective, wanted: Boxes) -> State:
        reduces = step.kind in ("all-reduce", "reduce-scatter")
        combine = self._summed if reduces else self._fetched
        found: State = {}
        received: dict[int, float] = {}
        message = 0
        for group in step.mesh.groups(step.axes).tolist():
            for device in group:
                found[device] = {e: combine(e, group) for e in wanted[device]}
                own = sum(e in self.state[device] for e in wanted[device])
                parts = len(group) if step.kind == "reduce-scatter" else 1
                ring = {"reduce-scatter": len(group) - 1, "all-reduce": 2 - 2 / len(group)}
                missing = len(wanted[device]) - own
                received[device] = ring[step.kind] * own if reduces else missing
                message = max(message, parts * len(wanted[device]))
        self.received.append(received)
        self.messages.append(message)
        return found

    def _summed(self, element: Element, group: list[int]) -> Contributions:
        """Add what all members hold; each contribution may come once only."""
        parts = [self.state[member][element] for member in group]
        total: Contributions = frozenset().union(*parts)
        assert len(total) == sum(map(len, parts)), "a contribution would count twice"
        return total

    def _fetched(self, element: Element, group: list[int]) -> Contributions:
        """Take an element from any member that holds it; all copies must be alike."""
        copies = {self.state[m][element] for m in group if element in self.state[m]}
        assert len(copies) == 1, f"{len(copies)} different values of {element} in {group}"
        return copies.pop()

    def _move(self, step: Move, wanted: Boxes) -> State:
        pairs = zip(step.source.flat.tolist(), step.target.flat.tolist(), strict=True)
        self.received.append({device: len(box) for device, box in wanted.items()})
        self.messages.append(max(map(len, wanted.values())))
        return {t: {e: self.state[s][e] for e in wanted[t]} for s, t in pairs}

    def _exchange(self, step: Exchange, wanted: Boxes) -> State:
        """Check who sends what: each missing source box comes whole from one of its holders."""
        rows = (step.sources.tolist(), step.targets.tolist(), step.num_bytes.tolist())
        found: State = {}
        received: dict[int, float] = {}
        for device, box in wanted.items():
            own = self.state.get(device, {})
            found[device] = {e: own[e] for e in box if e in own}
            missing = [e for e in box if e not in own]
            received[device] = len(missing)
            for sender, target, count in zip(*rows, strict=True):
                if target == device:
                    arrived = {e: self.state[sender][e] for e in missing if e in self.state[sender]}
                    assert len(arrived) * WIDTH >= count > 0
                    if not self.overlaps:
                        assert len(arrived) * WIDTH == count
                        assert not found[device].keys() & arrived.keys(), "arrives twice"
                    found[device] |= arrived
                    received[device] -= count / WIDTH
            assert found[device].keys() == set(box), "something does not arrive"
            assert received[device] == 0, "other bytes than those of what is missing"
            received[device] = len(missing)
        self.received.append(received)
        self.messages.append(0)
        return found


def received_by_formula(step: Step, device: int) -> float:
    """Return the bytes that a device takes in by a step's message size, rings assumed."""
    if isinstance(step, Collective):
        size = step.mesh.degree(step.axes)
        return (2 if step.kind == "all-reduce" else 1) * step.num_bytes * (size - 1) / size
    if isinstance(step, Move):
        return step.num_bytes
    return float(step.num_bytes[step.targets == device].sum())
