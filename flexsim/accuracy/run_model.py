"""From a run's shape to a model's table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from flexsim.accuracy.cells import Cells, UnsimulatableError
from flexsim.accuracy.spellings import FAMILIES, spelled
from flexsim.models.presets import PRESET_FIELDS
from flexsim.models.selection import family_keys

DEFAULT_VOCABULARY = 51200
_VOCABULARIES: Mapping[str, int] = {r"zero.?bubble": 32000}
"""Where a paper names none: SentencePiece, and the room that names of 14.6B and 28.3B leave."""
_VOCABULARY_MULTIPLE = 128
"""Megatron-LM's make-vocab-size-divisible-by, times the tensor parallelism."""

_DEEPSEEK: Mapping[str, dict[str, int]] = {
    "deepseek-v2": {"expert_ffn": 1536, "shared_experts": 2, "dense_layers": 1},
    "deepseek-v3": {"expert_ffn": 2048, "shared_experts": 1, "dense_layers": 3},
}
"""DeepSeek-AI 2024 (arXiv 2405.04434, section 2.2.4; arXiv 2412.19437, section 4.2)."""
_FEW_LAYERS = 10
"""A cut model keeps one dense layer, as SimuMax's do."""


def family_of(cells: Cells) -> str:
    """Return the family's name; raise :class:`UnsimulatableError` for no transformer."""
    name = cells.text("model")
    family = spelled(name, FAMILIES)
    if not family:
        raise UnsimulatableError(f"model = {name!r} is none that layers, hidden and heads describe")
    return family.partition("-v")[0]


def model_of(cells: Cells, tensor: int, is_layer: bool) -> dict[str, Any]:
    """Return the ``[model]`` table; ``is_layer`` for layers without embedding and head."""
    family = family_of(cells)
    hidden = cells.needed("hidden")
    table: dict[str, Any] = {
        "name": family,
        "layers": cells.needed("layers"),
        "hidden": hidden,
        "heads": _heads(cells.needed("heads"), hidden),
        "sequence": cells.needed("seq"),
        "vocabulary": _padded(cells.count("vocab") or _usual_vocabulary(cells), tensor),
    }
    optional = {"kv_heads": cells.count("kv_heads"), "ffn": cells.count("ffn")}
    table |= {key: value for key, value in optional.items() if value is not None}
    table |= _head_size(table)
    if is_layer:
        table["embedding_and_head"] = False
    table |= _experts(cells, table)
    known = ("name", *family_keys(table["name"]))
    return {key: value for key, value in table.items() if key in known}


def _experts(cells: Cells, table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a mixture; GPT with experts is another family."""
    experts = cells.count("experts")
    if experts is None or experts == 1:
        return {}
    found: dict[str, Any] = {"experts": experts}
    if table["name"] == "gpt":
        found["name"] = "gpt-moe"
    if table["name"] == "llama":
        found["name"] = "mixtral"
    chosen = cells.count("topk")
    if chosen is not None:
        found["chosen_experts"] = chosen
    known = _DEEPSEEK.get(spelled(cells.text("model"), FAMILIES) or "", {})
    found |= known
    if known and table["layers"] < _FEW_LAYERS:
        found["dense_layers"] = 1
    return found


def _head_size(table: Mapping[str, Any]) -> dict[str, int]:
    """Return the head size of a known model that is not hidden / heads (PaLM's)."""
    shape = [table[key] for key in ("name", "hidden", "heads")]
    for preset in PRESET_FIELDS.values():
        same = [preset.get(key) for key in ("family", "hidden", "heads")] == shape
        if same and "head_size" in preset:
            return {"head_size": preset["head_size"]}
    return {}


def _usual_vocabulary(cells: Cells) -> int:
    words = cells.words("source", "software")
    found = (size for pattern, size in _VOCABULARIES.items() if re.search(pattern, words))
    return next(found, DEFAULT_VOCABULARY)


def _padded(vocabulary: int, tensor: int) -> int:
    """Return the words that Megatron-LM's vocabulary is filled up to."""
    step = _VOCABULARY_MULTIPLE * tensor
    return -(-vocabulary // step) * step


def _heads(heads: int, hidden: int) -> int:
    """Return the given heads, or the largest power of two up to them where they do not divide."""
    return heads if hidden % heads == 0 else 1 << (heads.bit_length() - 1)
