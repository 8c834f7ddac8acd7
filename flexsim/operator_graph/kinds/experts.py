"""Mixtures of experts: tokens chosen for experts, sent there, and put together again.

What is sent is a tensor ``z[e,b,slot,h]``: for every expert and sequence as many slots as the
capacity asks for, k x capacity factor / experts for each position. Slots are cut wherever the
positions of their sequence are, so that a device fills the slots of its own tokens: no sum
over devices is needed, and where experts read ``z`` cut by ``e`` an all-to-all follows. Which token
lies where is of no matter to experts, so that ``z`` is unordered: whatever the order of the mesh
axes that cut samples, it is one all-to-all among the devices that share experts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from flexsim.operator_graph.axes import Axis
from flexsim.operator_graph.builder import GraphBuilder
from flexsim.operator_graph.kinds.linear import axis_sizes
from flexsim.operator_graph.records import Dim, Map, Operator, Step, Use, gradient

HIDDEN: tuple[Axis, ...] = (("b",), ("s",), ("h",))
CHOSEN: tuple[Axis, ...] = (("b",), ("s",), ("k",))
SENT: tuple[Axis, ...] = (("e",), ("b",), ("slot",), ("h",))
SLOTS: tuple[Axis, ...] = (("e",), ("b",), ("slot",))
ROUTES: tuple[Axis, ...] = (("b",), ("s",), ("route",))


@dataclass(frozen=True)
class Routing:
    """Sizes of a mixture: how many experts, how many a token, and how full they may get."""

    experts: int
    chosen: int
    capacity_factor: float = 1.0

    def num_slots(self, positions: int) -> int:
        """Return the slots that an expert has for a sequence of so many positions."""
        share = Fraction(str(self.capacity_factor)) * self.chosen * positions / self.experts
        return ceil(share)


def route(builder: GraphBuilder, name: str, logits: str, routing: Routing) -> tuple[str, str]:
    """Add softmax and top-k of ``logits[b,s,route]``; return weights and numbers ``[b,s,k]``."""
    full, (batch, positions, routes) = builder.named(name), builder.shape(logits)
    sizes = {"b": batch, "s": positions, "route": routes, "k": routing.chosen}
    shape = axis_sizes(CHOSEN, sizes)
    gates = Use(builder.tensor(f"{full}.gates", shape, 4), CHOSEN)
    numbers = Use(builder.tensor(f"{full}.numbers", shape, 4), CHOSEN)
    read = Use(logits, ROUTES)
    back = Map((Use(gradient(gates.tensor), CHOSEN), read, numbers), Use(gradient(logits), ROUTES))
    builder.add(
        Operator(
            full,
            "route",
            _dims(sizes, whole=("route", "k")),
            (Step("forward", "F", (Map((read,), gates), Map((read,), numbers)), "softmax"),),
            (Step("input", "I", (back,), "softmax"),),
        )
    )
    return gates.tensor, numbers.tensor


def dispatch(builder: GraphBuilder, name: str, x: str, numbers: str, routing: Routing) -> str:
    """Add ``z[e,b,slot,h]``: the tokens of ``x[b,s,h]`` in the slots of their experts."""
    full, sizes = builder.named(name), _sizes(builder, x, routing)
    chosen = Use(numbers, CHOSEN)
    z = builder.unordered(builder.tensor(f"{full}.out", axis_sizes(SENT, sizes)))
    forward = Map((Use(x, HIDDEN), chosen), Use(z, SENT, local_over=("s",)))
    into = Use(gradient(x), HIDDEN, local_over=("slot",))
    back = Map((Use(gradient(z), SENT), chosen), into)
    _add_transport(builder, full, "dispatch", sizes, ((forward,), (back,)))
    return z


def combine(builder: GraphBuilder, name: str, z: str, gates: str, routing: Routing) -> str:
    """Add ``y[b,s,h]``: what experts made of each token, weighted by ``gates[b,s,k]``."""
    full = builder.named(name)
    rows, width = builder.shape(gates)[:2], builder.shape(z)[3]
    y = builder.tensor(f"{full}.out", (*rows, width))
    sizes = _sizes(builder, y, routing)
    sent, weights = Use(builder.unordered(z), SENT), Use(gates, CHOSEN)
    forward = Map((sent, weights), Use(y, HIDDEN, local_over=("slot",)))
    upstream = Use(gradient(y), HIDDEN)
    back = (
        Map((upstream, weights), Use(gradient(z), SENT, local_over=("s",))),
        Map((upstream, sent), Use(gradient(gates), CHOSEN, local_over=("slot",))),
    )
    _add_transport(builder, full, "combine", sizes, ((forward,), back))
    return y


def bring_back(builder: GraphBuilder, name: str, z: str, numbers: str, routing: Routing) -> str:
    """Add ``y[b,s,h]``: the sum of what experts made of each token and weighted themselves.

    Nothing is kept but ``numbers[b,s,k]``, which say where each token went.
    """
    full = builder.named(name)
    rows, width = builder.shape(numbers)[:2], builder.shape(z)[3]
    y = builder.tensor(f"{full}.out", (*rows, width))
    sizes = _sizes(builder, y, routing)
    sent, chosen = Use(builder.unordered(z), SENT), Use(numbers, CHOSEN)
    forward = Map((sent, chosen), Use(y, HIDDEN, local_over=("slot",)))
    upstream = Use(gradient(y), HIDDEN)
    back = Map((upstream, chosen), Use(gradient(z), SENT, local_over=("s",)))
    _add_transport(builder, full, "combine", sizes, ((forward,), (back,)))
    return y


def send_gates(builder: GraphBuilder, name: str, gates: str, numbers: str, routing: Routing) -> str:
    """Add ``g[e,b,slot]``: for every slot the weight of the token that lies there."""
    full, (batch, positions, chosen) = builder.named(name), builder.shape(gates)
    slots = routing.num_slots(positions)
    sizes = {"b": batch, "s": positions, "k": chosen, "e": routing.experts, "slot": slots}
    weights, where = Use(gates, CHOSEN), Use(numbers, CHOSEN)
    g = builder.unordered(builder.tensor(f"{full}.out", axis_sizes(SLOTS, sizes), 4))
    forward = Map((weights, where), Use(g, SLOTS, local_over=("s",)))
    into = Use(gradient(gates), CHOSEN, local_over=("slot",))
    back = Map((Use(gradient(g), SLOTS), where), into)
    _add_transport(builder, full, "send-gates", sizes, ((forward,), (back,)))
    return g


def _sizes(builder: GraphBuilder, x: str, routing: Routing) -> dict[str, int]:
    sizes = dict(zip("bsh", builder.shape(x), strict=True))
    slots = routing.num_slots(sizes["s"])
    return sizes | {"k": routing.chosen, "e": routing.experts, "slot": slots}


def _add_transport(
    builder: GraphBuilder,
    full: str,
    kind: str,
    sizes: dict[str, int],
    maps: tuple[tuple[Map, ...], tuple[Map, ...]],
) -> None:
    forward = Step("forward", "F", maps[0], "elementwise")
    backward = Step("input", "I", maps[1], "elementwise")
    builder.add(Operator(full, kind, _dims(sizes, ("e", "k")), (forward,), (backward,)))


def _dims(sizes: dict[str, int], whole: Sequence[str]) -> tuple[Dim, ...]:
    """Return dimensions of which those in ``whole`` are not cut, and slots as positions are."""
    return tuple(
        Dim(name, size, 1, "s") if name == "slot" else Dim(name, size, 1 if name in whole else None)
        for name, size in sizes.items()
    )
