"""Profiles: every shipped file loads, and a wrong file is told in one sentence."""

from pathlib import Path

import pytest

from flexsim.cost import load_device_profile, load_software_profile
from flexsim.errors import ProfileError
from flexsim.files import data_directory, shipped_names

BEFORE_TENSOR_CORES = ("k80", "p100-16gb", "cpu-core")


@pytest.mark.parametrize("name", shipped_names("profiles/devices"))
def test_shipped_device_profiles_load(name: str) -> None:
    profile = load_device_profile(name)
    assert profile.name == name
    assert profile.memory_capacity_bytes > 10 * 2**30
    assert profile.peak_flops_per_s("fp32") > 5e10
    assert max(profile.peak_flops.values()) > 5e13 or name in BEFORE_TENSOR_CORES


@pytest.mark.parametrize("name", shipped_names("profiles/software"))
def test_shipped_software_profiles_know_every_fusion(name: str) -> None:
    profile = load_software_profile(name)
    known = {
        "bias-gelu",
        "bias-dropout-add",
        "scale-mask-softmax",
        "layer-norm",
        "swiglu",
        "rms-norm",
    }
    assert {*profile.fusions, *profile.unfused} == known
    assert profile.name == name


def test_the_quoted_profiles_are_shipped() -> None:
    devices = {"a100-80gb", "h100-80gb", "rtx-2080ti", "v100-32gb"}
    assert devices <= set(shipped_names("profiles/devices"))
    software = {"megatron-deepspeed", "megatron-lm", "megatron-lm-2019"}
    assert software <= set(shipped_names("profiles/software"))


def test_units_are_read_into_the_named_fields() -> None:
    profile = load_device_profile("a100-80gb")
    assert profile.memory_capacity_bytes == 80 * 2**30
    assert profile.memory_bandwidth_bytes_per_s == 2039e9
    assert profile.memory_bound.launch_ns == pytest.approx(2000)
    assert load_software_profile("megatron-lm").host_time_per_kernel_ns == pytest.approx(8000)
    assert load_software_profile("megatron-deepspeed").gradient_bucket_bytes == 10**9


def test_a_link_kind_that_is_not_listed_uses_other() -> None:
    profile = load_device_profile("a100-80gb")
    assert profile.link("carrier-pigeon") == profile.links["other"]
    assert profile.link("nvlink") != profile.links["other"]


def test_an_unknown_profile_is_told_with_the_nearest() -> None:
    with pytest.raises(ProfileError, match="'a100-80g': did you mean 'a100-80gb'"):
        load_device_profile("a100-80g")
    with pytest.raises(ProfileError, match="did you mean 'megatron-lm'"):
        load_software_profile("megatron_lm")


A100 = load_device_profile("a100-80gb")
SUSTAINED = f"sustained_factor = {A100.sustained_factor}"
RAMP = f"ramp = {A100.collectives.ramp}"
WRONG_DEVICES = [
    ('memory_bandwidth = "2039 GB/s"', 'memory_bandwidth = "2039 GB"', "memory_bandwidth: '2039"),
    ('memory_bandwidth = "2039 GB/s"', 'memory_bandwidth = "0 GB/s"', "must be positive"),
    ('memory_bandwidth = "2039 GB/s"', 'memory_bandwidth = "-1 GB/s"', "must not be negative"),
    (SUSTAINED, "sustained_factor = 1.2", "share between 0 and 1"),
    (SUSTAINED, "sustained_factor = nan", "not a finite number"),
    (SUSTAINED, "", "the key 'sustained_factor' is missing"),
    ("sustained_factor", "sustaned_factor", "did you mean 'sustained_factor'"),
    ("num_multiprocessors = 108", "num_multiprocessors = 1.5", "whole number"),
    ("half_depth = 208", 'half_depth = "208"', "matmul.half_depth = '208'"),
    (RAMP, "ramp = true", "collectives.ramp = True"),
    ("[links.other]", "[links.others]", "links.other is missing"),
    ("wave_weight = 0.51", "wave_weight = 1.51", "matmul.wave_weight = 1.51"),
    ('fp16 = "312 TFLOP/s"', 'fp16 = "312 T"', "peak_flops.fp16"),
]


@pytest.mark.parametrize(("right", "wrong", "words"), WRONG_DEVICES)
def test_a_wrong_device_profile_is_told_in_one_sentence(
    tmp_path: Path, right: str, wrong: str, words: str
) -> None:
    text = (data_directory("profiles/devices") / "a100-80gb.toml").read_text()
    assert right in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(right, wrong))
    with pytest.raises(ProfileError) as problem:
        load_device_profile(str(path))
    assert words in str(problem.value)
    assert str(path) in str(problem.value)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        ('host_time_per_kernel = "8 us"', "host_time_per_kernel = 8", "host_time_per_kernel: 8 is"),
        ("overlap_gradients = false", 'overlap_gradients = "no"', "must be true or false"),
        ("traffic = 4.0", "traffic = 0", "unfused.rms-norm.traffic = 0 must be positive"),
        ("kernels = 6", "kernels = 0", "unfused.rms-norm.kernels = 0"),
        ('fusions = ["bias-gelu",', "fusions = [1,", "must be a list of names"),
    ],
)
def test_a_wrong_software_profile_is_told_in_one_sentence(
    tmp_path: Path, right: str, wrong: str, words: str
) -> None:
    text = (data_directory("profiles/software") / "megatron-lm.toml").read_text()
    assert right in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(right, wrong))
    with pytest.raises(ProfileError) as problem:
        load_software_profile(str(path))
    assert words in str(problem.value)
