"""Checkpoints of a chain: everything that is needed to go on, written whole or not at all."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flexsim.errors import FlexSimError, StrategyError
from flexsim.files import whole_file
from flexsim.search.moves import State
from flexsim.search.trace import Row
from flexsim.search.walk import Walk
from flexsim.strategy.files import configs_content, configs_of

FORMAT = "flexsim-search-checkpoint"
VERSION = 1
_STATES = ("current", "best")


@dataclass(frozen=True)
class Checkpoints:
    """Where the checkpoints of a search lie, and the search that they belong to.

    ``identity`` says what must be equal for a checkpoint to be taken up again: the scenario,
    the method, the seed and so on.
    """

    directory: Path
    identity: dict[str, Any]

    def path(self, chain: int) -> Path:
        """Return the file of one chain."""
        return self.directory / f"checkpoint-{chain}.json"

    def write(self, walk: Walk) -> None:
        """Keep the state of a chain."""
        self.keep(walk.chain, self._text(walk))

    def keep(self, chain: int, text: str) -> None:
        """Write the file of one chain."""
        with whole_file(self.path(chain)) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def stored(self, chain: int) -> str | None:
        """Return the text of one chain's file; None where there is none."""
        path = self.path(chain)
        try:
            return path.read_text(encoding="utf-8") if path.is_file() else None
        except (OSError, ValueError) as problem:
            raise FlexSimError(f"{path}: this is no checkpoint of a search") from problem

    def _text(self, walk: Walk) -> str:
        content = {
            "format": FORMAT,
            "version": VERSION,
            "identity": self.identity,
            "walk": walk.content(),
            **dict(zip(_STATES, map(_state_content, (walk.state, walk.best)), strict=True)),
        }
        return json.dumps(content)

    def read(self, walk: Walk) -> bool:
        """Let a chain go on from its checkpoint; return whether there is one.

        Raise :class:`FlexSimError` in one sentence for one that is broken or of another search.
        """
        path = self.path(walk.chain)
        text = self.stored(walk.chain)
        if text is None:
            return False
        content = self._content(path, text)
        try:
            walked, states = _checked(content["walk"]), [_state(content[k]) for k in _STATES]
        except (LookupError, TypeError, ValueError, AttributeError, StrategyError) as problem:
            raise FlexSimError(f"{path}: this checkpoint of a search is damaged") from problem
        walk.restore(walked, *states)
        return True

    def _content(self, path: Path, text: str) -> dict[str, Any]:
        try:
            content = json.loads(text)
            identity = dict(content["identity"])
            known = (content["format"], content["version"]) == (FORMAT, VERSION)
        except (ValueError, TypeError, LookupError) as problem:
            raise FlexSimError(f"{path}: this is no checkpoint of a search") from problem
        if not known:
            raise FlexSimError(f"{path}: this is no checkpoint of this version of flexsim")
        differing = [k for k in self.identity if identity.get(k) != self.identity[k]]
        if differing:
            raise FlexSimError(f"{path}: {self._difference(differing[0], identity)}")
        found: dict[str, Any] = content
        return found

    def _difference(self, key: str, identity: dict[str, Any]) -> str:
        if key == "problem":
            return (
                "this checkpoint is of another scenario: the model, the cluster or the strategy"
                " differs; leave --resume out, or give another --output"
            )
        return (
            f"this checkpoint is of a search with {key} = {identity.get(key)!r}, not"
            f" {self.identity[key]!r}; leave --resume out, or give another --output"
        )


def _checked(content: dict[str, Any]) -> dict[str, Any]:
    """Return what :meth:`Walk.content` wrote; raise what a wrong value raises."""
    np.random.default_rng().bit_generator.state = content["rng"]
    for key in ("spent_s", "improved_at", "restarts_since"):
        float(content[key])
    for row in content["rows"]:
        Row(*row)
    return {**content, "is_over": bool(content["is_over"])}


def _state_content(state: State) -> dict[str, Any]:
    return {**configs_content(state.configs), "stage_of": state.stage_of}


def _state(content: dict[str, Any]) -> State:
    return State(configs_of(content), dict(content["stage_of"]))
