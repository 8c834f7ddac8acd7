"""What a device's host costs: transfers over its link, and updates of the optimizer there."""

from __future__ import annotations

from flexsim.cost.profiles import HostConstants, load_device_profile
from flexsim.errors import ProfileError
from flexsim.units import NS_PER_S


def host_of(device_type: str) -> HostConstants:
    """Return the host of a device type; raise :class:`ProfileError` where it is not known."""
    profile = load_device_profile(device_type)
    if profile.host is None:
        raise ProfileError(
            f"device profile {profile.name!r} has no [host] table, so nothing can be offloaded; "
            "add its link_bandwidth and memory_bandwidth, or leave out training.offload"
        )
    return profile.host


def link_ns(num_bytes: int, device_type: str) -> int:
    """Return how long a device's link to its host takes for a transfer in one direction."""
    host = host_of(device_type)
    rate = host.link_bandwidth_bytes_per_s * host.link_efficiency
    return max(1, round(host.link_latency_ns + num_bytes / rate * NS_PER_S))


def update_ns(num_bytes: int, device_type: str) -> int:
    """Return how long the host takes to update what one device has there.

    All its devices update at the same time and share its memory's bandwidth; ``num_bytes`` are
    read and written.
    """
    host = host_of(device_type)
    share = host.memory_bandwidth_bytes_per_s * host.update_efficiency / host.num_devices
    return max(1, round(num_bytes / share * NS_PER_S))
