"""What a device-graph file may hold: by levels, or link by link."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Protocol

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from flexsim.errors import choices_text
from flexsim.units import nanoseconds, parse_bandwidth, parse_seconds
from flexsim.validation import as_value_error

MOST_DEVICES = 2**20
_LONGEST_LATENCY_S = 60.0


def _positive(bandwidth_bytes_per_s: float) -> float:
    if bandwidth_bytes_per_s <= 0:
        raise ValueError("a bandwidth must be above zero")
    return bandwidth_bytes_per_s


def _not_negative(latency_s: float) -> int:
    if not 0 <= latency_s <= _LONGEST_LATENCY_S:
        raise ValueError(f"a latency must lie between 0 s and {_LONGEST_LATENCY_S:.0f} s")
    return nanoseconds(latency_s)


Name = Annotated[str, Field(min_length=1, max_length=100)]
Bandwidth = Annotated[
    float, BeforeValidator(as_value_error(parse_bandwidth)), AfterValidator(_positive)
]
Latency = Annotated[
    int, BeforeValidator(lambda text: _not_negative(as_value_error(parse_seconds)(text)))
]
Count = Annotated[int, Field(ge=1, le=MOST_DEVICES, strict=True)]


def as_several(given: Any) -> Any:
    """Return one value as a list of it, and a list as it is."""
    return given if isinstance(given, list | tuple) else [given]


class Table(BaseModel):
    """A table of a device-graph file: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FileTable(Table):
    """What every device-graph file may say."""

    base: Name | None = None
    """A shipped name or a path whose keys this file takes over where it gives none itself."""
    name: Name | None = None
    title: str = ""


class LevelTable(Table):
    """One level of a cluster; bandwidth is per direction."""

    kind: Name
    bandwidth: Bandwidth
    latency: Latency


class SwitchLevelTable(LevelTable):
    """The level inside a host: every device on one switch."""

    in_network_reduction: bool = Field(default=True, strict=True)
    """Whether the switch sums where the device profile gives a rate for it."""


class NetworkTable(LevelTable):
    """The level between hosts; bandwidth is per NIC and direction."""

    nics_per_host: Count | None = None
    rails: Count | None = None


class LevelsFile(FileTable):
    """A cluster of equal hosts, given level by level."""

    device_type: Name
    devices_per_host: Count
    hosts: Count = 1
    max_hosts: Count | None = None
    intra_host: SwitchLevelTable | None = None
    nic: LevelTable | None = None
    inter_host: NetworkTable | None = None

    @property
    def nics_per_host(self) -> int:
        """NICs of a host: one a device unless the file says otherwise."""
        given = self.inter_host.nics_per_host if self.inter_host else None
        return given or self.devices_per_host

    @property
    def rails(self) -> int:
        """Rail switches: one a NIC of a host unless the file says otherwise."""
        given = self.inter_host.rails if self.inter_host else None
        return given or self.nics_per_host

    @model_validator(mode="after")
    def _check(self) -> LevelsFile:
        check_levels(self, self.devices_per_host, self.nics_per_host, self.rails)
        return self


class HasLevels(Protocol):
    """The tables of a host whose devices hang on one switch."""

    @property
    def intra_host(self) -> SwitchLevelTable | None:
        """The switch inside."""

    @property
    def nic(self) -> LevelTable | None:
        """The way to NICs that devices share."""

    @property
    def inter_host(self) -> NetworkTable | None:
        """The network."""


def check_levels(table: HasLevels, devices: int, nics: int, rails: int) -> None:
    """Raise :class:`ValueError` where the numbers or the tables of a host do not fit together."""
    _check_divides("inter_host.nics_per_host", nics, devices, "devices")
    _check_divides("inter_host.rails", rails, nics, "NICs")
    if devices > 1 and table.intra_host is None:
        raise ValueError(
            f"the table intra_host is missing, so the {devices} devices of a"
            " host cannot reach one another"
        )
    if table.inter_host and nics < devices and table.nic is None:
        raise ValueError(
            f"the table nic is missing: it says how {devices} devices"
            f" reach the {nics} NICs that they share"
        )
    if table.nic and not table.inter_host:
        raise ValueError("the table nic needs a table inter_host beside it")


class DeviceTable(Table):
    """One device; ``type`` names a device profile."""

    name: Name
    host: Name
    type: Name


class SwitchTable(Table):
    """One switch or NIC, inside a host or between hosts."""

    name: Name
    host: Name | None = None


class LinkTable(LevelTable):
    """One link; it carries both directions unless ``directed``."""

    source: Name
    target: Name
    directed: bool = Field(default=False, strict=True)


class ExplicitFile(FileTable):
    """A cluster given link by link."""

    hosts: list[Name] = Field(min_length=1)
    devices: list[DeviceTable] = Field(min_length=1)
    switches: list[SwitchTable] = []
    links: list[LinkTable] = []
    spreading: Literal["none", "hash"] = "none"

    @model_validator(mode="after")
    def _check(self) -> ExplicitFile:
        check_unique("host", self.hosts)
        check_unique("device or switch", self.vertex_names)
        for position, device in enumerate(self.devices):
            check_known(f"devices[{position}].host", device.host, self.hosts)
        for position, switch in enumerate(self.switches):
            if switch.host is not None:
                check_known(f"switches[{position}].host", switch.host, self.hosts)
        self._check_links()
        return self

    @property
    def vertex_names(self) -> list[str]:
        """Devices first, then switches, in the file's order."""
        return [*(device.name for device in self.devices), *(each.name for each in self.switches)]

    def _check_links(self) -> None:
        names = set(self.vertex_names)
        seen: dict[tuple[str, str], int] = {}
        for position, link in enumerate(self.links):
            check_known(f"links[{position}].source", link.source, names)
            check_known(f"links[{position}].target", link.target, names)
            if link.source == link.target:
                raise ValueError(f"links[{position}] leads from {link.source!r} to itself")
            for pair in directions(link):
                _check_new(position, pair, seen)


def directions(link: LinkTable) -> list[tuple[str, str]]:
    """Return the one or two (source, target) pairs of a link."""
    there, back = (link.source, link.target), (link.target, link.source)
    return [there] if link.directed else [there, back]


def _check_new(position: int, pair: tuple[str, str], seen: dict[tuple[str, str], int]) -> None:
    first = seen.setdefault(pair, position)
    if first != position:
        raise ValueError(
            f"links[{position}] repeats links[{first}] from {pair[0]!r} to {pair[1]!r}:"
            " give one link with the sum of the bandwidths"
        )


def _check_divides(key: str, value: int, whole: int, what: str) -> None:
    if whole % value:
        choices = ", ".join(str(n) for n in range(1, whole + 1) if whole % n == 0)
        raise ValueError(
            f"{key} = {value} does not divide the {whole} {what} of a host; choose from {choices}"
        )


def check_unique(what: str, names: list[str]) -> None:
    """Raise :class:`ValueError` where a name is given twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"the {what} name {name!r} is given twice; names must be unique")
        seen.add(name)


def check_known(key: str, name: str, known: list[str] | set[str]) -> None:
    """Raise :class:`ValueError` with the choices where ``name`` is none of them."""
    if name not in known:
        raise ValueError(f"{key} = {name!r} is unknown: {choices_text(name, known)}")
