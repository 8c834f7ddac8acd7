"""Embedding and cross-entropy over a vocabulary that may be split, and a plain mean loss.

A split vocabulary needs no special case: the looked-up rows are partial sums over it, and
the loss is a few steps whose statistics (maximum, sums) are partial between them.
"""

from __future__ import annotations

from flexsim.operator_graph.axes import Axis
from flexsim.operator_graph.backward import derive_backward
from flexsim.operator_graph.builder import GraphBuilder
from flexsim.operator_graph.kinds.linear import axis_sizes, dims_of
from flexsim.operator_graph.records import Map, Operator, Step, Use, gradient

HIDDEN = (("b",), ("s",), ("h",))
LOGITS = (("b",), ("s",), ("v",))
ROWS = (("b",), ("s",))


def embedding(
    builder: GraphBuilder,
    name: str,
    tokens: str,
    table: str,
    sizes: dict[str, int],
    row: str = "v",
) -> str:
    """Add ``x[b,s,h] = table[tokens[b,s], h]``; ``table[v,h]`` is declared if it is new.

    ``row`` names the dimension of the table's rows where it is not the vocabulary.
    """
    full = builder.named(name)
    x = builder.tensor(f"{full}.out", (sizes["b"], sizes["s"], sizes["h"]))
    builder.weight(table, (sizes[row], sizes["h"]))
    rows = Use(table, ((row,), ("h",)), dense=False)
    forward = Step("forward", "F", (Map((Use(tokens, ROWS), rows), Use(x, HIDDEN)),), "embedding")
    backward = derive_backward(forward, (table,), (tokens,))
    dims = dims_of(forward.maps, sizes)
    builder.add(Operator(full, "embedding", dims, (forward,), backward))
    return x


def embedding_bag(
    builder: GraphBuilder, name: str, indices: str, table: str, sizes: dict[str, int]
) -> str:
    """Add ``x[b,h] = sum over s of table[indices[b,s], h]``; ``table[v,h]`` is declared."""
    full = builder.named(name)
    x = builder.tensor(f"{full}.out", (sizes["b"], sizes["h"]))
    rows = Use(builder.weight(table, (sizes["v"], sizes["h"])), (("v",), ("h",)), dense=False)
    bag = Map((Use(indices, ROWS), rows), Use(x, (("b",), ("h",))))
    forward = Step("forward", "F", (bag,), "embedding")
    backward = derive_backward(forward, (table,), (indices,))
    builder.add(Operator(full, "embedding", dims_of((bag,), sizes), (forward,), backward))
    return x


def position_embedding(
    builder: GraphBuilder, name: str, x: str, sizes: dict[str, int], rate: bool = True
) -> str:
    """Add a learned position to ``x[b,s,h]``, with dropout after it if ``rate``."""
    full = builder.named(name)
    shape = (sizes["b"], sizes["s"], sizes["h"])
    y = Use(builder.tensor(f"{full}.out", shape), HIDDEN)
    table = Use(builder.weight(f"{full}.weight", shape[1:]), (("s",), ("h",)))
    mask = (Use(builder.tensor(f"{full}.mask", shape, 1), HIDDEN),) if rate else ()
    forward = (
        Map((Use(x, HIDDEN),), y, addends=(table,)),
        *(Map((), use) for use in mask),
    )
    dy = (Use(gradient(y.tensor), HIDDEN), *mask)
    into_x = Map(dy, Use(gradient(x), HIDDEN))
    into_table = Map(dy, Use(gradient(table.tensor), table.axes))
    builder.add(
        Operator(
            full,
            "position-embedding",
            dims_of(forward, sizes),
            (Step("forward", "F", forward, "dropout" if rate else "elementwise"),),
            (
                Step("input", "I", (into_x,), "dropout" if rate else "alias"),
                Step("weight", "W", (into_table,), "elementwise"),
            ),
        )
    )
    return y.tensor


def cross_entropy(
    builder: GraphBuilder,
    name: str,
    logits: str,
    labels: str,
    sizes: dict[str, int],
    *,
    axes: tuple[Axis, ...] = LOGITS,
) -> str:
    """Add the loss of ``logits[b,s,v]`` against ``labels[b,s]``, in fp32.

    ``axes`` are those of the logits where they are others; the labels' lack ``v``.
    Four steps: row maximum, the label's logit, exponentials and their sum, the loss.
    With a split vocabulary the maximum, the label's logit and the sum are reduced: three
    all-reduces of [b,s] forward and none backward.
    """
    full, axes_of_rows = builder.named(name), tuple(axis for axis in axes if axis != ("v",))
    rows = axis_sizes(axes_of_rows, sizes)
    read, label = Use(logits, axes), Use(labels, axes_of_rows)
    names = [builder.tensor(f"{full}.{n}", rows, 4) for n in ("maximum", "label", "sum", "out")]
    maximum, predicted, total, loss = (Use(n, axes_of_rows) for n in names)
    exponent = Use(builder.tensor(f"{full}.exponent", axis_sizes(axes, sizes), 4), axes)
    steps = (
        ("maximum", (Map((read,), Use(names[0], axes_of_rows, combine="max")),)),
        ("label", (Map((label, Use(logits, axes, dense=False)), predicted),)),
        ("sum", (Map((read, maximum), exponent), Map((read, maximum), total))),
        ("loss", (Map((maximum, predicted, total), loss),)),
    )
    forward = tuple(Step(n, "F", maps, "loss") for n, maps in steps)
    back = Map((exponent, total, label), Use(gradient(logits), axes))
    all_maps = tuple(m for step in forward for m in step.maps)
    backward = (Step("input", "I", (back,), "loss"),)
    builder.add(Operator(full, "cross-entropy", dims_of(all_maps, sizes), forward, backward))
    return names[3]


def mean_loss(
    builder: GraphBuilder,
    name: str,
    x: str,
    sizes: dict[str, int],
    axes: tuple[Axis, ...] = (("b",), ("f",)),
) -> str:
    """Add a mean-squared loss of each sample of ``x``, whose first axis is the batch."""
    full = builder.named(name)
    loss = builder.tensor(f"{full}.out", (sizes["b"],), 4)
    forward = Map((Use(x, axes),), Use(loss, (("b",),)))
    back = Map((Use(x, axes),), Use(gradient(x), axes))
    builder.add(
        Operator(
            full,
            "mean-loss",
            dims_of((forward,), sizes),
            (Step("forward", "F", (forward,), "loss"),),
            (Step("input", "I", (back,), "loss"),),
        )
    )
    return loss


def outside_loss(
    builder: GraphBuilder, name: str, x: str, target: str, sizes: dict[str, int]
) -> str:
    """Add a stand-in for the model after ``x[b,s,h]``: it hands back a gradient, almost for free.

    Its kernels move only the bytes of ``target[b]``, so that what stands before it can be
    simulated alone.
    """
    full = builder.named(name)
    loss = builder.tensor(f"{full}.out", (sizes["b"],), 4)
    goal, read = Use(target, (("b",),)), Use(x, HIDDEN, dense=False)
    forward = Map((goal, read), Use(loss, (("b",),)))
    back = Map((goal,), Use(gradient(x), HIDDEN, dense=False))
    builder.add(
        Operator(
            full,
            "outside-loss",
            dims_of((forward,), sizes),
            (Step("forward", "F", (forward,), "loss"),),
            (Step("input", "I", (back,), "loss"),),
        )
    )
    return loss
