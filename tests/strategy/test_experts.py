"""Experts' strategies: what is cut and placed where, what that saves, and what is refused."""

from __future__ import annotations

import pytest
from shipped_scenarios import ROOT

import flexsim
from flexsim.errors import FlexSimError, StrategyError
from flexsim.models import build_model, model_config
from flexsim.operator_graph import OperatorGraph
from flexsim.strategy import Degrees, Strategy, check_strategy, layer_placement, one_weird_trick
from flexsim.task_graph.kinds import TASK_CODE


def network(preset: str, samples: int = 64) -> OperatorGraph:
    return build_model(model_config(None, preset), samples, "fp32")


def simulated(name: str, *changes: str) -> flexsim.Result:
    path = ROOT / "scenarios" / "flexflow" / f"{name}.toml"
    return flexsim.run(flexsim.load_scenario(path, changes))


def devices(strategy: Strategy, operator: str) -> list[int]:
    found: list[int] = strategy.configs[operator].mesh.flat.tolist()
    return found


def degrees_of(strategy: Strategy, operator: str) -> dict[str, int]:
    config = strategy.configs[operator]
    return {dim: config.degree(dim) for dim in config.by_dim if config.degree(dim) > 1}


def test_one_weird_trick_cuts_samples_first_and_then_outputs() -> None:
    graph = network("alexnet")
    strategy = one_weird_trick(graph, Degrees(tensor=4, data=2))
    check_strategy(strategy, graph, 8)
    assert degrees_of(strategy, "conv0") == degrees_of(strategy, "pool4") == {"b": 8}
    assert degrees_of(strategy, "linear0") == {"b": 2, "m": 4}
    assert degrees_of(strategy, "linear1_relu") == {"b": 2, "n": 4}
    assert degrees_of(strategy, "linear2") == degrees_of(strategy, "loss") == {"b": 2, "v": 4}


@pytest.mark.parametrize("preset", ["lenet-5", "vgg-16", "resnet-50", "inception-v3"])
def test_one_weird_trick_fits_every_network_with_a_classifier(preset: str) -> None:
    graph = network(preset)
    strategy = one_weird_trick(graph, Degrees(tensor=2, data=2))
    check_strategy(strategy, graph, 4)
    assert degrees_of(strategy, "loss") == {"b": 2, "v": 2}


def test_one_weird_trick_synchronizes_convolutions_only() -> None:
    """On four devices dense weights have no replicas: 2.5 of AlexNet's 61.1 million remain."""
    changes = ("strategy.name=one-weird-trick", "strategy.tensor=4", "training.micro_batch=1024")
    synchronized = [
        int(graph.num_bytes[graph.kind == TASK_CODE["gradient"]].sum())
        for graph in (
            simulated("alexnet-p100-4").task_graph,
            simulated("alexnet-p100-4", *changes).task_graph,
        )
    ]
    assert synchronized == [4 * 61_100_840, 4 * 2_469_696]


LAYERS_OF_NMT = {
    "source_embedding7": 0, "target_embedding0": 0, "encoder0.step3": 1, "decoder0.step39": 1,
    "encoder1.step0": 2, "decoder1.step0": 2, "memory": 3, "attention5": 3, "softmax0": 3,
}  # fmt: skip


def test_layers_of_one_depth_share_a_device() -> None:
    graph = network("nmt")
    strategy = layer_placement(graph, Degrees(pipeline=4, data=2))
    check_strategy(strategy, graph, 8)
    for operator, rank in LAYERS_OF_NMT.items():
        assert devices(strategy, operator) == [rank, 4 + rank]
        assert degrees_of(strategy, operator) == {"b": 2}


@pytest.mark.parametrize(
    ("num_ranks", "ranks"),
    [
        (1, [0, 0, 0, 0, 0, 0]),
        (2, [0, 0, 0, 1, 1, 1]),
        (3, [0, 0, 0, 1, 2, 2]),
        (4, [0, 0, 1, 2, 3, 3]),
        (5, [0, 0, 1, 2, 3, 4]),
        (6, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_layers_are_dealt_in_runs(num_ranks: int, ranks: list[int]) -> None:
    strategy = layer_placement(network("rnntc"), Degrees(pipeline=num_ranks))
    names = ["word_embedding0", *(f"layer{k}.step0" for k in range(4)), "softmax"]
    assert [devices(strategy, name) for name in names] == [[rank] for rank in ranks]


def test_placed_layers_work_at_the_same_time() -> None:
    """Four devices take turns on the steps: well over one device's speed, below four's."""
    alone = simulated(
        "rnntc-p100-4", "strategy.name=single", "training.micro_batch=256", "strategy.data=1"
    )
    placed = simulated(
        "rnntc-p100-4", "strategy.name=layer-placement", "strategy.pipeline=4",
        "training.micro_batch=256",
    )  # fmt: skip
    speedup = alone.metrics["iteration_time_s"] / placed.metrics["iteration_time_s"]
    assert placed.metrics["num_devices"] == 4
    assert 2 < speedup < 4


def test_a_batch_of_scenarios_simulates_experts_too() -> None:
    path = ROOT / "scenarios" / "flexflow" / "rnnlm-p100-4.toml"
    changes = ["strategy.name=layer-placement", "strategy.pipeline=2", "training.micro_batch=128"]
    scenario = flexsim.load_scenario(path, changes)
    (outcome,) = flexsim.run_many([scenario])
    alone = flexsim.run(scenario).metrics["iteration_time_s"]
    assert outcome.metrics["iteration_time_s"] == alone


@pytest.mark.parametrize("preset", ["nmt", "unet", "vit-b16"])
def test_one_weird_trick_needs_a_classifier_behind_convolutions(preset: str) -> None:
    with pytest.raises(StrategyError, match=r"no meaning for .* choose 'data'"):
        one_weird_trick(network(preset, 2), Degrees(tensor=2))


def test_layer_placement_needs_recurrent_layers() -> None:
    with pytest.raises(StrategyError, match=r"no meaning for 'alexnet', which has no recurrent"):
        layer_placement(network("alexnet", 2), Degrees(pipeline=2))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["name=one-weird-trick", "pipeline=2"], "strategy.pipeline = 2 does not go"),
        (["name=one-weird-trick", "sequence_parallel=true"], "sequence_parallel"),
        (["name=layer-placement"], "strategy 'layer-placement' has no meaning for 'alexnet'"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_file(changes: list[str], words: str) -> None:
    with pytest.raises(FlexSimError, match=r"alexnet-p100-4\.toml: ") as problem:
        simulated("alexnet-p100-4", *(f"strategy.{change}" for change in changes))
    assert words in str(problem.value)


def test_more_devices_than_layers_are_refused() -> None:
    with pytest.raises(StrategyError, match=r"strategy.pipeline = 7 .* choose from 1 to 6"):
        layer_placement(network("rnntc", 8), Degrees(pipeline=7))
