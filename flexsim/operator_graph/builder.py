"""A notebook in which a model writes its operators down, frozen into a graph at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

from flexsim.errors import ModelError
from flexsim.operator_graph.graph import OperatorGraph
from flexsim.operator_graph.records import Operator, Tensor, Weight

PRECISION_BYTES = {"fp16": 2, "bf16": 2, "fp32": 4, "fp8": 2}
"""Of ordinary tensors and weights; in fp8 only operands of products are, and the rest is bf16."""


class Mark(NamedTuple):
    """How many operators, tensors, weights and inputs a builder had at some moment."""

    operators: int
    tensors: int
    weights: int
    inputs: int


class Written(NamedTuple):
    """A stretch of what was written into a builder."""

    operators: tuple[Operator, ...]
    tensors: tuple[Tensor, ...]
    weights: tuple[Weight, ...]
    inputs: tuple[str, ...]


class GraphBuilder:
    """Collects operators in program order; names are prefixed by the current block."""

    def __init__(self, name: str, precision: str = "fp16") -> None:
        """Start an empty graph whose tensors have ``precision`` unless said otherwise."""
        if precision not in PRECISION_BYTES:
            choices = ", ".join(PRECISION_BYTES)
            raise ModelError(f"{name}: precision {precision!r} is unknown; choose from {choices}")
        self.name = name
        self.precision = precision
        self._operators: list[Operator] = []
        self._tensors: dict[str, Tensor] = {}
        self._weights: dict[str, Weight] = {}
        self._inputs: list[str] = []
        self._block = ""

    @property
    def bytes_per_element(self) -> int:
        """Bytes an element of ordinary activations and weights."""
        return PRECISION_BYTES[self.precision]

    @contextmanager
    def block(self, name: str) -> Iterator[None]:
        """Put the operators added inside into one block and prefix their names with it."""
        outer, self._block = self._block, name
        try:
            yield
        finally:
            self._block = outer

    def named(self, name: str) -> str:
        """Return ``name`` with the current block before it."""
        return f"{self._block}.{name}" if self._block else name

    def input(self, name: str, shape: tuple[int, ...], bytes_per_element: int) -> str:
        """Declare a tensor that the model is fed."""
        self._inputs.append(name)
        return self.tensor(name, shape, bytes_per_element)

    def tensor(self, name: str, shape: tuple[int, ...], bytes_per_element: int = 0) -> str:
        """Declare a tensor and return its name."""
        if name in self._tensors:
            raise ModelError(f"{self.name}: two tensors are named {name!r}")
        width = bytes_per_element or self.bytes_per_element
        self._tensors[name] = Tensor(name, shape, width)
        return name

    def unordered(self, tensor: str) -> str:
        """Note that a declared tensor's elements may lie in any order, and return its name."""
        self._tensors[tensor] = replace(self._tensors[tensor], unordered=True)
        return tensor

    def weight(self, name: str, shape: tuple[int, ...]) -> str:
        """Declare a weight, or return the one of that name and shape that is there."""
        record = Weight(name, shape, self.bytes_per_element)
        if self._weights.setdefault(name, record) != record:
            have = self._weights[name].shape
            raise ModelError(f"{self.name}: weight {name!r} has shape {have}, not {shape}")
        return name

    def shape(self, tensor: str) -> tuple[int, ...]:
        """Sizes of a declared tensor."""
        return self._tensors[tensor].shape

    def add(self, operator: Operator) -> None:
        """Append an operator, marked with the current block."""
        self.append(replace(operator, block=self._block))

    def append(self, operator: Operator) -> None:
        """Append an operator as it is."""
        self._operators.append(operator)

    def mark(self) -> Mark:
        """Return how much has been written so far."""
        written = (self._operators, self._tensors, self._weights, self._inputs)
        return Mark(*map(len, written))

    def since(self, mark: Mark) -> Written:
        """Return what has been written since ``mark``."""
        return Written(
            tuple(self._operators[mark.operators :]),
            tuple(islice(self._tensors.values(), mark.tensors, None)),
            tuple(islice(self._weights.values(), mark.weights, None)),
            tuple(self._inputs[mark.inputs :]),
        )

    def build(self, num_sequences: int, tokens_per_sequence: int) -> OperatorGraph:
        """Freeze what was written into an operator graph."""
        return OperatorGraph(
            self.name,
            tuple(self._operators),
            self._tensors,
            self._weights,
            tuple(self._inputs),
            num_sequences,
            tokens_per_sequence,
            self.precision,
        )


def check_positive(name: str, values: Iterable[tuple[str, int]]) -> None:
    """Raise :class:`ModelError` where a size is not a positive whole number."""
    for key, value in values:
        if value < 1:
            raise ModelError(f"{name}: {key} = {value} must be at least 1")
