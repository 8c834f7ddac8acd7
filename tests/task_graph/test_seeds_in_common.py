"""Seeds that share what they have in common are those that are built each by itself."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from itertools import product

import numpy as np
import pytest

from flexsim.cost.costs import Costs
from flexsim.device_graph import load_device_graph
from flexsim.models import build_model, model_config
from flexsim.operator_graph import OperatorGraph
from flexsim.scenario.prepare import make_costs
from flexsim.strategy.baselines import Degrees, megatron
from flexsim.task_graph.findings import Findings
from flexsim.task_graph.growth import likes
from flexsim.task_graph.merged_parts import names_on_several
from flexsim.task_graph.rows import B, F
from flexsim.task_graph.short import Short, codes_of, durations_of
from flexsim.task_graph.short_pieces import load_of, structure_of
from flexsim.task_graph.strips import BLOCKS
from flexsim.task_graph.symbolic import SYMBOL
from flexsim.task_graph.uniform import Seed, build_seed, priced

SHAPE = {"hidden": 256, "heads": 8, "sequence": 64, "vocabulary": 1_000}
RECOMPUTE = ("none", "selective", "full")


@pytest.fixture(scope="module")
def costs() -> Costs:
    return make_costs(load_device_graph("dgx-a100", 1))


def small_model(layers: int, name: str = "gpt") -> OperatorGraph:
    return build_model(model_config(name, None, layers=layers, **SHAPE), 2, "fp16")


def degrees_of(tensor: int, recompute: str, pipeline: int = 3) -> Degrees:
    sequence_parallel = tensor == 4
    return Degrees(tensor, pipeline, 2, sequence_parallel=sequence_parallel, recompute=recompute)


def seed(
    graph: OperatorGraph, degrees: Degrees, costs: Costs, findings: Findings | None = None
) -> Seed:
    strategy = megatron(graph, degrees)
    given = costs.compute, costs.software, "a100-80gb"
    found = build_seed(graph, strategy, *given, findings=findings)
    assert isinstance(found, Seed), found
    return found


def content(value: object) -> object:
    """Return what can be compared with ``==``: arrays as lists, records as their fields."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.tolist()
    if isinstance(value, dict):
        return {key: content(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [content(each) for each in value]
    if is_dataclass(value) and type(value).__module__.startswith("flexsim.task_graph"):
        return {each.name: content(getattr(value, each.name)) for each in fields(value)}
    return value


COMPARED = ("strips", "messages", "parts", "flops", "curves", "received", "num_blocks")


@pytest.mark.parametrize("name", ["gpt", "llama"])
@pytest.mark.parametrize("tensor", [1, 4])
def test_findings_of_another_recomputation_change_nothing(name, tensor, costs):
    graph = small_model(3 * BLOCKS, name)
    shared = Findings(graph, megatron(graph, degrees_of(tensor, "none")))
    for recompute in RECOMPUTE:
        degrees = degrees_of(tensor, recompute)
        found = seed(graph, degrees, costs, shared)
        alone = seed(small_model(3 * BLOCKS, name), degrees, costs)
        for field in COMPARED:
            assert content(getattr(found, field)) == content(getattr(alone, field)), field
        assert [q.key[1:] for q in found.questions] == [q.key[1:] for q in alone.questions]


@pytest.mark.parametrize("times", [1, 3])
def test_what_is_known_of_other_seeds_is_what_would_be_answered(times, costs):
    known = {}
    for tensor, recompute in product((1, 2, 4), RECOMPUTE):
        small = seed(small_model(BLOCKS), degrees_of(tensor, recompute, pipeline=1), costs)
        asked, before = len(small.questions), len(known)
        found, alone = small.answers(times, known), small.answers(times)
        assert np.array_equal(found.duration_ns, alone.duration_ns)
        assert np.array_equal(found.num_bytes, alone.num_bytes)
        if recompute == "full":
            assert len(known) - before < asked / 2


def stretched_durations(small: Seed, layers: int, num_stages: int, prices: np.ndarray):
    """Return what members last, from strips with numbers in place of symbols."""
    strips = small.stretched(layers - small.num_blocks)
    likes_of = likes(num_stages, small).tolist()
    found = np.concatenate([strips[s, action].duration_ns for s in likes_of for action in (F, B)])
    symbolic = np.flatnonzero(found >= SYMBOL)
    found[symbolic] = prices[found[symbolic] - SYMBOL]
    return found


@pytest.mark.parametrize(("layers", "num_stages"), [(2, 3), (3, 5), (7, 2), (4, 5)])
@pytest.mark.parametrize("recompute", RECOMPUTE)
def test_durations_by_number_are_those_of_the_stretched_strips(
    layers, num_stages, recompute, costs
):
    plain = seed(small_model(3 * BLOCKS), degrees_of(2, recompute), costs)
    prices = np.random.default_rng(layers).integers(1, 10**6, len(plain.messages))
    for times in (1, 2):
        expected = stretched_durations(priced(plain, times), layers, num_stages, prices)
        codes, kernels_ns = codes_of(plain, layers, num_stages), plain.answers(times).duration_ns
        assert np.array_equal(durations_of(codes, kernels_ns, prices), expected)


@pytest.mark.parametrize("layers", [2, 3, 8])
def test_loads_are_those_of_the_stretched_strips(layers, costs):
    plain = seed(small_model(3 * BLOCKS), degrees_of(2, "selective"), costs)
    grown = Short(plain, layers, 3)
    tasks = [grown.strips[stage, action].num_tasks for stage in range(3) for action in (F, B)]
    found = load_of(grown)
    assert found.num_tasks.tolist() == tasks
    width = plain.devices_per_rank // plain.num_replicas
    for stage in range(3):
        symbols = np.concatenate([grown.strips[stage, a].duration_ns for a in (F, B)])
        sizes = [plain.messages[s - SYMBOL].group_size if s >= SYMBOL else 1 for s in symbols]
        assert found.num_members[stage] == sum(width // size for size in sizes)


def structure(small: Seed) -> bytes:
    return structure_of(small, names_on_several(small))


def test_structures_are_equal_for_equal_tasks_alone(costs):
    def of(tensor: int, recompute: str) -> bytes:
        degrees = replace(degrees_of(tensor, recompute), sequence_parallel=False)
        return structure(seed(graph, degrees, costs))

    graph = small_model(3 * BLOCKS)
    assert of(2, "none") == of(4, "none") == of(8, "none")
    others = {of(1, "none"), of(2, "none"), of(2, "selective"), of(2, "full")}
    assert len(others) == 4
    shifted = seed(graph, degrees_of(2, "none"), costs)
    strip = shifted.strips.of[1, F]
    turned = replace(strip, kind=strip.kind[::-1])
    strips = replace(shifted.strips, of={**shifted.strips.of, (1, F): turned})
    assert structure(replace(shifted, strips=strips)) != structure(shifted)
