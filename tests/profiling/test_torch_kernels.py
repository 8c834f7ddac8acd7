"""Kernels in PyTorch: a graph's own backward steps give the gradients of its loss."""

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="the extra 'torch' is not installed")

from flexsim.models import FAMILIES, build_model, model_config  # noqa: E402
from flexsim.operator_graph.records import GRADIENT  # noqa: E402
from flexsim.profiling import kernels  # noqa: E402
from flexsim.profiling.alone import operands  # noqa: E402
from flexsim.profiling.execution import inputs_of, part_of  # noqa: E402
from flexsim.profiling.tensors import shape_of  # noqa: E402
from flexsim.strategy import BASELINES, Degrees  # noqa: E402

TRANSFORMER = {"layers": 2, "hidden": 16, "heads": 2, "sequence": 8, "vocabulary": 32}
EXPERTS = TRANSFORMER | {"experts": 4, "chosen_experts": 2}
RECURRENT = {"layers": 1, "hidden": 16, "sequence": 4, "vocabulary": 32}
SIZES = {
    "mlp": {"layers": 4, "hidden": 8, "ffn": 16},
    "rnntc": RECURRENT,
    "rnnlm": RECURRENT,
    "nmt": RECURRENT,
    "vgg": {"layers": 11, "image": 32},
    "resnet": {"layers": 50, "image": 64},
    "resnext": {"layers": 50, "image": 64},
    "vit": {"layers": 1, "hidden": 16, "heads": 2, "image": 32},
    "unet": {"image": 188, "hidden": 4},
    "alexnet": {"image": 64},
    "inception": {"image": 107},
    "lenet": {},
    "dlrm": {"vocabulary": 100},
    "xdl": {"vocabulary": 100},
    "candle-uno": {"hidden": 64},
    "deepseek": EXPERTS | {"experts": 8},
    "mixtral": EXPERTS,
    "gpt-moe": EXPERTS,
}
EXACT = pytest.mark.parametrize("family", sorted(FAMILIES))
KEPT_ELSEWHERE = ("statistic", "logsumexp", "mask")
"""Results whose form is PyTorch's own."""


@pytest.fixture
def exact(monkeypatch):
    """Double precision, and nothing dropped."""
    monkeypatch.setattr(kernels, "DROPOUT", 0.0)
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


def graph_of(family, batch):
    sizes = SIZES.get(family, TRANSFORMER)
    return build_model(model_config(family, None, **sizes), batch, "fp32")


def loss_of(part, inputs):
    tensors = dict(inputs)
    part.forward(tensors)
    losses = [x for name, x in tensors.items() if name.startswith("loss") and name.endswith(".out")]
    return tensors, sum(loss.mean() for loss in losses)


def gradients_by_autograd(part, inputs):
    """Let PyTorch differentiate the forward steps alone."""
    for weight in part.weights.values():
        weight.requires_grad_(True)
    loss_of(part, inputs)[1].backward()
    found = {name: weight.grad for name, weight in part.weights.items()}
    for weight in part.weights.values():
        weight.requires_grad_(False)
    return found


@EXACT
def test_backward_steps_give_the_gradients_of_the_loss(family, exact):
    graph = graph_of(family, 3)
    part = part_of(graph, BASELINES["single"](graph, Degrees()), 0)
    inputs = inputs_of(part)
    fused = any(step.kernel == "attention" for op in graph.operators for step in op.forward)
    if fused:
        check_slope(part, inputs)
        return
    expected = gradients_by_autograd(part, inputs)
    with torch.no_grad():
        part.backward(loss_of(part, inputs)[0])
    for name, gradient in expected.items():
        found = part.gradients[GRADIENT + name]
        assert torch.linalg.norm(found - gradient) <= 2e-5 * torch.linalg.norm(gradient) + 1e-12


def check_slope(part, inputs):
    """Compare with differences of the loss: fused attention is cut off from what is before it."""
    step, ends = 1e-6, []
    with torch.no_grad():
        part.backward(loss_of(part, inputs)[0])
        way = {name: torch.randn_like(weight) for name, weight in part.weights.items()}
        slope = sum((part.gradients[GRADIENT + name] * way[name]).sum() for name in way)
        for sign in (1, -1):
            for name, weight in part.weights.items():
                weight.add_(sign * step * way[name])
            ends.append(float(loss_of(part, inputs)[1]))
            for name, weight in part.weights.items():
                weight.sub_(sign * step * way[name])
    assert float(slope) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-5)


def boxes_of(operator):
    """Return the whole operator, and half of its samples and of its rows where they can be cut."""
    yield dict(operator.sizes)
    for dim in operator.dims:
        is_cut = dim.name in {"b", "h"} and dim.max_degree != 1 and dim.size % 2 == 0
        if is_cut:
            yield dict(operator.sizes) | {dim.name: dim.size // 2}


@EXACT
def test_every_kernel_of_a_part_can_be_run_alone(family):
    for operator in graph_of(family, 4).operators:
        for box in boxes_of(operator):
            for step in operator.steps:
                check_alone(operator, step, box)


def check_alone(operator, step, box):
    kernel = SimpleNamespace(operator=operator, step=step, box=box)
    tensors = operands(kernel, torch.float32, "cpu")
    with torch.no_grad():
        kernels.run_step(operator, step, tensors, box)
    for use in step.writes:
        if not use.tensor.endswith(KEPT_ELSEWHERE):
            assert tuple(tensors[use.tensor].shape) == shape_of(use, box), (operator.name, step)


def test_a_kernel_that_is_not_known_is_refused_in_one_sentence():
    operator = graph_of("lenet", 2).operators[0]
    step = SimpleNamespace(kernel="matmul", pass_name="F", reads=(), writes=())
    strange = SimpleNamespace(name="op", kind="strange", forward=operator.forward)
    assert kernels.kernel_of(strange, step) is kernels.KERNELS["matmul"]
    step.kernel = "wavelet"
    with pytest.raises(kernels.UnmeasurableError, match="'wavelet' of operators of the kind"):
        kernels.kernel_of(strange, step)


def test_choices_beyond_the_slots_of_an_expert_are_dropped():
    from flexsim.profiling.experts import _brought, _placed, _slots

    numbers = torch.tensor([[[0], [0], [1], [0]]])
    slots = _slots(numbers, 2, 2)
    sent = _placed(torch.tensor([[[1.0], [2.0], [3.0], [4.0]]]), slots, (2, 1, 2, 1))
    assert sent[:, 0, :, 0].tolist() == [[1.0, 2.0], [3.0, 0.0]]
    assert _brought(sent, slots).flatten().tolist() == [1.0, 2.0, 3.0, 0.0]
