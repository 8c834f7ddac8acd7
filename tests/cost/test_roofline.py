"""Kernels: measured numbers, shapes, fusions, host time, and the user's own function."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flexsim
from flexsim.cost import CostModel, Roofline, Work, load_device_profile, load_software_profile
from flexsim.cost.roofline import device_seconds, product_waste
from flexsim.errors import ProfileError

MEGATRON = load_software_profile("megatron-lm")


def product(batch: int, m: int, n: int, k: int, step: str = "F") -> Work:
    num_bytes = 2 * batch * (m * k + k * n + m * n)
    return Work("matmul", step, 2 * batch * m * n * k, num_bytes, (batch, m, n, k))


# Milliseconds of bf16 products run alone: AIConfigurator, a100_sxm and h100_sxm gemm tables.
MEASURED = [
    ("a100-80gb", 8192, 8192, 8192, 3.7434),
    ("a100-80gb", 4096, 4096, 4096, 0.5395),
    ("a100-80gb", 2048, 12288, 1536, 0.3313),
    ("h100-80gb", 8192, 8192, 8192, 1.5936),
    ("h100-80gb", 4096, 4096, 4096, 0.1790),
    ("h100-80gb", 2048, 12288, 4096, 0.2595),
]


@pytest.mark.parametrize(("device", "m", "n", "k", "milliseconds"), MEASURED)
def test_products_alone_are_near_the_measured(
    device: str, m: int, n: int, k: int, milliseconds: float
) -> None:
    seconds = device_seconds(product(1, m, n, k), load_device_profile(device), sustained=False)
    assert seconds * 1e3 == pytest.approx(milliseconds, rel=0.13)


# Shares of 312 TFLOP/s in training on A100-PCIe: SimuMax, (m, n, k) forward.
@pytest.mark.parametrize(
    ("m", "n", "k", "share"),
    [(4096, 24576, 5120, 0.750), (4096, 5120, 16384, 0.749), (24640, 3072, 5120, 0.741)],
)
def test_sustained_products_are_near_those_of_training(
    m: int, n: int, k: int, share: float
) -> None:
    seconds = device_seconds(product(1, m, n, k), load_device_profile("a100-80gb"))
    assert 2 * m * n * k / seconds / 312e12 == pytest.approx(share, rel=0.06)


def test_sustained_is_slower_than_alone() -> None:
    work = product(1, 8192, 8192, 8192)
    alone = Roofline(MEGATRON, sustained=False)(work, "a100-80gb")
    factor = load_device_profile("a100-80gb").sustained_factor
    assert alone / Roofline(MEGATRON)(work, "a100-80gb") == pytest.approx(factor, rel=0.01)


def test_a_product_of_whole_waves_wastes_only_its_depth() -> None:
    profile = load_device_profile("a100-80gb")
    even = replace(profile, matmul=replace(profile.matmul, half_depth=100.0))
    assert product_waste((1, 256 * 108, 128, 1000), even) == pytest.approx(1.1)


def test_a_part_wave_wastes_its_idle_multiprocessors() -> None:
    profile = load_device_profile("a100-80gb")
    constants = replace(profile.matmul, half_depth=0.0, wave_weight=1.0, tile_penalty=1e9)
    one_tile = product_waste((1, 256, 128, 64), replace(profile, matmul=constants))
    assert one_tile == pytest.approx(108)


def test_a_batch_counts_like_more_tiles() -> None:
    profile = load_device_profile("a100-80gb")
    assert product_waste((32, 2048, 96, 2048), profile) < product_waste(
        (1, 2048, 96, 2048), profile
    )


@settings(max_examples=50)
@given(st.integers(1, 4096), st.integers(1, 4096), st.integers(1, 4096))
def test_a_deeper_product_is_never_faster(m: int, n: int, k: int) -> None:
    profile = load_device_profile("a100-80gb")
    assert device_seconds(product(1, m, n, k), profile) <= device_seconds(
        product(1, m, n, k + 1), profile
    )


@settings(max_examples=50)
@given(st.sampled_from(["softmax", "norm", "elementwise", "optimizer"]), st.integers(0, 10**9))
def test_more_bytes_never_take_less(kind: str, num_bytes: int) -> None:
    price = Roofline(MEGATRON)
    less, more = Work(kind, "F", 0, num_bytes), Work(kind, "F", 0, num_bytes + 10**7)
    assert 1 <= price(less, "v100-32gb") <= price(more, "v100-32gb")


def test_a_memory_bound_kernel_takes_its_bytes_over_the_bandwidth() -> None:
    profile = load_device_profile("a100-80gb")
    constants = profile.memory_bound
    seconds = device_seconds(Work("norm", "F", 0, 10**9), profile)
    expected = constants.launch_ns / 1e9 + 1e9 / (constants.efficiency * 2039e9)
    assert seconds == pytest.approx(expected)


def test_weight_gradients_run_slower() -> None:
    price = Roofline(MEGATRON)
    forward, weight = (price(product(1, 8192, 8192, 8192, s), "a100-80gb") for s in "FW")
    factor = load_device_profile("a100-80gb").matmul.weight_gradient_factor
    assert forward / weight == pytest.approx(factor, rel=0.01)


def test_fused_attention_reaches_the_measured_share() -> None:
    """SimuMax, A100-PCIe, 4096 tokens, 64 heads of 128: 1.187 / 2 of peak forward."""
    flops = 2 * 64 * 4096 * 4096 * 128
    work = Work("attention", "F", flops, 4 * 2 * 64 * 4096 * 128, (64, 4096, 4096, 128))
    seconds = device_seconds(work, load_device_profile("a100-80gb"), sustained=False)
    assert flops / seconds / 312e12 == pytest.approx(1.187 / 2, rel=0.05)
    few = replace(work, flops=flops // 16, num_bytes=10**6, matmul=(4, 4096, 4096, 128))
    few_seconds = device_seconds(few, load_device_profile("a100-80gb"), sustained=False)
    assert few_seconds > seconds / 16


def test_an_unfused_operator_moves_more_in_more_kernels() -> None:
    fused = Work("softmax", "F", 0, 10**8, fusion="scale-mask-softmax")
    old = load_software_profile("megatron-lm-2019")
    now, before = Roofline(MEGATRON)(fused, "v100-32gb"), Roofline(old)(fused, "v100-32gb")
    assert before == pytest.approx(old.unfused["scale-mask-softmax"].traffic * now, rel=0.02)


def test_small_kernels_wait_for_the_host() -> None:
    software = replace(load_software_profile("megatron-deepspeed"), host_runs_ahead=False)
    work = Work("elementwise", "F", 0, 1000, num_kernels=3)
    assert Roofline(software)(work, "a100-80gb") == 3 * software.host_time_per_kernel_ns


def test_a_host_that_runs_ahead_is_no_part_of_a_price() -> None:
    software = replace(load_software_profile("megatron-deepspeed"), host_runs_ahead=True)
    work = Work("elementwise", "F", 0, 1000, num_kernels=3)
    priced = Roofline(software)
    assert priced(work, "a100-80gb") < software.host_time_per_kernel_ns
    assert priced.issue_ns(work) == 3 * software.host_time_per_kernel_ns


def test_an_unknown_fusion_is_told_with_the_nearest() -> None:
    with pytest.raises(ProfileError, match="no fusion 'bias-gelo': did you mean 'bias-gelu'"):
        Roofline(MEGATRON)(Work("elementwise", "F", 0, 1, fusion="bias-gelo"), "a100-80gb")


def test_an_unsupported_precision_is_told_with_the_choices() -> None:
    work = replace(product(1, 64, 64, 64), precision="bf16")
    with pytest.raises(ProfileError, match="'v100-32gb' has no peak for precision 'bf16'"):
        Roofline(MEGATRON)(work, "v100-32gb")


def test_a_plain_function_is_a_cost_model() -> None:
    def one_nanosecond_a_megaflop(work: Work, device_type: str) -> int:
        return max(1, work.flops // 10**6)

    models: list[CostModel] = [one_nanosecond_a_megaflop, Roofline(MEGATRON)]
    work = product(1, 1000, 1000, 1000)
    assert models[0](work, "anything") == 2000
    assert models[1](work, "a100-80gb") > 1


def test_a_deep_product_of_few_tiles_fills_a_device_that_splits_it() -> None:
    """One tile of 128 x 128 on 56 multiprocessors: 56 shares along k fill them all."""
    p100 = load_device_profile("p100-16gb")
    never = replace(p100, matmul=replace(p100.matmul, split_depth=0.0))
    deep = (1, 128, 128, 56 * 512)
    assert product_waste(deep, p100) < 1.1
    assert product_waste(deep, never) > 10 * product_waste(deep, p100)


def test_shares_of_a_product_are_no_shallower_than_the_split_depth() -> None:
    p100 = load_device_profile("p100-16gb")
    never = replace(p100, matmul=replace(p100.matmul, split_depth=0.0))
    for shape in ((1, 64, 128, 1023), (1, 8192, 8192, 100_000)):
        assert product_waste(shape, p100) == product_waste(shape, never)


# Images a second on one device: TensorFlow's benchmarks (tensorflow.org, May 2017), batch 64.
@pytest.mark.parametrize(
    ("graph", "preset", "published"),
    [
        ("p100-4x4", "inception-v3", 142),
        ("p100-4x4", "resnet-50", 219),
        ("k80-16x4", "inception-v3", 30.5),
        ("k80-16x4", "resnet-50", 51.9),
    ],
)
def test_image_networks_in_fp32_are_near_the_published(
    graph: str, preset: str, published: float
) -> None:
    scenario = flexsim.Scenario.from_dict(
        {
            "model": {"preset": preset},
            "cluster": {"device_graph": graph, "hosts": 1, "devices": 1},
            "training": {
                "global_batch": 64,
                "micro_batch": 64,
                "precision": "fp32",
                "software": "flexflow",
                "optimizer": "sgd",
            },
            "strategy": {"name": "single"},
        }
    )
    speed = 64 / flexsim.run(scenario).metrics["iteration_time_s"]
    assert speed == pytest.approx(published, rel=0.05)
