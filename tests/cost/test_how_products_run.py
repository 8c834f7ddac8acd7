"""What slows products: heads of odd sizes, an expert at a time, sums in 32 bit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flexsim.cost import Roofline, Work, load_device_profile, load_software_profile
from flexsim.cost.roofline import device_seconds

MEGATRON = load_software_profile("megatron-lm")
A100 = load_device_profile("a100-80gb")


def product(shape: tuple[int, int, int, int], step: str = "F", **facts: object) -> Work:
    batch, m, n, k = shape
    num_bytes = 2 * batch * (m * k + k * n + m * n)
    work = Work("matmul", step, 2 * batch * m * n * k, num_bytes, shape, "bf16")
    return replace(work, **facts)


def rate(work: Work, device=A100) -> float:
    return work.flops / device_seconds(work, device)


@pytest.mark.parametrize("head", [108, 150, 450])
def test_heads_of_odd_sizes_run_at_the_rate_of_fp32(head: int) -> None:
    scores = product((64, 2048, 2048, head))
    assert rate(scores) < A100.peak_flops["fp32"] < rate(product((64, 2048, 2048, 112))) / 4
    assert rate(product((64, 2048, head, 2048))) < A100.peak_flops["fp32"]


@pytest.mark.parametrize("head", [56, 104, 144, 160])
def test_heads_of_whole_16_bytes_do_not(head: int) -> None:
    assert rate(product((64, 2048, 2048, head))) > 2 * A100.peak_flops["fp32"]


def test_only_batches_of_short_products_need_alignment() -> None:
    weights = product((1, 2048, 50257, 1024))
    careless = replace(A100, matmul=replace(A100.matmul, alignment_bytes=0.0))
    for work in (weights, product((8, 2048, 2048, 108), precision="fp32")):
        assert device_seconds(work, A100) == device_seconds(work, careless)
    odd = product((8, 2048, 2048, 108))
    assert device_seconds(odd, A100) > 3 * device_seconds(odd, careless)


def test_experts_one_by_one_take_the_time_of_one_each() -> None:
    alone = Roofline(replace(MEGATRON, experts_one_by_one=True, host_time_per_kernel_ns=0.0))
    together = Roofline(replace(MEGATRON, host_time_per_kernel_ns=0.0))
    experts = product((16, 256, 3072, 5120), is_grouped=True)
    single = product((1, 256, 3072, 5120))
    assert alone(experts, "b200") == pytest.approx(16 * alone(single, "b200"), abs=16)
    assert together(experts, "b200") < alone(experts, "b200")
    heads = product((16, 256, 3072, 5120))
    assert alone(heads, "b200") == together(heads, "b200")


def test_few_tokens_an_expert_make_sums_in_32_bit_costly() -> None:
    sums = {"weight_sum_bytes_per_parameter": {"bf16": 8.0}}
    plain, summing = (Roofline(replace(MEGATRON, **change)) for change in ({}, sums))
    few, many = product((16, 3072, 5120, 64), "W"), product((16, 3072, 5120, 8192), "W")
    moved = 16 * 3072 * 5120 * 6
    b200 = load_device_profile("b200")
    rate = b200.matmul.bandwidth_efficiency * b200.memory_bandwidth_bytes_per_s
    more_ns = summing(few, "b200") - plain(few, "b200")
    assert 0.5 * moved / rate < more_ns / 1e9 <= 1.01 * moved / rate
    assert summing(many, "b200") == plain(many, "b200")
    forward = product((16, 64, 5120, 3072))
    assert summing(forward, "b200") == plain(forward, "b200")


# Shares of 2250 TFLOP/s of grouped products on B200 (SimuMax; alone, so faster than in training).
@pytest.mark.parametrize(
    ("shape", "step", "share"),
    [
        ((160, 154, 3072, 5120), "F", 0.201),
        ((40, 616, 3072, 5120), "F", 0.466),
        ((20, 1232, 3072, 5120), "F", 0.482),
    ],
)
def test_products_of_experts_are_near_the_measured(shape, step, share) -> None:
    work = product(shape, step, is_grouped=True)
    time_ns = Roofline(load_software_profile("megatron-core"))(work, "b200")
    assert work.flops / time_ns / 2250e3 == pytest.approx(share, rel=0.35)
