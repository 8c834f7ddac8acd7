"""What a device-graph file of the fat_tree family may hold: kinds of hosts, and their network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from flexsim.device_graph.schema import (
    MOST_DEVICES,
    Count,
    FileTable,
    LevelTable,
    Name,
    NetworkTable,
    SwitchLevelTable,
    Table,
    as_several,
    check_known,
    check_levels,
    check_unique,
)

Factor = Annotated[float, Field(ge=1, le=1000)]


def _named(prefix: str) -> Callable[[Any], Any]:
    """Return a reader that takes a number as so many names."""

    def names(given: Any) -> Any:
        is_number = isinstance(given, int) and 0 < given <= MOST_DEVICES
        return [f"{prefix}{i}" for i in range(given)] if is_number else given

    return names


class LinkGroup(LevelTable):
    """Links of a host that are alike; each carries both directions."""

    between: list[tuple[Name, Name]] = Field(min_length=1)


class HostTable(Table):
    """One host, its vertices by name; a number stands for gpu0, gpu1, ... or nic0, nic1, ..."""

    devices: Annotated[list[Name], BeforeValidator(_named("gpu")), Field(min_length=1)]
    nics: Annotated[list[Name], BeforeValidator(_named("nic"))] = Field(default_factory=list)
    """Where there are none, every device has one of its own."""
    switches: tuple[Name, ...] = ()
    links: tuple[LinkGroup, ...] = ()

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
    oversubscription: Annotated[
        tuple[Factor, ...], BeforeValidator(as_several), Field(min_length=1, max_length=2)
    ] = (1.0,)
    """Bandwidth down over bandwidth up: of every leaf, or of leaves and of pods."""
    uplinks: Count | None = None
    """Links up from a leaf, and so spines; as many as have the bandwidth of a NIC."""
    spreading: Literal["target", "hash"] = "target"

    @property
    def factors(self) -> tuple[float, float]:
        """Oversubscription of leaves and of pods."""
        of_leaf, of_pod = (*self.oversubscription, 1.0)[:2]
        return of_leaf, of_pod

    @model_validator(mode="after")
    def _check(self) -> FatTreeTable:
        if len(self.oversubscription) > 1 and self.leaves_per_pod is None:
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
