"""What the batches of a sweep are made of: sequences, images, or samples of another kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from flexsim.models.selection import samples_of

if TYPE_CHECKING:
    import pandas as pd

_TOKENS, _SAMPLES = "tokens_per_s", "samples_per_s"
_READ: Mapping[str, Callable[[Any], str]] = {
    "model.preset": partial(samples_of, None),
    "model.name": samples_of,
}


def samples_in(table: pd.DataFrame, told: str = "") -> str:
    """Return what batches are made of, as far as the rows of a results file tell.

    Where models vary it is the word that suits all; else what is ``told``, or, since a sample of
    one token is no sequence, what the rates tell.
    """
    words = {
        read(model)
        for key, read in _READ.items()
        if key in table
        for model in table[key].dropna().unique()
    }
    if words:
        return words.pop() if len(words) == 1 else "samples"
    return told or ("sequences" if has_tokens(table) else "samples")


def has_tokens(table: pd.DataFrame) -> bool:
    """Whether some sample has several tokens; true where the rates of both are not known."""
    if not {_TOKENS, _SAMPLES} <= set(table):
        return True
    known = table[[_TOKENS, _SAMPLES]].dropna()
    return known.empty or bool((known[_TOKENS] != known[_SAMPLES]).any())
