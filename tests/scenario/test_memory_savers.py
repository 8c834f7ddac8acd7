"""Ways to save memory and cuts into stages, from the scenario to its metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flexsim
from flexsim.scenario.runner import Result, run
from flexsim.scenario.schema import Scenario

MODEL = {"name": "gpt", "hidden": 2048, "heads": 16, "sequence": 1024, "vocabulary": 8192}


def scenario(
    layers: int = 8,
    training: dict[str, Any] | None = None,
    strategy: dict[str, Any] | None = None,
    **tables: Any,
) -> Scenario:
    content = {
        "model": MODEL | {"layers": layers},
        "cluster": {"device_graph": "dgx-a100", "hosts": 1},
        "training": {"global_batch": 8, **(training or {})},
        "strategy": {"name": "megatron", "pipeline": 4, "data": 1, **(strategy or {})},
        "simulation": {"engine": "compiled"},
    }
    return Scenario.from_dict(content | tables, "my.toml")


def result(*args: Any, **tables: Any) -> Result:
    return run(scenario(*args, **tables))


def stage_bytes(found: Result) -> list[int]:
    return [row["total"] for row in found.metrics["peak_memory_bytes_per_stage"]]


def layers_recomputed(found: Result) -> list[int]:
    """Return how many layers each stage repeats, by its kernels."""
    graph = found.timeline.task_graph
    rows = graph.kind == 4
    blocks = np.array([name.split(".")[0] for name in graph.operator_names])
    pairs = {
        (int(graph.actions.rank[a]), blocks[op])
        for a, op in zip(graph.action[rows], graph.operator[rows], strict=True)
    }
    return [sum(rank == each for rank, _ in pairs) for each in range(4)]


def test_the_first_layers_of_every_stage_or_every_nth_are_recomputed():
    training = {"recompute": "full"}
    full, first, every = (
        result(12, training | more)
        for more in ({}, {"recompute_layers": 1}, {"recompute_every": 2})
    )
    assert layers_recomputed(first) == [1] * 4
    assert layers_recomputed(every) == [2] * 4
    none = result(12)
    for fewer, more in ((full, every), (every, first), (first, none)):
        assert fewer.metrics["iteration_time_s"] > more.metrics["iteration_time_s"]
        assert stage_bytes(fewer)[0] < stage_bytes(more)[0]
    assert layers_recomputed(none) == [0] * 4


def test_recompute_of_no_fewer_layers_than_there_are_is_full_recompute():
    full = result(8, {"recompute": "full"})
    assert result(8, {"recompute": "full", "recompute_layers": 9}).metrics == full.metrics


def test_best_recomputation_fits_and_is_cheaper_than_named_policies():
    none, selective, full = (
        result(8, {"recompute": policy}) for policy in ("none", "selective", "full")
    )
    limit = (max(stage_bytes(selective)) + max(stage_bytes(full))) // 2
    best = result(8, {"recompute": "best", "memory_limit": limit})
    assert max(stage_bytes(best)) <= limit < max(stage_bytes(selective))
    assert none.metrics["iteration_time_s"] <= best.metrics["iteration_time_s"]
    assert best.metrics["iteration_time_s"] < full.metrics["iteration_time_s"]
    assert "layers" in best.notes[0] and "more than" not in best.notes[0]


def test_best_recomputation_is_none_where_all_fits():
    best = result(8, {"recompute": "best"})
    none = result(8)
    assert best.metrics["iteration_time_s"] == none.metrics["iteration_time_s"]
    assert best.notes == ("training.recompute = best: 8 layers kept",)


def test_best_recomputation_that_does_not_fit_is_simulated_and_says_by_how_much():
    best = result(8, {"recompute": "best", "memory_limit": "100 MB"})
    full = result(8, {"recompute": "full"})
    assert best.metrics["iteration_time_s"] == full.metrics["iteration_time_s"]
    assert "8 layers recomputed, and the fullest device still needs" in best.notes[0]


def test_best_recomputation_of_a_graph_without_layers_is_an_integer_program():
    """AlexNet on one device: half of what can be saved costs less time than all of it."""
    tables = {"model": {"name": "alexnet"}}
    strategy = {"name": "single", "pipeline": 1}

    def best(**limit: Any) -> tuple[float, int]:
        training = {"global_batch": 512, "micro_batch": 512, "recompute": "best", **limit}
        metrics = result(1, training, strategy, **tables).metrics
        return metrics["iteration_time_s"], metrics["peak_memory_bytes"]

    plain, least = best(), best(memory_limit="1 MB")
    limit = (plain[1] + least[1]) // 2
    half = best(memory_limit=limit)
    assert half[1] <= limit
    assert plain[0] < half[0] < least[0]


@pytest.mark.parametrize(("balance", "layers"), [("time", 10), ("memory", 10), ("time", 9)])
def test_balance_takes_layers_that_do_not_divide(balance, layers):
    found = result(layers, None, {"balance": balance})
    assert found.metrics["iteration_time_s"] > 0


def test_balance_in_time_beats_equal_layers_where_the_head_is_heavy():
    heavy = {"model": MODEL | {"layers": 16, "vocabulary": 200_000}}
    equal = result(16, None, None, **heavy)
    timed = result(16, None, {"balance": "time"}, **heavy)
    assert timed.metrics["iteration_time_s"] < 0.95 * equal.metrics["iteration_time_s"]


def test_balance_in_memory_lowers_the_largest_peak():
    strategy = {"balance": "memory"}
    training = {"micro_batch": 4, "global_batch": 32}
    equal, even = result(16, training), result(16, training, strategy)
    assert max(stage_bytes(even)) < max(stage_bytes(equal))
    own = result(16, training, {"layers_per_stage": [4, 4, 4, 4]})
    assert own.metrics == equal.metrics | {}


def test_the_users_own_stages_are_taken():
    found = result(8, {"recompute": "full"}, {"layers_per_stage": [1, 2, 4, 1]})
    assert layers_recomputed(found) == [1, 2, 4, 1]
    ends = result(8, None, {"layers_per_stage": [0, 4, 4, 0]})
    assert ends.metrics["iteration_time_s"] > 0


def test_optimizers_keep_what_their_moments_take():
    sizes = {}
    for name in ("adam", "sgd", "adafactor"):
        found = result(8, {"optimizer": name})
        memory = found.timeline.task_graph.static_memory
        assert memory is not None
        sizes[name] = float(memory.optimizer[1]), float(memory.weights[1]) / 2
    for name, moments in (("adam", 8), ("sgd", 4), ("adafactor", 0)):
        state, number = sizes[name]
        whole = sizes["adam"][0] / number - 8
        assert state / number == pytest.approx(whole + moments, rel=0.005)
    assert sizes["adafactor"][0] > whole * number, "rows and columns, and vectors"


def test_fp8_is_faster_where_products_are_large_and_pays_for_casts():
    cluster = {"cluster": {"device_graph": "dgx-h100", "hosts": 1}}
    strategy = {"pipeline": 1, "data": 1}
    large = {"model": MODEL | {"layers": 2, "hidden": 8192, "heads": 64}, **cluster}
    bf16, fp8 = (result(2, {"precision": p}, strategy, **large).metrics for p in ("bf16", "fp8"))
    ratio = bf16["iteration_time_s"] / fp8["iteration_time_s"]
    assert 1.2 < ratio < 2.0
    assert fp8["peak_memory_bytes"] == bf16["peak_memory_bytes"], "what is kept is bf16"
    small = {"model": MODEL | {"layers": 2, "hidden": 256, "heads": 4}, **cluster}
    bf16, fp8 = (result(2, {"precision": p}, strategy, **small).metrics for p in ("bf16", "fp8"))
    assert fp8["iteration_time_s"] > bf16["iteration_time_s"]


CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "more stages than layers": (
        {"layers": 8, "strategy": {"chunks": 4}},
        ["strategy.pipeline x strategy.chunks = 4 x 4 = 16", "model.layers = 8", "1, 2, 4, 8"],
    ),
    "more stages than layers, balanced": (
        {"layers": 3, "strategy": {"balance": "memory", "pipeline": 8}},
        ["8 stages", "3 layers", "choose at most"],
    ),
    "wrong list": (
        {"strategy": {"layers_per_stage": [2, 2, 2]}},
        ["strategy.layers_per_stage = [2, 2, 2]", "give 4 numbers", "8 layers"],
    ),
    "list and balance": (
        {"strategy": {"layers_per_stage": [2, 2, 2, 2], "balance": "time"}},
        ["strategy.balance", "strategy.layers_per_stage"],
    ),
    "unknown balance": (
        {"strategy": {"balance": "tine"}},
        ["strategy.balance = 'tine'", "layers", "time", "memory"],
    ),
    "layers without full": (
        {"training": {"recompute_layers": 2}},
        ["training.recompute_layers", "training.recompute = 'none'", "'full'"],
    ),
    "limit without best": (
        {"training": {"memory_limit": "2 GB"}},
        ["training.memory_limit", "'best'"],
    ),
    "unknown offload": (
        {"training": {"offload": ["weights"]}},
        ["training.offload", "'weights'", "activations", "optimizer"],
    ),
    "offload without a host": (
        {
            "training": {"offload": ["optimizer"], "precision": "bf16"},
            "cluster": {"device_graph": "tpu-v4-pod"},
        },
        ["'tpu-v4' has no [host] table", "training.offload"],
    ),
    "offload on links": (
        {"training": {"offload": ["optimizer"]}, "simulation": {"network": "links"}},
        ["training.offload", "simulation.network = 'links'", "analytic"],
    ),
    "fp8 on A100": (
        {"training": {"precision": "fp8"}},
        ["training.precision", "'a100-80gb'", "'fp8'", "fp16"],
    ),
    "zero-2 in DeepSpeed's pipeline": (
        {"training": {"software": "megatron-deepspeed"}, "strategy": {"zero": 2, "data": 2}},
        ["strategy.zero = 2 with strategy.pipeline = 4", "megatron-deepspeed", "from 0, 1"],
    ),
    "zero-3 with split backwards": (
        {"strategy": {"zero": 3, "data": 2, "schedule": "zb-h1"}},
        ["schedule 'zb-h1'", "strategy.zero = 3", "1f1b"],
    ),
    "offload with split backwards": (
        {"training": {"offload": ["activations"]}, "strategy": {"schedule": "zb-h1"}},
        ["schedule 'zb-h1'", "training.offload", "1f1b"],
    ),
    "balance of an expert's strategy": (
        {"strategy": {"name": "one-weird-trick", "pipeline": 1, "balance": "time"}},
        ["strategy.balance", "'one-weird-trick'", "megatron"],
    ),
    "a batch that leaves a rest": (
        {"training": {"micro_batch": 3}},
        ["training.global_batch = 8", "microbatches of 3", "choose from"],
    ),
}


@pytest.mark.parametrize("case", list(CASES))
def test_what_does_not_go_together_is_told_in_one_sentence(case):
    tables, words = CASES[case]
    tables = dict(tables)
    with pytest.raises(flexsim.FlexSimError) as problem:
        result(
            tables.pop("layers", 8),
            tables.pop("training", None),
            tables.pop("strategy", None),
            **tables,
        )
    message = str(problem.value)
    assert message.startswith("my.toml: ") and "\n" not in message
    for word in words:
        assert word in message, message


@pytest.mark.parametrize(
    ("training", "strategy"),
    [
        ({"recompute": "full", "recompute_layers": 1}, {}),
        ({"recompute": "best", "memory_limit": "3 GB"}, {}),
        ({"offload": ["activations", "optimizer"]}, {}),
        ({"optimizer": "adafactor"}, {}),
        ({}, {"balance": "memory"}),
        ({}, {"layers_per_stage": [3, 2, 2, 1]}),
    ],
)
def test_batches_of_scenarios_find_the_same(training, strategy):
    """Only uniform pipelines are grown from small ones; these must be built in full."""
    found = scenario(8, training, strategy)
    (outcome,) = flexsim.run_many([found])
    alone = run(found).metrics
    assert not outcome.error
    for key in ("iteration_time_s", "peak_memory_bytes", "num_tasks"):
        assert outcome.metrics[key] == alone[key]


@pytest.mark.parametrize("training", [{"offload": ["optimizer"]}, {"optimizer": "adafactor"}])
def test_a_search_refuses_what_it_cannot_follow(training):
    from flexsim.search.problem import plain_problem

    with pytest.raises(flexsim.FlexSimError, match=r"leave out training\.offload"):
        plain_problem(scenario(8, training))
