"""What a device-graph file of the torus family may hold."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from flexsim.device_graph.schema import Count, FileTable, LevelTable, Name, as_several
from flexsim.device_graph.torus import Torus, has_twist

TWISTED_SHAPES = "n x n x 2n and n x 2n x 2n with n of 2 or more"
_MOST_DIMENSIONS = 6


def shape_text(shape: tuple[int, ...]) -> str:
    """Return ``4 x 4 x 8``."""
    return " x ".join(map(str, shape))


class TorusTable(LevelTable):
    """The direct links between neighbours; bandwidth is per link and direction."""

    shape: tuple[Count, ...] = Field(min_length=1, max_length=_MOST_DIMENSIONS)
    wrap: Annotated[tuple[bool, ...], BeforeValidator(as_several)] = (True,)
    twisted: bool = Field(default=False, strict=True)
    host_shape: tuple[Count, ...] | None = None
    cube_shape: tuple[Count, ...] | None = None
    """Other numbers of hosts than the file's come in whole cubes of this shape."""

    @property
    def torus(self) -> Torus:
        """The shape as the router takes it."""
        return Torus(self.shape, self.wraps, self.twisted)

    @property
    def wraps(self) -> tuple[bool, ...]:
        """Whether each dimension wraps around."""
        return self.wrap * len(self.shape) if len(self.wrap) == 1 else self.wrap

    @property
    def block(self) -> tuple[int, ...]:
        """The box of devices that one host has."""
        return self.host_shape or (1,) * len(self.shape)

    @model_validator(mode="after")
    def _check(self) -> TorusTable:
        self._check_lengths()
        self._check_divides("host_shape", self.block)
        self._check_divides("cube_shape", self.cube_shape or self.block)
        text = shape_text(self.shape)
        if self.twisted and not has_twist(self.shape):
            raise ValueError(
                f"twisted = true, but a torus of {text} has no twist: choose twisted = false, or"
                f" one of the shapes {TWISTED_SHAPES}"
            )
        if self.twisted and not all(self.wraps):
            raise ValueError(
                "twisted = true needs every dimension to wrap around: choose wrap = true, or"
                " twisted = false"
            )
        return self

    def _check_lengths(self) -> None:
        cube = self.cube_shape or self.block
        for key, value in (("wrap", self.wraps), ("host_shape", self.block), ("cube_shape", cube)):
            if len(value) != len(self.shape):
                raise ValueError(
                    f"{key} has {len(value)} values, but shape has {len(self.shape)}: give one a"
                    " dimension"
                )

    def _check_divides(self, key: str, box: tuple[int, ...]) -> None:
        if any(size % part for size, part in zip(self.shape, box, strict=True)):
            raise ValueError(
                f"{key} = {list(box)} does not divide the torus of {shape_text(self.shape)}:"
                " choose divisors of its sizes"
            )


class TorusFile(FileTable):
    """Pods of devices with direct links to their neighbours."""

    device_type: Name
    devices: Count | None = None
    hosts: Count | None = None
    max_hosts: Count | None = None
    pods: Count = 1
    torus: TorusTable
    nic: LevelTable | None = None
    inter_pod: LevelTable | None = None

    @property
    def devices_per_host(self) -> int:
        """Devices of the box that one host has."""
        return _product(self.torus.block)

    @property
    def num_hosts(self) -> int:
        """Hosts of all pods."""
        return self.pods * self.torus.torus.size // self.devices_per_host

    @model_validator(mode="after")
    def _check(self) -> TorusFile:
        of_pods = "" if self.pods == 1 else f" in {self.pods} pods"
        what = f"the torus of {shape_text(self.torus.shape)}{of_pods}"
        num_devices = self.num_hosts * self.devices_per_host
        for key, given, right in (
            ("devices", self.devices, num_devices),
            ("hosts", self.hosts, self.num_hosts),
        ):
            if given not in (None, right):
                raise ValueError(
                    f"{key} = {given}, but {what} has {right} {key}: choose {key} = {right}, or"
                    " another shape"
                )
        self._check_pods()
        return self

    def _check_pods(self) -> None:
        if self.pods > 1 and self.inter_pod is None:
            raise ValueError(
                f"pods = {self.pods}, but the table inter_pod is missing, so the pods cannot"
                " reach one another"
            )
        if self.inter_pod and self.nic is None:
            raise ValueError(
                "the table nic is missing: it says how devices reach the network card of their"
                " host, which inter_pod joins"
            )
        if self.nic and self.inter_pod is None:
            raise ValueError("the table nic needs a table inter_pod beside it")


def _product(sizes: tuple[int, ...]) -> int:
    product = 1
    for size in sizes:
        product *= size
    return product
