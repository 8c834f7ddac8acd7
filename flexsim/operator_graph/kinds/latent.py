"""Multi-head latent attention (DeepSeek-AI 2024, arXiv 2405.04434, section 2.1).

Keys are the heads' own part beside a rotated part that all heads share, values have a size of
their own.
"""

from __future__ import annotations

from dataclasses import dataclass

from flexsim.operator_graph.axes import Axis
from flexsim.operator_graph.builder import GraphBuilder
from flexsim.operator_graph.kinds.attention import CORE, HEADS, KEY, QUERY, STATISTIC
from flexsim.operator_graph.kinds.linear import axis_sizes, dims_of
from flexsim.operator_graph.records import Map, Operator, Step, Use, gradient

UP_PROJECTION = "up-projection"
"""The group of what makes queries, keys and values from the latents."""
HEADS_VALUES: tuple[Axis, ...] = (("b",), ("s",), HEADS, ("w",))
VALUES: tuple[Axis, ...] = (("b",), ("kv",), ("g",), ("w",))
MADE_KEYS: tuple[Axis, ...] = (("b",), ("s",), ("g",), ("d",))
OWN_KEYS: tuple[Axis, ...] = (("b",), ("s",), ("g",), ("n",))
SHARED_KEYS: tuple[Axis, ...] = (("b",), ("s",), ("p",))
_POINTS = ("b", "g", "r", "s", "kv")


@dataclass(frozen=True)
class LatentInputs:
    """Tensors of a latent attention: queries, the heads' own keys, the shared ones."""

    queries: str
    own_keys: str
    shared_keys: str


def rotary_keys(
    builder: GraphBuilder, name: str, inputs: LatentInputs, sizes: dict[str, int]
) -> tuple[str, str]:
    """Add rotary positions to queries and keys, and give every head a copy of the shared part.

    Queries are ``[b,s,(g,r),d]`` and keys ``[b,s,g,d]``, of which the last ``p`` are rotated:
    ``d = n + p``. The backward is the opposite rotation and saves nothing.
    """
    full = builder.named(name)
    q = Use(builder.tensor(f"{full}.q.out", builder.shape(inputs.queries)), QUERY)
    k = Use(builder.tensor(f"{full}.k.out", axis_sizes(MADE_KEYS, sizes)), MADE_KEYS)
    reads = (Use(inputs.queries, QUERY), Use(inputs.own_keys, OWN_KEYS))
    shared = Use(inputs.shared_keys, SHARED_KEYS)
    forward = (Map(reads[:1], q), Map((), k, addends=(reads[1], shared)))
    sources = ((q, reads[0]), (k, reads[1]), (k, shared))
    back = tuple(
        Map((Use(gradient(out.tensor), out.axes),), Use(gradient(use.tensor), use.axes))
        for out, use in sources
    )
    builder.add(
        Operator(
            full,
            "rotary",
            dims_of(forward, sizes, whole=("d", "n", "p")),
            (Step("forward", "F", forward, "elementwise"),),
            (Step("input", "I", back, "elementwise"),),
            group=UP_PROJECTION,
        )
    )
    return q.tensor, k.tensor


def latent_attention(
    builder: GraphBuilder, name: str, qkv: tuple[str, str, str], sizes: dict[str, int]
) -> str:
    """Add fused causal attention with keys of size ``d`` and values of size ``w``.

    FLOPs are counted as :func:`flexsim.operator_graph.kinds.flash_attention` does.
    """
    full = builder.named(name)
    out = Use(builder.tensor(f"{full}.out", axis_sizes(HEADS_VALUES, sizes)), HEADS_VALUES)
    statistic = builder.tensor(f"{full}.logsumexp", axis_sizes(STATISTIC, sizes), 4)
    reads = (Use(qkv[0], QUERY), Use(qkv[1], KEY), Use(qkv[2], VALUES))
    pair, keys, values = 2 * (sizes["d"] + sizes["w"]), 2 * sizes["d"], 2 * sizes["w"]
    forward = (
        Map(reads, out, pair, points=_POINTS),
        Map(reads[:2], Use(statistic, STATISTIC)),
    )
    saved = (*reads, out, Use(statistic, STATISTIC), Use(gradient(out.tensor), out.axes))
    backward = tuple(
        Map(saved, Use(gradient(use.tensor), use.axes), flops, points=_POINTS)
        for use, flops in zip(reads, (pair, keys, values), strict=True)
    )
    builder.add(
        Operator(
            full,
            "attention",
            dims_of(forward, sizes, whole=("kv",)),
            (Step("forward", "F", forward, "attention", work_fraction=0.5),),
            (Step("input", "I", backward, "attention", work_fraction=0.625),),
            group=CORE,
        )
    )
    return out.tensor
