"""Partial folding: how many classes there are, worked out by hand, and that it is exact."""

from __future__ import annotations

import random
from dataclasses import replace
from zlib import crc32

import numpy as np
import pytest
from fold_checks import Case, assert_folds_exactly
from hypothesis import given, settings
from hypothesis import strategies as st
from program_record import cluster, model, one_ns, software

from flexsim.cost import Work
from flexsim.cost.collectives import Communication
from flexsim.cost.costs import Costs
from flexsim.device_graph import load_device_graph
from flexsim.operator_graph import Operator, OperatorGraph
from flexsim.strategy import Degrees, Mesh, ParallelConfig, Strategy, megatron


def by_bytes(work: Work, device_type: str) -> int:
    """Price kernels by what they move, so that uneven parts differ."""
    return 1 + work.num_bytes


def few_ns(work: Work, device_type: str) -> int:
    """Price kernels with few distinct numbers, so that many tasks tie."""
    return 1 + crc32(repr((work.kind, work.step, work.num_bytes)).encode()) % 3


class Flat:
    """Every message takes as long as another of its kind and bytes, give or take a tie."""

    def __init__(self, distinct: int = 3) -> None:
        self.distinct = distinct

    def collective_ns(self, collective, num_bytes, groups, /):
        value = 1 + crc32(f"{collective}{num_bytes}".encode()) % self.distinct
        return np.full(len(groups), value, np.int64)

    def transfer_ns(self, num_bytes, sources, targets, /):
        sizes = np.broadcast_to(num_bytes, len(sources))
        return 1 + sizes.astype(np.int64) % self.distinct


class FirstGroupSlower(Flat):
    """The group of device 0 takes longer."""

    def collective_ns(self, collective, num_bytes, groups, /):
        return super().collective_ns(collective, num_bytes, groups) + (groups[:, 0] == 0)


def case(
    graph: OperatorGraph, strategy: Strategy, compute=one_ns, communication=None, devices=None
):
    """Return a case on two hosts with flat prices, where nothing else is said."""
    costs = Costs(compute, communication or Flat(), software())
    return Case(graph, strategy, devices or cluster(), costs)


def megatron_case(degrees: Degrees, sizes=None, **prices) -> Case:
    graph = model(sequences=2 * degrees.data, **(sizes or {}))
    return case(graph, megatron(graph, degrees), **prices)


WIDE = {"heads": 12, "hidden": 24}
SEVEN = {"heads": 6, "hidden": 12, "vocabulary": 35}


@pytest.mark.parametrize(("tensor", "sizes"), [(3, [1, 2]), (4, [1, 3])])
def test_uneven_vocabulary(tensor, sizes):
    """35 rows of a table are 11 + 12 + 12 on three devices, 8 + 9 + 9 + 9 on four."""
    shape = WIDE | {"vocabulary": 35}
    few = assert_folds_exactly(megatron_case(Degrees(tensor=tensor), shape, compute=by_bytes))
    assert few.folding == (
        f"{tensor} devices folded to 2 classes: logits takes longer on some devices of a rank "
        "than on others"
    )
    assert few.static_memory.device.tolist() == [0, 1]
    assert few.static_memory.num_alike.tolist() == sizes


def test_uneven_vocabulary_on_replicas():
    """35 rows are 17 + 18 on two devices, in three replicas: two classes of three."""
    degrees = Degrees(tensor=2, data=3)
    few = assert_folds_exactly(megatron_case(degrees, SEVEN, compute=by_bytes))
    assert few.static_memory.device.tolist() == [0, 1]
    assert few.static_memory.num_alike.tolist() == [3, 3]


def test_two_devices_that_differ_are_both_simulated():
    few = assert_folds_exactly(megatron_case(Degrees(tensor=2), SEVEN, compute=by_bytes))
    assert few.num_tasks_folded_away == 0
    assert few.folding == (
        "not folded, all 2 devices simulated: logits takes longer on some devices of a rank "
        "than on others"
    )


def test_uneven_vocabulary_on_the_last_of_two_ranks():
    """Rank 1 has 16 rows of the table on one device and 17 on the other; rank 0 feels it."""
    graph = model(sequences=4, vocabulary=33, tied_embedding=False)
    strategy = megatron(graph, Degrees(tensor=2, data=2, pipeline=2, num_microbatches=2))
    few = assert_folds_exactly(case(graph, strategy, by_bytes))
    assert few.folding.startswith("8 devices folded to 4 classes: logits takes longer")


def test_groups_of_six_on_hosts_of_eight():
    """Devices 0–5 share a host, 6–11 do not; gradients of 0 and 1 stay in the host.

    So {0, 1}, {2…5} and their twins {6, 7}, {8…11} are the classes.
    """
    devices = load_device_graph("dgx-a100", hosts=2)
    sizes = {"heads": 6, "hidden": 24, "vocabulary": 36}
    prices = Communication.of(devices, software())
    few = assert_folds_exactly(
        megatron_case(Degrees(tensor=6, data=2), sizes, communication=prices, devices=devices)
    )
    assert few.static_memory.device.tolist() == [0, 2, 6, 8]
    assert few.static_memory.num_alike.tolist() == [2, 4, 2, 4]
    assert few.folding.startswith("12 devices folded to 4 classes: ")


def test_hosts_of_two_types():
    devices = load_device_graph("dgx-a100", hosts=2)
    mixed = replace(devices, device_types=("a100-80gb",) * 8 + ("v100-32gb",) * 8)

    def by_type(work: Work, device_type: str) -> int:
        return 1 + (device_type == "v100-32gb")

    degrees = Degrees(tensor=4, data=4)
    few = assert_folds_exactly(megatron_case(degrees, compute=by_type, devices=mixed))
    assert few.static_memory.device.tolist() == [0, 8]
    assert few.folding.startswith("16 devices folded to 2 classes: word_embedding takes longer")


def test_equal_prices_on_two_types_fold_wholly():
    devices = load_device_graph("dgx-a100", hosts=2)
    mixed = replace(devices, device_types=("a100-80gb",) * 8 + ("v100-32gb",) * 8)
    few = assert_folds_exactly(megatron_case(Degrees(tensor=4, data=4), devices=mixed))
    assert few.folding == "16 devices folded to 1, one for each pipeline rank"


def cut_by(graph: OperatorGraph, mesh: Mesh, cut) -> Strategy:
    """Return a strategy on one mesh, with the cuts that ``cut`` gives an operator."""
    configs = {}
    for op in graph.operators:
        names = {dim.name for dim in op.dims if dim.max_degree is None}
        splits = {dim: axes for dim, axes in cut(op).items() if dim in names}
        configs[op.name] = ParallelConfig.of(mesh, splits)
    return Strategy("by hand", configs, num_microbatches=2)


def context(op: Operator) -> dict[str, tuple[str, ...]]:
    """Cut the sequence, and replicas by sequences; keys and values are gathered."""
    return {"b": ("data",), "s": ("context",)}


def heads_or_positions(op: Operator) -> dict[str, tuple[str, ...]]:
    """Cut positions, but heads in the attention: all-to-all before and after."""
    heads = "attention" in op.name and any(dim.name == "g" for dim in op.dims)
    return {"g": ("expert",)} if heads else {"s": ("expert",)}


def test_context_ranks():
    mesh = Mesh(("data", "context"), np.arange(8).reshape(2, 4))
    graph = model(sequences=4)
    few = assert_folds_exactly(case(graph, cut_by(graph, mesh, context), by_bytes))
    assert few.folding == "8 devices folded to 1, one for each pipeline rank"


def test_uneven_context_ranks():
    """Ten positions on four devices are 2 + 3 + 2 + 3."""
    mesh = Mesh(("data", "context"), np.arange(8).reshape(2, 4))
    graph = model(sequences=4, sequence=10)
    few = assert_folds_exactly(case(graph, cut_by(graph, mesh, context), by_bytes))
    assert few.static_memory.device.tolist() == [0, 1]
    assert few.static_memory.num_alike.tolist() == [4, 4]


def test_all_to_all_ranks():
    mesh = Mesh(("data", "expert"), np.arange(8).reshape(2, 4))
    graph = model(sequences=4)
    few = assert_folds_exactly(case(graph, cut_by(graph, mesh, heads_or_positions), by_bytes))
    assert few.folding == "8 devices folded to 1, one for each pipeline rank"


def test_a_slower_group_parts_what_it_touches():
    """The tensor group of device 0 is slow and so is its replica group: nothing is alike."""
    prices = FirstGroupSlower()
    few = assert_folds_exactly(megatron_case(Degrees(tensor=2, data=2), communication=prices))
    assert few.num_tasks_folded_away == 0
    assert few.folding.startswith("not folded, all 4 devices simulated: ")
    assert few.folding.endswith("takes longer on some devices of a rank than on others")


def test_operators_on_some_devices_of_a_rank():
    """The first layer's operators use devices 0 and 1 of four: two classes of two."""
    graph = model(sequences=4, layers=2, tied_embedding=False)
    narrow, wide = (Mesh(("data",), np.arange(n)) for n in (2, 4))
    configs = {
        op.name: ParallelConfig.of(narrow if op.block == "layer0" else wide, {"b": ("data",)})
        for op in graph.operators
    }
    few = assert_folds_exactly(case(graph, Strategy("narrow", configs, num_microbatches=2)))
    assert few.static_memory.device.tolist() == [0, 1, 2]
    assert few.folding.startswith("4 devices folded to 3 classes: ")
    assert few.folding.endswith("does not use all devices of a rank alike")


def test_devices_that_serve_two_ranks():
    """Both ranks run on the same two replicas: one class."""
    graph = model(sequences=4, layers=2, tied_embedding=False)
    one = megatron(graph, Degrees(data=2))
    stage_of = {op.name: int("layer1" in op.name or "final" in op.name) for op in graph.operators}
    last = [op.name for op in graph.operators][-3:]
    stage_of |= dict.fromkeys(last, 1)
    strategy = replace(
        one, stage_of=stage_of, rank_of_stage=(0, 1), schedule="1f1b", num_microbatches=2
    )
    few = assert_folds_exactly(case(graph, strategy))
    assert few.folding == "2 devices folded to 1, one for each set of pipeline ranks"


def turned(order: list[int], some: tuple[str, ...] = ()) -> Case:
    """Return replicas with ``some`` operators (all, if none) of rank 1 on another mesh."""
    graph = model("gpt", 6, layers=2, tied_embedding=False)
    strategy = megatron(graph, Degrees(pipeline=2, data=3, num_microbatches=2))
    mesh = Mesh(("data", "tensor"), np.array(order).reshape(3, 1))
    configs = {
        name: ParallelConfig.of(mesh, {"b": ("data",)})
        if strategy.stage_of[name] == 1 and (not some or name in some)
        else config
        for name, config in strategy.configs.items()
    }
    return case(graph, replace(strategy, configs=configs))


def test_turned_replicas_fold():
    """Devices 0, 1, 2 send to 4, 5, 3: one class a rank, whatever the order."""
    few = assert_folds_exactly(turned([4, 5, 3]))
    assert few.folding == "6 devices folded to 2, one for each pipeline rank"


def test_channels_between_the_same_classes_are_told_apart():
    """The head runs on 4, 5, 3: 3 sends forward to 4 and backward to 5, two channels.

    One device cannot stand for all, since it would send both through one channel.
    """
    few = assert_folds_exactly(turned([4, 5, 3], ("logits", "loss")))
    assert few.num_tasks_folded_away == 0
    assert "different partners" in few.folding


class Drawn:
    """Random cuts of operators on a grid of replicas; what differs does so in every replica."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def meshes(self, grid: np.ndarray) -> list[Mesh]:
        """Return all devices, and sometimes others: some columns, or all in another order."""
        rng, names = self.rng, ("data", self.rng.choice(["context", "expert"]))
        some = grid[:, : rng.randint(1, grid.shape[1])]
        other = rng.choice([grid, grid, some, np.roll(grid, 1, 1), np.roll(grid, 1, 0)])
        return [Mesh(names, grid)] * 5 + [Mesh(names, other)]

    def config(self, op: Operator, meshes: list[Mesh]) -> ParallelConfig:
        """Return a random cut along both axes of a mesh; what is not cut is replicated."""
        mesh = self.rng.choice(meshes)
        data, inner = mesh.names
        degree = mesh.axis_size(inner)
        limits = {dim.name: min(dim.size, dim.max_degree or dim.size) for dim in op.dims}
        fits = [
            name
            for name, limit in limits.items()
            if degree <= limit and (name in "sv" or limit % degree == 0) and name != "b"
        ]
        splits = {"b": (data,) if self.rng.random() < 0.98 else ()}
        if fits and self.rng.random() < 0.8:
            splits[self.rng.choice(fits)] = (inner,)
        return ParallelConfig.of(mesh, splits)

    def strategy(self, graph: OperatorGraph) -> Strategy:
        """Return a strategy with few kinds of configs, on two or three replicas."""
        rng, num_ranks = self.rng, self.rng.choice([1, 2])
        shape = rng.choice([(2, 1), (3, 1), (2, 2), (3, 2), (2, 3), (2, 4)])
        devices = rng.sample(range(16), num_ranks * shape[0] * shape[1])
        meshes = [self.meshes(grid) for grid in np.array(devices).reshape(num_ranks, *shape)]
        stage_of = {op.name: _stage(op, num_ranks) for op in graph.operators}
        names = {op.name: (op.name.split(".")[-1], stage_of[op.name]) for op in graph.operators}
        kinds: dict[tuple[str, int], ParallelConfig] = {}
        for op in graph.operators:
            if names[op.name] not in kinds:
                kinds[names[op.name]] = self.config(op, meshes[stage_of[op.name]])
        return Strategy(
            "drawn",
            {op.name: kinds[names[op.name]] for op in graph.operators},
            stage_of,
            rank_of_stage=tuple(range(num_ranks)),
            schedule="1f1b",
            num_microbatches=2,
            overlap_gradients=rng.random() < 0.5,
            gradient_norm=rng.random() < 0.5,
        )


def _stage(op: Operator, num_ranks: int) -> int:
    first = op.block == "layer0" or "embedding" in op.name
    return 0 if first else num_ranks - 1


@given(st.integers(0, 10**6), st.sampled_from([one_ns, few_ns, by_bytes]), st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_random_strategies_fold_exactly(seed, compute, distinct):
    graph = model("gpt", 6, tied_embedding=False, **SEVEN)
    strategy = Drawn(seed).strategy(graph)
    assert_folds_exactly(case(graph, strategy, compute, Flat(distinct)))


@given(
    st.sampled_from([(6, 1, 1), (3, 2, 2), (2, 2, 2), (4, 2, 1), (2, 3, 2), (6, 2, 1)]),
    st.booleans(),
    st.sampled_from([one_ns, few_ns, by_bytes]),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=20, deadline=None)
def test_uneven_megatron_folds_exactly(shape, priced, compute, scatter, sequence_parallel):
    tensor, data, pipeline = shape
    degrees = Degrees(
        tensor=tensor,
        data=data,
        pipeline=pipeline,
        num_microbatches=2,
        sequence_parallel=sequence_parallel,
        scatter_gather=scatter,
        schedule="1f1b",
    )
    devices = load_device_graph("dgx-a100", hosts=2)
    prices = Communication.of(devices, software()) if priced else Flat(2)
    sizes = {"heads": 12, "hidden": 24, "vocabulary": 37, "layers": 2}
    assert_folds_exactly(
        megatron_case(degrees, sizes, compute=compute, communication=prices, devices=devices)
    )
