"""Repeated blocks: written once, then copied under other names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flexsim.operator_graph.builder import GraphBuilder, Written
from flexsim.operator_graph.copies import Copier
from flexsim.operator_graph.records import gradient


def repeat(
    builder: GraphBuilder, blocks: Sequence[str], write: Callable[[str], str], x: str
) -> str:
    """Write a chain of equal blocks, each reading the result of the one before, the first ``x``.

    ``write(x)`` writes one block and returns its result, the same whatever the block's name.
    Where copies of the first block come to the same it is called only once.
    """
    before, source = builder.mark(), x
    for position, block in enumerate(blocks):
        if position == 1:
            first = _First(blocks[0], builder.since(before), source, x)
            if first.declares_own_names and builder.shape(source) == builder.shape(x):
                return _copies(builder, first, blocks[1:])
        with builder.block(block):
            x = write(x)
    return x


@dataclass(frozen=True)
class _First:
    """The block that was written: what it added, the tensor it read, the one it returned."""

    block: str
    written: Written
    source: str
    result: str

    @property
    def declared(self) -> tuple[str, ...]:
        """Names of its tensors and weights."""
        tensors, weights = self.written.tensors, self.written.weights
        return (*[tensor.name for tensor in tensors], *[weight.name for weight in weights])

    @property
    def declares_own_names(self) -> bool:
        """Whether every name that it declares begins with the block's."""
        own = (name.startswith(f"{self.block}.") for name in self.declared)
        return not self.written.inputs and all(own)

    def names(self, block: str, source: str) -> dict[str, str]:
        """Return the names in ``block``, which reads ``source``, of tensors and gradients."""
        length = len(self.block)
        found = {name: block + name[length:] for name in self.declared} | {self.source: source}
        return found | {gradient(old): gradient(new) for old, new in found.items()}


def _copies(builder: GraphBuilder, first: _First, blocks: Sequence[str]) -> str:
    copier, x = Copier(first.written.operators, first.block), first.result
    for block in blocks:
        names = first.names(block, x)
        for tensor in first.written.tensors:
            copy = builder.tensor(names[tensor.name], tensor.shape, tensor.bytes_per_element)
            if tensor.unordered:
                builder.unordered(copy)
        for weight in first.written.weights:
            builder.weight(names[weight.name], weight.shape)
        for operator in copier.copies(names, block):
            builder.append(operator)
        x = names[first.result]
    return x
