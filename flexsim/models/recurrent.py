"""What recurrent networks share: layers of LSTM cells, unrolled step by step.

Operators stand layer by layer, and within a layer step by step; each step is an operator of its
own that shares its layer's weights, so that every step may be placed anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flexsim.models.config import ModelConfig
from flexsim.operator_graph import GraphBuilder
from flexsim.operator_graph.kinds import (
    CellShape,
    CellState,
    LinearShape,
    cross_entropy,
    embedding,
    linear,
    lstm_cell,
)

TOKEN_BYTES = 8


@dataclass(frozen=True)
class Unrolled:
    """A recurrent network being written: its builder, its shape, and the batch's samples."""

    builder: GraphBuilder
    config: ModelConfig
    samples: int

    @property
    def sizes(self) -> dict[str, int]:
        """Size by dimension of everything but the cells; a step has one position ``s``."""
        config = self.config
        return {"b": self.samples, "s": 1, "h": config.hidden, "v": config.vocabulary}

    def words(self, name: str) -> list[str]:
        """Add the look-up of every step's word in one table and return the vectors."""
        return [
            embedding(self.builder, f"{name}{step}", self._fed(f"{name}_tokens{step}"), name, sizes)
            for step, sizes in enumerate([self.sizes] * self.config.sequence)
        ]

    def layer(
        self, name: str, xs: Sequence[str], start: CellState | None = None, *, hands_on: bool
    ) -> tuple[list[str], CellState]:
        """Add one layer over ``xs``; return the hidden states and the last state.

        ``hands_on`` tells that someone reads the cell that the last step leaves.
        """
        shape = CellShape(self.samples, self.builder.shape(xs[0])[2], self.config.hidden, name)
        state, hidden = start, []
        with self.builder.block(name):
            for step, x in enumerate(xs):
                is_last = step == len(xs) - 1 and not hands_on
                cell = (self.builder, f"step{step}", x, state, shape)
                state = lstm_cell(*cell, is_last=is_last)
                hidden.append(state.hidden)
        assert state is not None
        return hidden, state

    def predictions(self, name: str, xs: Sequence[str]) -> None:
        """Add, for every step, the logits over the vocabulary and the loss of a label."""
        shape = LinearShape(("b", "s"), (("h",),), {"": (("v",),)}, self.sizes, weights=name)
        for step, x in enumerate(xs):
            (logits,) = linear(self.builder, f"{name}{step}", x, shape)
            labels = self._fed(f"labels{step}")
            cross_entropy(self.builder, f"loss{step}", logits, labels, self.sizes)

    def _fed(self, name: str) -> str:
        return self.builder.input(name, (self.samples, 1), TOKEN_BYTES)
