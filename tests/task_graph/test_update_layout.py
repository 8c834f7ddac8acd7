"""An update laid out from few ranks is the one that is written for all ranks and folded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from whole_updates import build_merged_update

from flexsim.cost.costs import Costs
from flexsim.device_graph import load_device_graph
from flexsim.models import build_model, model_config
from flexsim.operator_graph.graph import OperatorGraph
from flexsim.scenario.prepare import make_costs
from flexsim.strategy.baselines import Degrees, megatron, ranks_of_devices, sharding_of
from flexsim.strategy.sharding import Sharding
from flexsim.task_graph.columns import StaticMemory
from flexsim.task_graph.folding import fold_rows
from flexsim.task_graph.grown_update import long_strategy
from flexsim.task_graph.growth import Grown
from flexsim.task_graph.members import templates_of
from flexsim.task_graph.memory import static_memory
from flexsim.task_graph.merged_parts import merged_parts
from flexsim.task_graph.pricing import Pricing
from flexsim.task_graph.program import Program
from flexsim.task_graph.rows import Notebook
from flexsim.task_graph.site import Site
from flexsim.task_graph.strips import BLOCKS
from flexsim.task_graph.templates import Templates
from flexsim.task_graph.uniform import Seed, build_seed
from flexsim.task_graph.update import write_update_of

SIZES = {"name": "gpt", "preset": None, "hidden": 256, "heads": 8, "sequence": 64}
MODEL = {**SIZES, "vocabulary": 1_000}
LEVELS = ("dgx-a100", "hgx-a100-4xhdr", "dgx2-v100", "hgx-h100-roce", "p100-4x4")


@dataclass
class InFull:
    """What writing and folding all ranks' rows gives."""

    templates: Templates
    waits: list[tuple[int, int]]
    heads: list[int]
    static: StaticMemory
    num_members: int


def in_full(
    grown: Grown, whole: OperatorGraph, costs: Costs, devices: object, sharding: Sharding
) -> InFull | str:
    long = replace(long_strategy(grown), sharding=sharding)
    program = Program(whole, long, Notebook(), Pricing(whole, devices, costs))
    merged = merged_parts(grown, whole, program, costs.software)
    if isinstance(merged, str):
        return merged
    write_update_of(program, merged.parts, costs.software)
    rows, site = program.notebook.rows, grown.site
    folding = fold_rows(rows, long, ())
    if not np.array_equal(folding.devices, site.representatives):
        return "not folded"
    kept = [row._replace(needs=tuple(n for n in row.needs if n >= 0)) for row in folding.rows]
    templates = templates_of(kept, 0, site.num_ranks)
    task = np.argsort(np.argsort([row.stage for row in kept], kind="stable"))
    waits = [
        (-1 - n, int(task[i])) for i, row in enumerate(folding.rows) for n in row.needs if n < 0
    ]
    heads = [
        int(member + templates.offsets[rank])
        for rank, ends in enumerate(templates.ends)
        for device, member in zip(ends.heads.devices, ends.heads.members, strict=True)
        if device == site.representatives[rank]
    ]
    static = static_memory(program, merged.parts, costs.software, folding.devices)
    static = replace(static, num_alike=folding.class_sizes)
    count = sum(row.places.num_members for row in rows)
    return InFull(templates, sorted(waits), sorted(heads), static, count)


@lru_cache(maxsize=64)
def seed_of(small: Degrees, blocks: int, tied: bool) -> Seed:
    costs = make_costs(load_device_graph("dgx-a100", 1))
    config = model_config(**MODEL, layers=blocks * small.pipeline, tied_embedding=tied)
    graph = build_model(config, 2, "fp16")
    seed = build_seed(graph, megatron(graph, small), costs.compute, costs.software, "a100-80gb")
    assert isinstance(seed, Seed), seed
    return seed


def grown_with(degrees: Degrees, layers: int, tied: bool, costs: Costs) -> Grown:
    num_ranks = 1 if degrees.pipeline == 1 else BLOCKS
    small = replace(degrees, pipeline=num_ranks, data=2, zero=0, order=Degrees.order)
    seed = seed_of(small, BLOCKS if layers > 1 else 1, tied)
    devices = ranks_of_devices(degrees).reshape(degrees.pipeline, -1)
    return Grown(seed, Site(devices, 1, degrees.data, costs.communication), layers)


@st.composite
def cases(draw: st.DrawFn) -> tuple[str, Degrees, int, bool]:
    tensor = draw(st.sampled_from([1, 2, 4]))
    degrees = Degrees(
        tensor=tensor,
        pipeline=draw(st.integers(1, 7)),
        data=draw(st.sampled_from([1, 2, 3, 4, 8])),
        sequence_parallel=tensor > 1 and draw(st.booleans()),
        gradient_norm=draw(st.booleans()),
        zero=draw(st.integers(0, 1)),
        order=draw(
            st.sampled_from([Degrees.order, "tensor,pipeline,data", "data,tensor,pipeline"])
        ),
    )
    layers = draw(st.sampled_from([1, 3, 5]))
    return draw(st.sampled_from(LEVELS)), degrees, layers, draw(st.booleans())


@settings(max_examples=15, deadline=None)
@given(cases())
def test_laying_out_few_ranks_is_folding_all_of_them(
    case: tuple[str, Degrees, int, bool],
) -> None:
    name, degrees, layers, tied = case
    most = 4 if name == "p100-4x4" else None
    per_host = load_device_graph(name, most or 2).num_devices // (most or 2)
    hosts = most or max(2, -(-degrees.num_devices // per_host))
    devices = load_device_graph(name, hosts)
    assume(degrees.num_devices <= devices.num_devices)
    costs = make_costs(devices)
    grown = grown_with(degrees, layers, tied, costs)
    config = model_config(**MODEL, layers=layers * degrees.pipeline, tied_embedding=tied)
    whole, sharding = build_model(config, 1, "fp16"), sharding_of(degrees)
    expected = in_full(grown, whole, costs, devices, sharding)
    found = build_merged_update(grown, whole, devices, costs, sharding)
    assert isinstance(found, str) == isinstance(expected, str), (found, expected)
    if isinstance(found, str) or isinstance(expected, str):
        return
    templates = expected.templates
    table, held = templates.resource_table, templates.held
    assert np.array_equal(found.rank, templates.template_of_member)
    assert np.array_equal(found.kind, table.kind[held.values[held.offsets[:-1]]])
    assert np.array_equal(found.duration_ns, templates.duration_ns)
    assert np.array_equal(found.num_bytes, templates.num_bytes)
    assert np.array_equal(found.holds.offsets, held.offsets)
    rank = np.searchsorted(grown.site.representatives, table.device)
    assert np.array_equal(found.holds.values, rank[held.values])
    edges = zip(templates.sources, templates.targets, strict=True)
    assert sorted(zip(*found.edges, strict=True)) == sorted(edges)
    assert sorted(zip(*found.waits, strict=True)) == expected.waits
    assert sorted(found.heads) == expected.heads
    assert found.num_tasks_unfolded == expected.num_members
    for column in vars(expected.static):
        one, other = getattr(found.static_memory, column), getattr(expected.static, column)
        assert np.array_equal(one, other), column
