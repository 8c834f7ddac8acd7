"""One step of a recurrent network: an LSTM cell, attention over a memory, sums of products.

Steps of an unrolled network are operators of their own; tensors of one step are ``[b, s, n]``
with a single position s, and weights are shared between steps by their names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flexsim.operator_graph.axes import Axis
from flexsim.operator_graph.backward import derive_backward
from flexsim.operator_graph.builder import GraphBuilder
from flexsim.operator_graph.kinds.linear import axis_sizes, dims_of
from flexsim.operator_graph.records import Map, Operator, Step, Use, gradient

NUM_GATES = 4
GATES: tuple[Axis, ...] = (("b",), ("s",), ("gate",), ("n",))
STATE: tuple[Axis, ...] = (("b",), ("s",), ("n",))
MEMORY: tuple[Axis, ...] = (("b",), ("kv",), ("n",))
SCORES: tuple[Axis, ...] = (("b",), ("s",), ("kv",))


@dataclass(frozen=True)
class CellState:
    """What an LSTM cell hands to the next step: its hidden state and its cell."""

    hidden: str
    cell: str


@dataclass(frozen=True)
class CellShape:
    """Samples, width of the input and of the state; ``weights`` prefixes the weights' names."""

    samples: int
    inputs: int
    hidden: int
    weights: str

    @property
    def sizes(self) -> dict[str, int]:
        """Size by dimension: ``i`` is the input's width, ``m`` the previous state's."""
        here = {"b": self.samples, "s": 1, "gate": NUM_GATES}
        return here | {"i": self.inputs, "m": self.hidden, "n": self.hidden}


def lstm_cell(
    builder: GraphBuilder,
    name: str,
    x: str,
    state: CellState | None,
    shape: CellShape,
    *,
    is_last: bool = False,
) -> CellState:
    """Add one step of an LSTM (Hochreiter and Schmidhuber 1997) with one bias a gate.

    Without a ``state`` it starts from zeros; the last step hands on no cell. Forward
    8·b·n·(inputs + n) FLOPs: the product for all gates, then one kernel for the rest.
    """
    full, sizes = builder.named(name), shape.sizes
    factors = [(x, "i", "input_weight")]
    factors += [(state.hidden, "m", "state_weight")] if state else []
    gates = Use(builder.tensor(f"{full}.gates", axis_sizes(GATES, sizes), 0), GATES)
    product, weights = _sum_of_products(builder, factors, gates, sizes, shape.weights)
    builder.weight(f"{shape.weights}.state_weight", axis_sizes((("m",), *GATES[2:]), sizes))
    made = ("out",) if is_last else ("out", "cell")
    states = [Use(builder.tensor(f"{full}.{n}", axis_sizes(STATE, sizes)), STATE) for n in made]
    reads = (gates, Use(state.cell, STATE)) if state else (gates,)
    update = Step("cell", "F", tuple(Map(reads, use) for use in states), "elementwise")
    upstream = (*(Use(gradient(use.tensor), STATE) for use in states), *reads)
    back = tuple(Map(upstream, Use(gradient(use.tensor), use.axes)) for use in reads)
    backward = (Step("cell", "I", back, "elementwise"), *derive_backward(product, weights))
    dims = dims_of((*product.maps, *update.maps), sizes, whole=("gate",))
    builder.add(Operator(full, "lstm", dims, (product, update), backward))
    return CellState(states[0].tensor, states[-1].tensor)


def _sum_of_products(
    builder: GraphBuilder,
    factors: Sequence[tuple[str, str, str]],
    out: Use,
    sizes: Mapping[str, int],
    weights: str,
    bias: bool = True,
) -> tuple[Step, list[str]]:
    """Return one kernel for the sum of x·w over (x, its summed dimension, its weight's name)."""
    axes = out.axes[2:]
    maps, names = [], []
    for x, dim, suffix in factors:
        into = ((dim,), *axes)
        weight = builder.weight(f"{weights}.{suffix}", axis_sizes(into, sizes))
        added = (builder.weight(f"{weights}.bias", axis_sizes(axes, sizes)),) if bias else ()
        addends = tuple(Use(each, axes) for each in added)
        maps.append(Map((Use(x, (("b",), ("s",), (dim,))), Use(weight, into)), out, 2, addends))
        names += [weight, *added]
        bias = False
    return Step("product", "F", tuple(maps), "matmul", merge="k"), names


def joint_linear(
    builder: GraphBuilder, name: str, xs: Sequence[str], outputs: int, weights: str
) -> str:
    """Add ``y[b,s,n] = sum of x w`` over several inputs, as a linear of their concatenation."""
    full = builder.named(name)
    batch, positions, _ = builder.shape(xs[0])
    sizes = {"b": batch, "s": positions, "n": outputs}
    sizes |= {f"i{k}": builder.shape(x)[2] for k, x in enumerate(xs)}
    factors = [(x, f"i{k}", f"weight{k}") for k, x in enumerate(xs)]
    y = Use(builder.tensor(f"{full}.out", axis_sizes(STATE, sizes)), STATE)
    product, names = _sum_of_products(builder, factors, y, sizes, weights, bias=False)
    dims = dims_of(product.maps, sizes)
    backward = derive_backward(product, names)
    builder.add(Operator(full, "linear", dims, (product,), backward))
    return y.tensor


def attend(builder: GraphBuilder, name: str, query: str, keys: str, values: str) -> str:
    """Add dot-product attention of one ``query[b,s,n]`` over a memory ``[b,kv,n]``.

    Two kernels forward (scores; softmax and weighted values), two backward, all bound by
    reading the memory. Forward 4·b·s·kv·n FLOPs.
    """
    full = builder.named(name)
    (batch, positions, width), memory = builder.shape(query), builder.shape(keys)[1]
    sizes = {"b": batch, "s": positions, "kv": memory, "n": width}
    q, k, v = Use(query, STATE), Use(keys, MEMORY), Use(values, MEMORY)
    scores, shares = (
        Use(builder.tensor(f"{full}.{n}", axis_sizes(SCORES, sizes)), SCORES)
        for n in ("scores", "shares")
    )
    y = Use(builder.tensor(f"{full}.out", builder.shape(query)), STATE)
    forward = (
        Step("scores", "F", (Map((q, k), scores, 2),), "elementwise"),
        Step("context", "F", (Map((scores,), shares), Map((scores, v), y, 2)), "softmax"),
    )
    dy, dshares = Use(gradient(y.tensor), STATE), Use(gradient(shares.tensor), SCORES)
    into = (
        Map((dshares, shares, k), Use(gradient(query), STATE), 2),
        Map((dshares, shares, q), Use(gradient(keys), MEMORY), 2),
        Map((shares, dy), Use(gradient(values), MEMORY), 2),
    )
    backward = (
        Step("shares", "I", (Map((dy, v), dshares, 2),), "elementwise"),
        Step("input", "I", into, "softmax"),
    )
    dims = dims_of([m for step in forward for m in step.maps], sizes, whole=("kv",))
    builder.add(Operator(full, "attention", dims, forward, backward))
    return y.tensor
