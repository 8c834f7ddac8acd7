"""Attention: unfused (scores, softmax, context) and fused (flash), heads as groups x repeats.

Queries are ``[b, s, (g, r), d]``; keys and values ``[b, kv, g, d]``: ``g`` groups of key heads,
each shared by ``r`` query heads (``r = 1`` is multi-head, ``g = 1`` multi-query attention).
"""

from __future__ import annotations

from dataclasses import dataclass

from flexsim.operator_graph.axes import Axis
from flexsim.operator_graph.backward import derive_backward
from flexsim.operator_graph.builder import GraphBuilder
from flexsim.operator_graph.kinds.linear import axis_sizes, dims_of
from flexsim.operator_graph.records import Map, Operator, Step, Use, gradient

HEADS: Axis = ("g", "r")
QUERY: tuple[Axis, ...] = (("b",), ("s",), HEADS, ("d",))
KEY: tuple[Axis, ...] = (("b",), ("kv",), ("g",), ("d",))
SCORES: tuple[Axis, ...] = (("b",), HEADS, ("s",), ("kv",))
STATISTIC: tuple[Axis, ...] = (("b",), HEADS, ("s",))
CORE = "attention-core"
"""The group that selective recomputation repeats (Korthikanti et al. 2022, section 5)."""


@dataclass(frozen=True)
class AttentionShape:
    """Sizes of an attention: sequences, query and key positions, key groups, repeats, head."""

    sequences: int
    positions: int
    groups: int
    repeats: int
    head_size: int
    causal: bool = True

    @property
    def sizes(self) -> dict[str, int]:
        """Size by dimension; ``kv`` is the position of a key."""
        return {
            "b": self.sequences,
            "s": self.positions,
            "kv": self.positions,
            "g": self.groups,
            "r": self.repeats,
            "d": self.head_size,
        }


def batched_matmul(
    builder: GraphBuilder, name: str, uses: tuple[Use, Use, Use], sizes: dict[str, int]
) -> str:
    """Add the product of two activations; ``uses`` are left, right and the result to declare."""
    left, right, out = uses
    builder.tensor(out.tensor, axis_sizes(out.axes, sizes))
    product = Map((left, right), out, 2)
    forward = Step("forward", "F", (product,), "matmul")
    dims = dims_of((product,), sizes)
    backward = derive_backward(forward, ())
    full = builder.named(name)
    builder.add(Operator(full, "batched-matmul", dims, (forward,), backward, group=CORE))
    return out.tensor


def attention_scores(
    builder: GraphBuilder, name: str, qk: tuple[str, str], shape: AttentionShape
) -> str:
    """Add ``scores[b,(g,r),s,kv] = q · k`` (scaling is part of the softmax kernel)."""
    out = Use(f"{builder.named(name)}.out", SCORES)
    return batched_matmul(builder, name, (Use(qk[0], QUERY), Use(qk[1], KEY), out), shape.sizes)


def attention_context(
    builder: GraphBuilder, name: str, pv: tuple[str, str], shape: AttentionShape
) -> str:
    """Add ``context[b,s,(g,r),d]``: values weighted by the attention probabilities."""
    out = Use(f"{builder.named(name)}.out", QUERY)
    return batched_matmul(builder, name, (Use(pv[0], SCORES), Use(pv[1], KEY), out), shape.sizes)


def attention_softmax(builder: GraphBuilder, name: str, scores: str, shape: AttentionShape) -> str:
    """Add the scale-mask-softmax over whole rows of keys."""
    full = builder.named(name)
    probabilities = builder.tensor(f"{full}.out", axis_sizes(SCORES, shape.sizes))
    out = Use(probabilities, SCORES)
    softmax = Map((Use(scores, SCORES),), out)
    back = Map((Use(gradient(probabilities), SCORES), out), Use(gradient(scores), SCORES))
    builder.add(
        Operator(
            full,
            "softmax",
            dims_of((softmax,), shape.sizes, whole=("kv",)),
            (Step("forward", "F", (softmax,), "softmax", fusion="scale-mask-softmax"),),
            (Step("input", "I", (back,), "softmax", fusion="scale-mask-softmax"),),
            group=CORE,
        )
    )
    return probabilities


def flash_attention(
    builder: GraphBuilder, name: str, qkv: tuple[str, str, str], shape: AttentionShape
) -> str:
    """Add fused attention (Dao et al. 2022): one kernel forward, one backward.

    Nominal FLOPs count every (query, key) pair, as model FLOPs do; a causal kernel executes
    half of them, and the backward executes 10 where the model counts 8: it recomputes scores.
    """
    full, sizes = builder.named(name), shape.sizes
    share = 0.5 if shape.causal else 1.0
    out = Use(builder.tensor(f"{full}.out", axis_sizes(QUERY, sizes)), QUERY)
    statistic = builder.tensor(f"{full}.logsumexp", axis_sizes(STATISTIC, sizes), 4)
    reads = (Use(qkv[0], QUERY), Use(qkv[1], KEY), Use(qkv[2], KEY))
    forward = (Map(reads, out, 4), Map(reads[:2], Use(statistic, STATISTIC)))
    saved = (*reads, out, Use(statistic, STATISTIC), Use(gradient(out.tensor), QUERY))
    backward = tuple(
        Map(saved, Use(gradient(use.tensor), use.axes), flops)
        for use, flops in zip(reads, (4, 2, 2), strict=True)
    )
    builder.add(
        Operator(
            full,
            "attention",
            dims_of(forward, sizes, whole=("kv",)),
            (Step("forward", "F", forward, "attention", work_fraction=share),),
            (Step("input", "I", backward, "attention", work_fraction=1.25 * share),),
            group=CORE,
        )
    )
    return out.tensor
