"""From a step of an operator under a config to what a cost model prices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from flexsim.cost.costs import Costs
from flexsim.cost.profiles import SoftwareProfile
from flexsim.cost.work import Issuing, Work
from flexsim.operator_graph.graph import OperatorGraph
from flexsim.operator_graph.keys import Key
from flexsim.operator_graph.records import GRADIENT, Map, Operator, Step, Use
from flexsim.strategy.config import ParallelConfig, part_sizes
from flexsim.strategy.mesh import Mesh
from flexsim.task_graph.places import Places


@dataclass(frozen=True, eq=False)
class Priced:
    """One row's members: durations, bytes moved and nominal floating-point operations."""

    duration_ns: NDArray[np.int64]
    num_bytes: NDArray[np.int64]
    flops: int
    issue_ns: int = 0
    """What a host takes to issue it, where hosts run ahead."""


_CAST_BYTES = 4
"""An element in bf16 is read, and written twice in fp8."""

Prices = dict[tuple[object, ...], Priced]
"""By a step's key and the bytes an element of its tensors."""


class Typed(Protocol):
    """Devices of which the types are known."""

    @property
    def device_types(self) -> Sequence[str]:
        """A name a device."""
        ...


class Pricing:
    """Prices rows of one model on one cluster; remembers what repeats."""

    def __init__(self, graph: OperatorGraph, devices: Typed, costs: Costs) -> None:
        """Keep what is needed to price; nothing is priced yet."""
        self._graph = graph
        self._devices = devices
        self._costs = costs
        self._types: dict[Mesh, tuple[tuple[str, ...], NDArray[np.int64]]] = {}
        self._collectives: dict[tuple[str, int, Places], NDArray[np.int64]] = {}
        self._moves: dict[tuple[bytes, Places], NDArray[np.int64]] = {}
        self._steps: dict[tuple[object, ...], Prices] = {}
        self._prices: dict[tuple[Key, ParallelConfig], Prices] = {}

    @property
    def software(self) -> SoftwareProfile:
        """How the training stack drives the devices."""
        return self._costs.software

    def compute(self, operator: Operator, config: ParallelConfig, step: Step) -> Priced:
        """Price every part of one step, once for all layers that repeat it."""
        key = self.key(step)
        prices = self._prices.get((operator.key, config))
        if prices is None:
            prices = self._prices[operator.key, config] = self._prices_of(operator, config)
        found = prices.get(key)
        if found is None:
            found = prices[key] = self._price(operator, config, step)
        return found

    def key(self, step: Step) -> tuple[object, ...]:
        """Return what is equal for steps that do the same with tensors of equal widths."""
        widths = self._graph.widths
        return (step.key, *[widths[use.tensor] for use in step.reads + step.writes])

    def _prices_of(self, operator: Operator, config: ParallelConfig) -> Prices:
        """Return where to look prices up: in one place for devices of the same types."""
        mesh = config.mesh
        names, type_of_part = self._device_types(mesh)
        shape = (config.splits, mesh.names, mesh.shape)
        return self._steps.setdefault((operator.key, shape, names, type_of_part.tobytes()), {})

    def _price(self, operator: Operator, config: ParallelConfig, step: Step) -> Priced:
        sizes = part_sizes(operator, config)
        works = [work_of(self._graph, step, box) for box in sizes.boxes]
        flops = [step.nominal_flops(box) for box in sizes.boxes]
        counts = np.bincount(sizes.box_of_part, minlength=len(works))
        return Priced(
            self.durations(works, sizes.box_of_part, config.mesh),
            np.array([w.num_bytes for w in works])[sizes.box_of_part],
            sum(int(n) * f for n, f in zip(counts, flops, strict=True)),
            self.issue_ns(works),
        )

    def durations(
        self, works: list[Work], work_of_part: NDArray[np.int64], mesh: Mesh
    ) -> NDArray[np.int64]:
        """Return the duration of every part: ``works[work_of_part[k]]`` on device k's type."""
        names, type_of_part = self._device_types(mesh)
        table = np.array(
            [[max(1, int(self._costs.compute(w, name))) for name in names] for w in works],
            np.int64,
        )
        durations: NDArray[np.int64] = table[work_of_part, type_of_part]
        return durations

    def issue_ns(self, works: Sequence[Work]) -> int:
        """Return how long a host takes to issue one of ``works``, at most.

        0 where hosts do not run ahead, and under a user's cost model, which knows no hosts.
        """
        if not self._costs.software.host_runs_ahead or not isinstance(self._costs.compute, Issuing):
            return 0
        return max((self._costs.compute.issue_ns(work) for work in works), default=0)

    def issue_of_step_ns(self, step: Step, boxes: Sequence[Mapping[str, int]]) -> int:
        """Return the same for a step on parts of these sizes."""
        if not self._costs.software.host_runs_ahead:
            return 0
        return self.issue_ns([work_of(self._graph, step, box) for box in boxes])

    def collective(self, kind: str, num_bytes: int, places: Places) -> NDArray[np.int64]:
        """Return the duration of a collective on every group."""
        key = (kind, num_bytes, places)
        if key not in self._collectives:
            found = self._costs.communication.collective_ns(kind, num_bytes, places.groups)
            self._collectives[key] = np.maximum(found, 1)
        return self._collectives[key]

    def move(self, num_bytes: NDArray[np.int64], places: Places) -> NDArray[np.int64]:
        """Return the duration of every transfer."""
        key = (num_bytes.tobytes(), places)
        if key not in self._moves:
            assert places.targets is not None
            sources = places.groups[:, 0]
            found = self._costs.communication.transfer_ns(num_bytes, sources, places.targets)
            self._moves[key] = np.maximum(found, 1)
        return self._moves[key]

    def on_host(
        self, price: Callable[[int, str], int], num_bytes: NDArray[np.int64], mesh: Mesh
    ) -> NDArray[np.int64]:
        """Return what each device's host takes for its ``num_bytes``."""
        names, type_of_part = self._device_types(mesh)
        pairs = zip(num_bytes.tolist(), type_of_part.tolist(), strict=True)
        return np.array([price(size, names[number]) for size, number in pairs], np.int64)

    def _device_types(self, mesh: Mesh) -> tuple[tuple[str, ...], NDArray[np.int64]]:
        if mesh not in self._types:
            names = [self._devices.device_types[d] for d in mesh.flat.tolist()]
            distinct = tuple(dict.fromkeys(names))
            self._types[mesh] = distinct, np.array([distinct.index(n) for n in names])
        return self._types[mesh]


def work_of(graph: OperatorGraph, step: Step, box: Mapping[str, int]) -> Work:
    """Return what one part with a ``box`` of sizes does in ``step``."""
    nominal = step.nominal_flops(box)
    product = _product(step, box)
    work = Work(
        kind=step.kernel,
        step=step.pass_name,
        flops=round(nominal * step.work_fraction),
        num_bytes=_step_bytes(graph, step, box),
        matmul=product,
        precision=graph.stored_precision,
        fusion=step.fusion,
        is_grouped=product is not None and product[0] > 1 and _has_weight(graph, step),
    )
    return _in_fp8(graph, step, box, work) if graph.precision == "fp8" else work


def _has_weight(graph: OperatorGraph, step: Step) -> bool:
    """Whether a step is a product with a weight, or makes the gradient of one."""
    touched = {use.tensor.removeprefix(GRADIENT) for use in (*step.reads, *step.writes)}
    return step.kernel == "matmul" and not touched.isdisjoint(graph.weights)


def _in_fp8(graph: OperatorGraph, step: Step, box: Mapping[str, int], work: Work) -> Work:
    """Return the work of a product with a weight in fp8; any other work as it is.

    Operands are read with a byte an element. The forward casts both, the input gradient the
    gradient that it reads; each is read once and written twice, by row and by column, so that
    the weight gradient finds both.
    """
    if work.matmul is None or not _has_weight(graph, step):
        return work
    reads = {use.tensor: use.num_elements(box) for use in step.reads if use.dense}
    fresh = [n for t, n in reads.items() if step.pass_name == "F" or t.startswith(GRADIENT)]
    casts = [] if step.pass_name == "W" else fresh
    saved = sum((graph.widths[tensor] - 1) * number for tensor, number in reads.items())
    return replace(
        work,
        num_bytes=work.num_bytes - saved,
        precision="fp8",
        cast_bytes=sum(casts) * _CAST_BYTES,
        num_casts=len(casts),
    )


def _step_bytes(graph: OperatorGraph, step: Step, box: Mapping[str, int]) -> int:
    """Count every tensor that the step touches once; a look-up moves what it looks up."""
    dense = {u.tensor: u for m in step.maps for u in m.uses if u.dense}
    total = sum(_use_bytes(graph, use, box) for use in dense.values())
    for m in step.maps:
        if any(not use.dense for use in m.uses):
            total += max(_use_bytes(graph, use, box) for use in m.uses if use.dense)
    return total


def _use_bytes(graph: OperatorGraph, use: Use, box: Mapping[str, int]) -> int:
    return _width(graph, use) * use.num_elements(box)


def _width(graph: OperatorGraph, use: Use) -> int:
    return graph.widths[use.tensor]


def _product(step: Step, box: Mapping[str, int]) -> tuple[int, int, int, int] | None:
    """Return (batch, m, n, k) of the step's products joined along their ``merge`` side."""
    products = [m for m in step.maps if m.flops_per_point]
    if step.kernel == "attention":
        heads = prod(box[d] for d in ("b", "g", "r"))
        return heads, box["s"], box["kv"], box["d"]
    if step.kernel != "matmul" or not products:
        return None
    sides = [_sides(m, box) for m in products]
    joined = dict(zip(("batch", "m", "n", "k"), sides[0], strict=True))
    if step.merge:
        column = ("batch", "m", "n", "k").index(step.merge)
        joined[step.merge] = sum(side[column] for side in sides)
    return joined["batch"], joined["m"], joined["n"], joined["k"]


def _sides(m: Map, box: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(prod(box[d] for d in dims) for dims in m.matmul_dims)
