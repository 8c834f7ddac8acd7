"""Kernels in PyTorch: a graph's own backward steps give the gradients of its loss."""

import pytest

torch = pytest.importorskip("torch", reason="the extra 'torch' is not installed")

from flexsim.models import build_model, model_config  # noqa: E402
from flexsim.operator_graph.records import GRADIENT  # noqa: E402
from flexsim.profiling import kernels  # noqa: E402
from flexsim.profiling.execution import inputs_of, part_of  # noqa: E402
from flexsim.strategy import BASELINES, Degrees  # noqa: E402

GPT = {"layers": 2, "hidden": 16, "heads": 2, "sequence": 8, "vocabulary": 32}
MLP = {"layers": 4, "hidden": 8, "ffn": 16}


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    """Double precision, and nothing dropped."""
    monkeypatch.setattr(kernels, "DROPOUT", 0.0)
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


def loss_of(part, inputs):
    tensors = dict(inputs)
    part.forward(tensors)
    return tensors, next(tensors[name] for name in tensors if name == "loss.out").mean()


@pytest.mark.parametrize(("family", "sizes"), [("gpt", GPT), ("mlp", MLP)])
def test_backward_steps_give_the_slope_of_the_loss(family, sizes):
    graph = build_model(model_config(family, None, **sizes), 3, "fp32")
    strategy = BASELINES["single"](graph, Degrees())
    part = part_of(graph, strategy, 0)
    inputs = inputs_of(part, 32)
    tensors, _ = loss_of(part, inputs)
    part.backward(tensors)
    way = {name: torch.randn_like(weight) for name, weight in part.weights.items()}
    slope = sum((part.gradients[GRADIENT + name] * way[name]).sum() for name in way)
    step = 1e-6
    ends = []
    for sign in (1, -1):
        for name, weight in part.weights.items():
            weight.add_(sign * step * way[name])
        ends.append(float(loss_of(part, inputs)[1]))
        for name, weight in part.weights.items():
            weight.sub_(sign * step * way[name])
    assert float(slope) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-5)


def test_what_overlaps_cannot_be_measured():
    graph = build_model(model_config("lenet", None), 2, "fp32")
    part = part_of(graph, BASELINES["single"](graph, Degrees()), 0)
    with pytest.raises(kernels.UnmeasurableError, match="cannot be measured yet"):
        part.forward({})
