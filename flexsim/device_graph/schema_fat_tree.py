"""What a device-graph file of the fat_tree family may hold: kinds of hosts, and their network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from flexsim.device_graph.schema import (
    Count,
    FileTable,
    LevelTable,
    Name,
    NetworkTable,
    SwitchLevelTable,
    Table,
    check_known,
    check_levels,
    check_unique,
)

Factor = Annotated[float, Field(ge=1, le=1000)]


class LinkGroup(LevelTable):
    """Links of a host that are alike; each carries both directions."""

    between: list[tuple[Name, Name]] = Field(min_length=1)


class HostTable(Table):
    """One host, its vertices by name; a number stands for gpu0, gpu1, ... or nic0, nic1, ..."""

    given_devices: Annotated[Count | list[Name], Field(alias="devices")]
    given_nics: Annotated[Count | list[Name], Field(alias="nics")] = []
    switches: list[Name] = []
    links: list[LinkGroup] = []

    @property
    def devices(self) -> list[str]:
        """Names of the devices."""
        return _named(self.given_devices, "gpu")

    @property
    def nics(self) -> list[str]:
        """Names of the NICs; where there are none, every device has one of its own."""
        return _named(self.given_nics, "nic")

    @property
    def vertex_names(self) -> list[str]:
        """Devices, then switches, then NICs."""
        return [*self.devices, *self.switches, *self.nics]

    @model_validator(mode="after")
    def _check(self) -> HostTable:
        names = self.vertex_names
        check_unique("device, switch or NIC", names)
        pairs = [(g, p, pair) for g, x in enumerate(self.links) for p, pair in enumerate(x.between)]
        seen: set[frozenset[str]] = set()
        for group, position, pair in pairs:
            where = f"links[{group}].between[{position}]"
            for name in pair:
                check_known(where, name, names)
            if pair[0] == pair[1]:
                raise ValueError(f"{where} leads from {pair[0]!r} to itself")
            if frozenset(pair) in seen:
                raise ValueError(
                    f"{where} joins {pair[0]!r} and {pair[1]!r} a second time: give one link with"
                    " the sum of the bandwidths"
                )
            seen.add(frozenset(pair))
        return self


class HostType(Table):
    """One kind of host: devices on a switch, or a host drawn link by link."""

    device_type: Name
    devices_per_host: Count | None = None
    hosts: Count = 1
    intra_host: SwitchLevelTable | None = None
    nic: LevelTable | None = None
    inter_host: NetworkTable | None = None
    host: HostTable | None = None

    @property
    def num_devices(self) -> int:
        """Devices of a host."""
        return len(self.host.devices) if self.host else self.devices_per_host or 1

    @property
    def num_nics(self) -> int:
        """NICs of a host: one a device unless the file says otherwise."""
        if self.host:
            return len(self.host.nics) or self.num_devices
        given = self.inter_host.nics_per_host if self.inter_host else None
        return given or self.num_devices

    @property
    def rails(self) -> int:
        """Rails of the network: one a NIC of a host unless the file says otherwise."""
        given = self.inter_host.rails if self.inter_host else None
        return given or self.num_nics

    @model_validator(mode="after")
    def _check(self) -> HostType:
        if self.host is None:
            if self.devices_per_host is None:
                raise ValueError("the key devices_per_host is missing, or a table host")
            check_levels(self, self.num_devices, self.num_nics, self.rails)
            return self
        for key in ("devices_per_host", "intra_host", "nic"):
            if getattr(self, key) is not None:
                raise ValueError(f"{key} cannot stand beside the table host, which says it all")
        if self.inter_host and self.inter_host.nics_per_host is not None:
            raise ValueError("inter_host.nics_per_host cannot stand beside host.nics")
        return self


class FatTreeTable(Table):
    """The switches between hosts; uplinks are of the kind and latency of ``inter_host``."""

    nics_per_leaf: Count
    leaves_per_pod: Count | None = None
    """Gives a third level of switches where there are more leaves."""
    oversubscription: Factor | tuple[Factor, Factor] = 1.0
    """Bandwidth down over bandwidth up: of every leaf, or of leaves and of pods."""
    uplinks: Count | None = None
    """Links up from a leaf, and so spines; as many as have the bandwidth of a NIC."""
    spreading: Literal["target", "hash"] = "target"

    @property
    def factors(self) -> tuple[float, float]:
        """Oversubscription of leaves and of pods."""
        given = self.oversubscription
        return given if isinstance(given, tuple) else (given, 1.0)

    @model_validator(mode="after")
    def _check(self) -> FatTreeTable:
        if isinstance(self.oversubscription, tuple) and self.leaves_per_pod is None:
            raise ValueError(
                "oversubscription has a value for pods, but leaves_per_pod is missing: give it,"
                " or one value"
            )
        return self


class FatTreeFile(FileTable, HostType):
    """Equal hosts and the switches between them."""

    max_hosts: Count | None = None
    fat_tree: FatTreeTable | None = None

    @property
    def host_types(self) -> list[HostType]:
        """The one kind of hosts."""
        return [self]


class MixedFile(FileTable):
    """Several kinds of hosts and the switches between them."""

    host_types: list[HostType] = Field(min_length=1)
    fat_tree: FatTreeTable | None = None


def _named(given: int | list[str], prefix: str) -> list[str]:
    return given if isinstance(given, list) else [f"{prefix}{i}" for i in range(given)]
