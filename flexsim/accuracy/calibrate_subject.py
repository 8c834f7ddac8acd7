"""What is calibrated: the profile to start from, and which runs use it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flexsim.accuracy.calibrate_constants import CalibrationError, Constant
from flexsim.cost import load_device_profile, load_software_profile
from flexsim.cost.profiles import DeviceProfile, SoftwareProfile
from flexsim.device_graph import load_device_graph
from flexsim.errors import ProfileError, choices_text
from flexsim.files import find_file, read_toml, shipped_names
from flexsim.scenario.schema import Scenario

_FACTOR = {"us": 1e3, "GB/s": 1e9}


@dataclass(frozen=True)
class Subject:
    """A profile to fit.

    ``replaces`` is what the runs call the profile that the fitted one takes the place of.
    """

    kind: str
    """software, device or link."""
    path: Path
    replaces: str
    link: str = ""

    @property
    def profile(self) -> SoftwareProfile | DeviceProfile:
        """The profile to start from."""
        name = str(self.path)
        return load_software_profile(name) if self.kind == "software" else load_device_profile(name)

    @property
    def links(self) -> tuple[str, ...]:
        """The kinds of links that a device profile lists."""
        profile = self.profile
        return tuple(profile.links) if isinstance(profile, DeviceProfile) else ()

    def start(self, constant: Constant) -> float:
        """Return a constant's value in the unit of its file, moved between its bounds."""
        found: Any = self.profile
        for name in constant.name.split("."):
            found = found[name] if isinstance(found, dict) else _attribute(found, name)
        value = float(found) / _FACTOR.get(constant.unit, 1.0)
        return float(np.clip(value, constant.low, constant.high))

    def is_used_by(self, scenario: Scenario) -> bool:
        """Whether a run is simulated with the profile."""
        if self.kind == "software":
            return scenario.training.software == self.replaces
        return self.replaces in device_types(scenario)


def _attribute(record: Any, name: str) -> Any:
    known = (name, f"{name}_ns", f"{name}_bytes_per_s")
    return getattr(record, next(each for each in known if hasattr(record, each)))


def device_types(scenario: Scenario) -> set[str]:
    """Return the device types of a scenario's cluster."""
    cluster = scenario.cluster
    return set(load_device_graph(cluster.device_graph, cluster.hosts).device_types)


def subject_of(name: str, scenarios: Sequence[Scenario]) -> Subject:
    """Return the profile of a name or path: ``A100``, ``megatron-deepspeed``, ``A100.nvlink``.

    The beginning of a device type's name stands for the one type with this beginning that the
    runs use. Raise :class:`CalibrationError` where there is none.
    """
    software = sorted({scenario.training.software for scenario in scenarios})
    devices = sorted({each for scenario in scenarios for each in device_types(scenario)})
    if name.endswith(".toml"):
        return _of_file(name, software, devices)
    if name in software:
        return Subject("software", _shipped("software", name), name)
    base, _, link = name.partition(".")
    found = [each for each in devices if each == base.lower()]
    found = found or [each for each in devices if each.startswith(base.lower())]
    if len(found) != 1:
        choices = choices_text(name, [*software, *devices])
        known = base.lower() in shipped_names("profiles/devices") or base in shipped_names(
            "profiles/software"
        )
        what = "the runs do not use this profile" if known else "it is no profile of these runs"
        raise CalibrationError(f"--profile {name}: {what}; {choices}")
    subject = Subject("link" if link else "device", _shipped("devices", found[0]), found[0], link)
    if link and link not in subject.links:
        choices = choices_text(link, subject.links)
        raise CalibrationError(f"--profile {name}: {found[0]} has no links {link!r}: {choices}")
    return subject


def _shipped(kind: str, name: str) -> Path:
    return find_file(f"profiles/{kind}", name, ProfileError, "profile")


def _of_file(name: str, software: Sequence[str], devices: Sequence[str]) -> Subject:
    """Return the user's own file in the place of the only profile of its kind that runs use."""
    path = find_file("profiles", name, ProfileError, "profile")
    is_device = "memory_capacity" in read_toml(path, ProfileError)
    used = devices if is_device else software
    if len(used) != 1:
        raise CalibrationError(
            f"--profile {name}: the runs use several profiles of this kind "
            f"({', '.join(used)}), so that it is not clear which of them it stands for"
        )
    subject = Subject("device" if is_device else "software", path, used[0])
    assert subject.profile is not None
    return subject
