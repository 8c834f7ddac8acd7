"""What optimizers keep and move, by parameter."""

from __future__ import annotations

import pytest

from flexsim.cost.host import host_of, link_ns, update_ns
from flexsim.cost.optimizers import OPTIMIZERS, factored_elements, with_optimizer
from flexsim.cost.profiles import load_software_profile
from flexsim.errors import ProfileError

MEGATRON = load_software_profile("megatron-lm")


@pytest.mark.parametrize(
    ("name", "precision", "state", "traffic"),
    [
        ("adam", "fp16", 0, 0),
        ("adam", "fp32", 4, 0),
        ("sgd", "fp16", 4, 8),
        ("adafactor", "fp16", 8, 16 - 4),
    ],
)
def test_state_and_traffic_follow_from_the_moments(name, precision, state, traffic):
    """Profiles state Adam; a moment is 4 bytes, read and written at each step."""
    software = with_optimizer(MEGATRON, OPTIMIZERS[name], precision)
    for what, less in (("bytes", state), ("traffic_bytes", traffic)):
        key = f"optimizer_{what}_per_parameter"
        assert getattr(software, key) == getattr(MEGATRON, key) - less


@pytest.mark.parametrize(
    ("shape", "number"),
    [((1024, 4096), 1024 + 4096), ((7,), 7), ((8, 1), 8), ((3, 16, 32), 3 * 16 + 3 * 32)],
)
def test_a_factored_moment_keeps_a_sum_for_every_row_and_column(shape, number):
    assert factored_elements(shape) == number


def test_the_host_shares_its_memory_among_its_devices():
    host = host_of("a100-80gb")
    rate = host.memory_bandwidth_bytes_per_s * host.update_efficiency / 8
    assert update_ns(10**9, "a100-80gb") == round(1e18 / rate)
    seconds = 1e9 / (host.link_bandwidth_bytes_per_s * host.link_efficiency)
    assert link_ns(10**9, "a100-80gb") == round(host.link_latency_ns + seconds * 1e9)


def test_a_device_without_a_known_host_offloads_nothing():
    with pytest.raises(ProfileError, match=r"'tpu-v4' has no \[host\] table"):
        link_ns(1, "tpu-v4")
