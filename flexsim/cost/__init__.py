"""Costs: what kernels, collectives and transfers take, from profiles of devices and software."""

from flexsim.cost.collectives import Communication
from flexsim.cost.profiles import (
    DeviceProfile,
    SoftwareProfile,
    load_device_profile,
    load_software_profile,
)
from flexsim.cost.roofline import Roofline
from flexsim.cost.work import CostModel, Work

__all__ = [
    "Communication",
    "CostModel",
    "DeviceProfile",
    "Roofline",
    "SoftwareProfile",
    "Work",
    "load_device_profile",
    "load_software_profile",
]
