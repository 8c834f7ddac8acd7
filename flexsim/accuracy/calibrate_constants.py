"""The constants of profiles that runs can be fitted with: their bounds, units and defaults.

A constant is named as in its file: ``host_time_per_kernel``, ``matmul.efficiency``,
``links.nvlink.efficiency``. Values here are in the units of the file's numbers, see ``unit``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flexsim.errors import FlexSimError, choices_text


class CalibrationError(FlexSimError):
    """Constants cannot be fitted: unknown, too many, or not told by the runs."""


@dataclass(frozen=True)
class Constant:
    """A constant of a profile, between bounds with physical sense; both are above 0."""

    name: str
    low: float
    high: float
    unit: str = ""
    """As in a profile file; "" for a plain number."""
    meaning: str = ""

    def text(self, value: float) -> str:
        """Return a value as it stands in a file, with four digits."""
        number = f"{value:.4g}"
        return f'"{number} {self.unit}"' if self.unit else number

    def rounded(self, value: float) -> float:
        """Return the value that :meth:`text` writes."""
        return float(f"{value:.4g}")


SOFTWARE = (
    Constant("host_time_per_kernel", 1.0, 1000.0, "us", "a host issues a kernel"),
    Constant("memory_bound_factor", 0.2, 1.5, "", "bandwidth over well-fused kernels"),
    Constant("transfer_time", 1.0, 10_000.0, "us", "a transfer beside its links"),
    Constant("transfer_bandwidth", 1.0, 1000.0, "GB/s", "the most that a transfer gets"),
    Constant("weight_gradient_factor", 0.5, 1.5, "", "rate of weight-gradient products"),
    Constant("optimizer_traffic_bytes_per_parameter", 8.0, 200.0, "", "an update's bytes"),
)
DEVICE = (
    Constant("sustained_factor", 0.3, 1.0, "", "products in training over products alone"),
    Constant("matmul.efficiency", 0.3, 1.0, "", "share of peak of a large product"),
    Constant("matmul.half_depth", 10.0, 1000.0, "", "depth at which a product has half its rate"),
    Constant("matmul.launch", 0.5, 20.0, "us", "start and end of a product"),
    Constant("matmul.bandwidth_efficiency", 0.3, 1.0, "", "bandwidth of products"),
    Constant("attention.forward_efficiency", 0.05, 1.0, "", "share of peak, fused forward"),
    Constant("attention.backward_efficiency", 0.05, 1.0, "", "share of peak, fused backward"),
    Constant("memory_bound.launch", 0.2, 20.0, "us", "start and end of other kernels"),
    Constant("memory_bound.efficiency", 0.3, 1.0, "", "bandwidth of well-fused kernels"),
    Constant("collectives.launch", 1.0, 200.0, "us", "start of a collective"),
    Constant("collectives.copy_bandwidth", 20.0, 5000.0, "GB/s", "a member's own share"),
)
LINK = (
    Constant("efficiency", 0.1, 1.0, "", "bandwidth of collectives over the data sheet's"),
    Constant("step_latency", 0.01, 100.0, "us", "a step of a collective"),
    Constant("transfer_efficiency", 0.1, 1.0, "", "bandwidth of transfers"),
    Constant("transfer_latency", 0.1, 1000.0, "us", "a transfer"),
)
DEFAULTS: Mapping[str, tuple[str, ...]] = {
    "software": ("host_time_per_kernel", "memory_bound_factor"),
    "device": ("sustained_factor", "memory_bound.efficiency"),
    "link": ("efficiency",),
}
"""What is fitted where no constants are named, by kind of profile."""


def constants_of(kind: str, links: Sequence[str] = (), link: str = "") -> dict[str, Constant]:
    """Return the constants of a kind of profile by name; ``links`` are a device's link kinds.

    With ``link`` only those of this kind of link, under their full names.
    """
    if kind == "software":
        return {each.name: each for each in SOFTWARE}
    of_links = [
        Constant(f"links.{name}.{each.name}", each.low, each.high, each.unit, each.meaning)
        for name in ([link] if link else links)
        for each in LINK
    ]
    return {each.name: each for each in [*(() if link else DEVICE), *of_links]}


def chosen(names: Sequence[str], kind: str, known: Mapping[str, Constant]) -> list[Constant]:
    """Return the constants of these names, or the defaults of the kind.

    A link's constants may lack their ``links.<kind>.``. Raise :class:`CalibrationError` for an
    unknown name and for one that is there twice.
    """
    wanted = list(names) or list(DEFAULTS[kind])
    by_end = {name.rpartition(".")[2]: name for name in known} if kind == "link" else {}
    full = [by_end.get(name, name) for name in wanted]
    for name in full:
        if name not in known:
            raise CalibrationError(f"--constants: unknown {name!r}: {choices_text(name, known)}")
        if full.count(name) > 1:
            raise CalibrationError(f"--constants: {name!r} is there twice")
    return [known[name] for name in full]
