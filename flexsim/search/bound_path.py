"""The bound by paths: to the loss and back, a synchronization, the optimizer's step.

A path runs from step to step of operators, through what carries tensors between them. Where a
tensor has several readers, or one reads it in several ways, what carries it may be shared, so
that only the first device's share counts. Operators without a config yet count with the least
that any of theirs takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from flexsim.operator_graph import Operator, OperatorGraph
from flexsim.operator_graph.records import gradient
from flexsim.search.bound_loads import LoadTables
from flexsim.search.exhaustive_tables import paths
from flexsim.search.moves import Edge
from flexsim.search.prices import Int64, Prices, reads_once
from flexsim.strategy import ParallelConfig

Partial = Mapping[str, ParallelConfig]
"""Configs of some operators."""
Place = tuple[str, int]
"""An operator's name and the number of one of its steps."""
Others = tuple[tuple[Place, Edge], ...]
"""Steps of other operators, each with the edge between."""


@dataclass(frozen=True)
class _Node:
    """A step and what it waits for.

    ``own`` are earlier steps of the operator whose results it reads, ``others`` steps of other
    operators with the edge between them. ``weights`` are those whose gradients it leaves.
    """

    operator: Operator
    number: int
    own: tuple[int, ...]
    others: Others
    weights: tuple[str, ...]
    is_forward: bool


class PathBound:
    """Bounds the strategies that extend a partial one by their longest paths."""

    def __init__(
        self, prices: Prices, tables: LoadTables, configs: Mapping[str, Sequence[ParallelConfig]]
    ) -> None:
        """Look at the least of every step over all configs of its operator."""
        self._prices, self._tables = prices, tables
        self._num_devices = tables.num_devices
        self._known: dict[tuple[object, ...], Int64] = {}
        self._graph = graph = prices.problem.graph
        self._nodes = [node for node in _nodes(graph) if node.is_forward or tables.trains]
        self._durations: dict[tuple[str, ParallelConfig], list[Int64]] = {}
        self._least = {op.name: self._least_of(op, configs[op.name]) for op in graph.operators}
        self._once = {
            id(edge): reads_once(edge, graph.readers[edge.read.tensor])
            for node in self._nodes
            for _, edge in node.others
        }

    def __call__(self, partial: Partial, parameters: Int64) -> int:
        """Return the bound; devices hold so many parameters of the operators with configs."""
        steps = self._tables.steps_ns(parameters)
        ends: dict[Place, Int64] = {}
        gradients: dict[str, Int64] = {}
        zeros = np.zeros_like(parameters)
        longest = 0
        for node in self._nodes:
            begin = zeros
            for number in node.own:
                begin = np.maximum(begin, ends[node.operator.name, number])
            for place, edge in node.others:
                begin = np.maximum(begin, self._carried(node, edge, partial, ends[place]))
            end = self._after(node, partial, begin)
            ends[node.operator.name, node.number] = end
            longest = max(longest, int(end.max()))
            for weight in node.weights:
                gradients[weight] = np.maximum(gradients.get(weight, zeros), end)
        follows = self._prices.problem.base.gradient_norm
        for weight, ready in gradients.items():
            end = self._summed(weight, partial, ready)
            last = int(end.max()) + int(steps.max()) if follows else int((end + steps).max())
            longest = max(longest, last)
        return longest

    def _least_of(self, operator: Operator, configs: Sequence[ParallelConfig]) -> list[int]:
        found = [[int(each.min()) for each in self._of(operator, c)] for c in configs]
        return [min(column) for column in zip(*found, strict=True)]

    def _of(self, operator: Operator, config: ParallelConfig) -> list[Int64]:
        """Return the computing time of every part in every step."""
        key = operator.name, config
        if key not in self._durations:
            self._durations[key] = [
                np.zeros(config.mesh.size, np.int64)
                if step.kernel == "alias"
                else self._prices.step_ns(operator, config, step)
                for step in operator.steps
            ]
        return self._durations[key]

    def _after(self, node: _Node, partial: Partial, begin: Int64) -> Int64:
        """Return when each device is done with a step; everywhere alike without a config."""
        config = partial.get(node.operator.name)
        if config is None:
            least_ns = self._least[node.operator.name][node.number]
            return np.full_like(begin, int(begin.min()) + least_ns)
        ends = np.zeros_like(begin)
        flat = config.mesh.flat
        ends[flat] = begin[flat] + self._of(node.operator, config)[node.number]
        return ends

    def _carried(self, node: _Node, edge: Edge, partial: Partial, ready: Int64) -> Int64:
        """Return when each device may have what a step reads of another operator."""
        writer, reader = partial.get(edge.writer.name), partial.get(edge.reader.name)
        source, target = (writer, reader) if node.is_forward else (reader, writer)
        if source is None:
            return ready
        if target is None or not self._once[id(edge)]:
            return np.full_like(ready, int(ready[source.mesh.flat].min()))
        assert writer is not None
        assert reader is not None
        return _arriving(ready, self._between(node, edge, writer, reader))

    def _between(
        self, node: _Node, edge: Edge, writer: ParallelConfig, reader: ParallelConfig
    ) -> Int64:
        """Return the longest path between any two devices along an edge."""
        key = id(edge), node.is_forward, writer, reader
        if key not in self._known:
            ends = (writer, reader) if node.is_forward else (reader, writer)
            carry = self._prices.forward if node.is_forward else self._prices.backward
            self._known[key] = paths(carry(edge, writer, reader), *ends, self._num_devices)
        return self._known[key]

    def _summed(self, weight: str, partial: Partial, ready: Int64) -> Int64:
        """Return when each device may have the sum of a weight's gradient."""
        readers = [self._graph.by_name[name] for name in self._graph.readers[weight]]
        if not self._tables.is_apart or any(op.name not in partial for op in readers):
            return ready
        if len({partial[op.name].mesh for op in readers}) > 1:
            return ready
        ends = [_arriving(ready, self._sums(op, partial[op.name], weight)) for op in readers]
        least: Int64 = np.min(ends, axis=0)
        return least

    def _sums(self, operator: Operator, config: ParallelConfig, weight: str) -> Int64:
        """Return the longest path between any two devices through a weight's collectives."""
        key = operator.name, config, weight
        if key not in self._known:
            sums = self._prices.weight_sums(operator, config, weight)
            self._known[key] = paths(sums, config, config, self._num_devices)
        return self._known[key]


def _arriving(ready: Int64, between: Int64) -> Int64:
    """Return when each device has what comes along paths ``[from, to]``; 0: never."""
    found: Int64 = (ready[:, None] + between).max(0)
    return np.maximum(found, 0)


def _nodes(graph: OperatorGraph) -> list[_Node]:
    """Return all steps so that each comes after what it waits for."""
    edges = _edges(graph)
    forward = [
        _node(op, number, _read(op, number, edges))
        for op in graph.operators
        for number in range(len(op.forward))
    ]
    backward = [
        _node(op, number, _returned(graph, op, number, edges))
        for op in reversed(graph.operators)
        for number in range(len(op.forward), len(op.steps))
    ]
    return forward + backward


def _edges(graph: OperatorGraph) -> dict[tuple[str, str], Edge]:
    """Return the edges between different operators, by tensor and reader."""
    found: dict[tuple[str, str], Edge] = {}
    for reader in graph.operators:
        for read in (use for step in reader.forward for use in step.reads):
            writer = graph.by_name.get(graph.writer.get(read.tensor, ""))
            if writer is not None and writer is not reader:
                writes = (use for step in writer.forward for use in step.writes)
                written = next(use for use in writes if use.tensor == read.tensor)
                found.setdefault((read.tensor, reader.name), Edge(writer, reader, written, read))
    return found


def _node(operator: Operator, number: int, others: Others) -> _Node:
    step = operator.steps[number]
    reads = {use.tensor for use in step.reads}
    own = [
        earlier
        for earlier in range(number)
        if any(use.tensor in reads for use in operator.steps[earlier].writes)
    ]
    left = [use.tensor for use in step.writes]
    weights = [name for name in operator.inputs if gradient(name) in left]
    return _Node(
        operator, number, tuple(own), others, tuple(weights), number < len(operator.forward)
    )


def _read(operator: Operator, number: int, edges: Mapping[tuple[str, str], Edge]) -> Others:
    """Return the steps that write what a forward step reads."""
    tensors = dict.fromkeys(use.tensor for use in operator.steps[number].reads)
    found = [edges[name, operator.name] for name in tensors if (name, operator.name) in edges]
    return tuple(
        ((edge.writer.name, number), edge)
        for edge in found
        for number in _writing(edge.writer, edge.read.tensor)
    )


def _returned(
    graph: OperatorGraph, operator: Operator, number: int, edges: Mapping[tuple[str, str], Edge]
) -> Others:
    """Return the steps of readers that leave a gradient which a backward step reads."""
    read = {use.tensor for use in operator.steps[number].reads}
    tensors = dict.fromkeys(use.tensor for step in operator.forward for use in step.writes)
    found = [
        edges[tensor, name]
        for tensor in tensors
        if gradient(tensor) in read
        for name in graph.readers.get(tensor, ())
        if name != operator.name
    ]
    return tuple(
        ((edge.reader.name, number), edge)
        for edge in found
        for number in _writing(edge.reader, gradient(edge.read.tensor))
    )


def _writing(operator: Operator, tensor: str) -> list[int]:
    """Return the numbers of the steps that write a tensor."""
    return [
        number
        for number, step in enumerate(operator.steps)
        if any(use.tensor == tensor for use in step.writes)
    ]
