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
    name: str = ""
    published_parameters: float | None = None
    source: str = ""

    def __post_init__(self) -> None:
        self._fill("name", self.family)
        for key in _SIZES:
            self._check_whole_number(key)
        self._fill("ffn", 4 * self.hidden)
        self._check_heads()
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
        least = 0 if key in {"kv_heads", "head_size", "ffn"} else 1
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

    def _check_flags(self) -> None:
        if self.attention not in ATTENTIONS:
            known = choices_text(str(self.attention), ATTENTIONS)
            raise ModelError(f"{self.name}: model.attention = {self.attention!r}: {known}")
        for key in ("tied_embedding", "embedding_and_head"):
            value = getattr(self, key)
            if not isinstance(value, bool):
                raise ModelError(f"{self.name}: model.{key} = {value!r} must be true or false")
