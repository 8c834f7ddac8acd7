"""The shape of a model: what a preset or a scenario says about it, checked at birth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flexsim.errors import ModelError, choices_text

ATTENTIONS = ("unfused", "flash")
_SIZES = (
    "layers",
    "hidden",
    "heads",
    "kv_heads",
    "head_size",
    "ffn",
    "sequence",
    "vocabulary",
    "image",
    "patch",
    "classes",
    "tables",
    "experts",
    "chosen_experts",
    "expert_ffn",
    "shared_experts",
    "dense_layers",
    "query_rank",
    "key_rank",
    "rotary_size",
    "value_size",
)
_MOST_FACTOR = 1000
_MAY_BE_ZERO = frozenset(
    ("kv_heads", "head_size", "ffn", "expert_ffn", "shared_experts", "dense_layers", "value_size")
)


@dataclass(frozen=True)
class ModelConfig:
    """Sizes and choices of one model; a family reads those that have a meaning for it.

    A size of 0 stands for its default: ``kv_heads`` as many as ``heads``, ``head_size``
    hidden / heads, ``ffn`` (the width between the two feed-forward products) 4 x hidden.
    ``sequence`` is in tokens. ``attention`` is "unfused" (scores, softmax, context apart) or
    "flash". ``tied_embedding`` shares the word table with the logits' product.
    Without ``embedding_and_head`` the layers stand alone, fed with hidden states.
    ``image`` and ``patch`` are pixels a side, ``classes`` what a sample is sorted into,
    ``tables`` a recommender's embedding tables of ``vocabulary`` rows each.
    Mixtures have ``experts`` of width ``expert_ffn`` (ffn unless given), ``chosen_experts`` a
    token, ``shared_experts`` that see all tokens and ``dense_layers`` before the first mixture.
    An expert has slots for ``capacity_factor`` times its even share of the tokens; with a
    ``load_imbalance`` what experts get varies by so much of the mean, drawn by ``seed``.
    Latent attention has ranks for queries and for keys and values, ``rotary_size`` more
    elements a key than ``head_size``, and values of ``value_size`` (head_size unless given).
    ``published_parameters`` and ``source`` tell the count and where the shape was published.
    """

    family: str
    layers: int = 1
    hidden: int = 1
    heads: int = 1
    sequence: int = 1
    vocabulary: int = 1
    kv_heads: int = 0
    head_size: int = 0
    ffn: int = 0
    attention: str = "unfused"
    tied_embedding: bool = True
    embedding_and_head: bool = True
    image: int = 1
    patch: int = 1
    classes: int = 1
    tables: int = 1
    experts: int = 1
    chosen_experts: int = 1
    expert_ffn: int = 0
    shared_experts: int = 0
    dense_layers: int = 0
    capacity_factor: float = 1.0
    load_imbalance: float = 0.0
    seed: int = 0
    query_rank: int = 1
    key_rank: int = 1
    rotary_size: int = 1
    value_size: int = 0
    name: str = ""
    published_parameters: float | None = None
    source: str = ""

    def __post_init__(self) -> None:
        self._fill("name", self.family)
        for key in _SIZES:
            self._check_whole_number(key)
        self._fill("ffn", 4 * self.hidden)
        self._fill("expert_ffn", self.ffn)
        self._check_heads()
        self._fill("value_size", self.head_size)
        self._check_experts()
        self._check_flags()

    @property
    def repeats(self) -> int:
        """Query heads that share one key head."""
        return self.heads // self.kv_heads

    def _fill(self, key: str, default: Any) -> None:
        if not getattr(self, key):
            object.__setattr__(self, key, default)

    def _check_whole_number(self, key: str) -> None:
        value = getattr(self, key)
        least = 0 if key in _MAY_BE_ZERO else 1
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ModelError(
                f"{self.name}: model.{key} = {value!r} must be a whole number of at least 1"
            )

    def _check_heads(self) -> None:
        if not self.head_size and self.hidden % self.heads:
            raise ModelError(
                f"{self.name}: model.heads = {self.heads} does not divide model.hidden = "
                f"{self.hidden}; choose a divisor or give model.head_size"
            )
        self._fill("kv_heads", self.heads)
        self._fill("head_size", self.hidden // self.heads)
        if self.heads % self.kv_heads:
            raise ModelError(
                f"{self.name}: model.kv_heads = {self.kv_heads} does not divide model.heads = "
                f"{self.heads}"
            )

    def _check_experts(self) -> None:
        if self.chosen_experts > self.experts:
            raise ModelError(
                f"{self.name}: model.chosen_experts = {self.chosen_experts} is more than "
                f"model.experts = {self.experts}; choose from 1 to {self.experts}"
            )
        if self.dense_layers > self.layers:
            raise ModelError(
                f"{self.name}: model.dense_layers = {self.dense_layers} is more than "
                f"model.layers = {self.layers}; choose from 0 to {self.layers}"
            )
        for key, least in (("capacity_factor", 1e-3), ("load_imbalance", 0.0)):
            value = getattr(self, key)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not least <= value <= _MOST_FACTOR:
                raise ModelError(
                    f"{self.name}: model.{key} = {value!r} must be a number from {least:g} to "
                    f"{_MOST_FACTOR}"
                )
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise ModelError(
                f"{self.name}: model.seed = {self.seed!r} must be a whole number of at least 0"
            )

    def _check_flags(self) -> None:
        if self.attention not in ATTENTIONS:
            known = choices_text(str(self.attention), ATTENTIONS)
            raise ModelError(f"{self.name}: model.attention = {self.attention!r}: {known}")
        for key in ("tied_embedding", "embedding_and_head"):
            value = getattr(self, key)
            if not isinstance(value, bool):
                raise ModelError(f"{self.name}: model.{key} = {value!r} must be true or false")
