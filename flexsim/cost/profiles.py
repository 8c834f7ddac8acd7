# ruff: noqa: RUF009 - quantity, part_of and named return dataclass fields
"""Device profiles and software profiles: the constants of the cost model, from TOML files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from math import inf

from flexsim.collectives.table import ALGORITHMS
from flexsim.cost.tables import named, part_of, quantity, read_record
from flexsim.errors import ProfileError, choices_text
from flexsim.files import find_file, read_toml

KEPT_IN_FP8 = ("products", "activations")
"""What a software profile may list under ``kept_in_fp8``."""
ALL_REDUCES = ("rings", "star")
"""What a software profile may say of ``all_reduce``."""

NCCL: Mapping[str, tuple[str, ...]] = {
    "all-reduce": ("ring", "hierarchical", "tree", "in-network"),
    "all-gather": ("ring", "hierarchical"),
    "reduce-scatter": ("ring", "hierarchical"),
    "all-to-all": ("direct",),
    "broadcast": ("ring",),
}
"""The algorithms that NCCL has (docs/user-guide, NCCL_ALGO), under our names."""


@dataclass(frozen=True)
class MatmulConstants:
    """Constants of the matrix-product formula; see :mod:`flexsim.cost.roofline`."""

    efficiency: float = quantity("fraction")
    """Share of peak of a large product, run alone."""
    half_depth: float = quantity("number")
    """Inner size k at which filling and draining a tile costs as much as the product."""
    launch_ns: float = quantity("time")
    bandwidth_efficiency: float = quantity("fraction")
    wave_weight: float = quantity("number")
    """How much of the last wave's idle multiprocessors is really lost, 0 to 1."""
    tile_penalty: float = quantity("number")
    """How much slower small tiles are: rate ~ area / (area + penalty · 64²)."""
    input_gradient_factor: float = quantity("fraction")
    weight_gradient_factor: float = quantity("fraction")
    split_depth: float = quantity("number", default=0.0)
    """Products of few tiles are cut along k into shares of at least this depth; 0: never."""
    alignment_bytes: float = quantity("number", default=0.0)
    """Batched products of which n or k is no multiple of it take the rate of fp32; 0: none do."""


@dataclass(frozen=True)
class AttentionConstants:
    """Share of peak that fused attention reaches on the operations it executes."""

    forward_efficiency: float = quantity("fraction")
    backward_efficiency: float = quantity("fraction")


@dataclass(frozen=True)
class MemoryBoundConstants:
    """Kernels that move bytes: start-up time and share of the memory bandwidth."""

    launch_ns: float = quantity("time")
    efficiency: float = quantity("fraction")
    kinds: dict[str, float] = quantity("fractions", default_factory=dict)
    """Shares of single kinds of kernels that differ."""


@dataclass(frozen=True)
class CollectiveConstants:
    """What a collective costs beside its links; see :mod:`flexsim.cost.collectives`."""

    launch_ns: float = quantity("time")
    copy_bandwidth_bytes_per_s: float = quantity("bandwidth")
    """Bandwidth at which a member handles its own share of the message."""
    ramp: float = quantity("number")
    """Weight of the start-up and drain of the chunk pipeline; 0 is plain α-β."""
    algorithms: Mapping[str, tuple[str, ...]] = quantity("names by name", default_factory=dict)
    """Collective to the algorithms that the device's library has; NCCL's where not given."""

    def algorithms_of(self, collective: str) -> tuple[str, ...]:
        """Return the algorithms from which the fastest is taken."""
        return self.algorithms.get(collective, NCCL[collective])


@dataclass(frozen=True)
class LinkConstants:
    """What one kind of link achieves of its data-sheet bandwidth, and how late."""

    efficiency: float = quantity("fraction")
    step_latency_ns: float = quantity("time")
    """One step of a collective, beside the latency of the links on the way."""
    transfer_efficiency: float = quantity("fraction")
    transfer_latency_ns: float = quantity("time")
    """A point-to-point transfer, beside the latency of the links on the way."""
    in_switch_bandwidth_bytes_per_s: float = quantity("bandwidth", default=0.0)
    """Message bytes a second of an all-reduce inside the switch; 0: the switch cannot."""
    in_switch_latency_ns: float = quantity("time", default=0.0)
    """An all-reduce inside the switch, beside the latency of the links on the way."""


@dataclass(frozen=True)
class HostConstants:
    """A device's link to its host, and the host's memory; see docs/saving-memory.md."""

    link_bandwidth_bytes_per_s: float = quantity("bandwidth")
    """One direction, of one device; both directions at a time."""
    link_efficiency: float = quantity("fraction")
    link_latency_ns: float = quantity("time")
    memory_bandwidth_bytes_per_s: float = quantity("bandwidth")
    """Of the whole host."""
    num_devices: int = quantity("count")
    """Devices that share the host."""
    update_efficiency: float = quantity("fraction")
    """Share of the memory bandwidth that an optimizer's update on the host reaches."""


@dataclass(frozen=True)
class DeviceProfile:
    """One device type: its data sheet and the constants of its kernels and links."""

    name: str = quantity("text")
    memory_capacity_bytes: int = quantity("size")
    memory_bandwidth_bytes_per_s: float = quantity("bandwidth")
    peak_flops: dict[str, float] = quantity("flops by precision")
    num_multiprocessors: int = quantity("count")
    sustained_factor: float = quantity("fraction")
    """Rate of matrix products in a training run over that of one run alone."""
    matmul: MatmulConstants = part_of(MatmulConstants)
    attention: AttentionConstants = part_of(AttentionConstants)
    memory_bound: MemoryBoundConstants = part_of(MemoryBoundConstants)
    collectives: CollectiveConstants = part_of(CollectiveConstants)
    links: dict[str, LinkConstants] = named(LinkConstants)
    """By link kind; ``other`` serves the kinds that are not listed."""
    host: HostConstants | None = part_of(HostConstants, default=None)
    """None: nothing can be offloaded."""

    def peak_flops_per_s(self, precision: str) -> float:
        """Return the data-sheet rate in one precision; raise :class:`ProfileError` if unknown."""
        if precision not in self.peak_flops:
            choices = choices_text(precision, self.peak_flops)
            raise ProfileError(
                f"device profile {self.name!r} has no peak for precision {precision!r}: {choices}"
            )
        return self.peak_flops[precision]

    def link(self, kind: str) -> LinkConstants:
        """Return the constants of one kind of link."""
        return self.links.get(kind, self.links["other"])


@dataclass(frozen=True)
class Unfused:
    """What lacking a fusion costs, relative to the fused kernel."""

    traffic: float = quantity("factor")
    kernels: int = quantity("count")


@dataclass(frozen=True)
class SoftwareProfile:
    """How a training stack drives the devices; every field is a key of its file."""

    name: str = quantity("text")
    host_time_per_kernel_ns: float = quantity("time")
    """What a host takes to issue a kernel."""
    memory_bound_factor: float = quantity("factor")
    """Share of memory bandwidth relative to the device's well-fused kernels."""
    fusions: tuple[str, ...] = quantity("names")
    unfused: dict[str, Unfused] = named(Unfused)
    overlap_gradients: bool = quantity("flag")
    """Whether gradients synchronize during the backward pass by default."""
    gradient_bucket_bytes: int = quantity("size")
    """Gradients that are synchronized together; 0: one collective a weight."""
    overlapped_gradient_bucket_bytes: int = quantity("size")
    """The same where gradients synchronize during the backward pass."""
    recompute_waits_for_gradient: bool = quantity("flag")
    overlap_input_gradients: bool = quantity("flag")
    """Whether the collective of an input gradient runs beside the weight-gradient product."""
    blocking_transfers: bool = quantity("flag")
    """Whether a stage goes on only after what it sends has arrived."""
    scatter_gather: bool = quantity("flag")
    """Whether a stage's tensor ranks each send their share and gather at the other end."""
    gradient_bytes_per_parameter: float = quantity("number")
    gradient_communication_bytes_per_parameter: dict[str, float] = quantity("numbers")
    """By precision: bytes of a gradient that replicas synchronize."""
    optimizer_bytes_per_parameter: float = quantity("number")
    """Memory of the optimizer state, with the 32-bit master weights."""
    optimizer_traffic_bytes_per_parameter: float = quantity("number")
    """Bytes that an update reads and writes."""
    moment_bytes_per_parameter: float = quantity("number", default=8.0)
    """The part of the optimizer state that is moments: Adam's two in 32 bit."""
    factored_moment_bytes: float = quantity("number", default=0.0)
    """Bytes of each sum by row or column where the optimizer's second moment is factored."""
    pipeline_zero_stage: int = quantity("count", default=3)
    """The highest stage of ZeRO that goes with a pipeline."""
    pads_parts: bool = quantity("flag", default=False)
    """Whether positions may be cut into parts that are not quite equal."""
    gradient_accumulation_bytes_per_parameter: dict[str, float] = quantity(
        "numbers", default_factory=dict
    )
    """By precision: bytes that a pass of its own moves to add a microbatch's gradients.

    Without an entry the weight-gradient products add to the sum themselves."""
    gradient_bytes_in_precision: dict[str, float] = quantity("numbers", default_factory=dict)
    """By precision: what takes the place of ``gradient_bytes_per_parameter``."""
    step_bytes_per_parameter: dict[str, float] = quantity("numbers", default_factory=dict)
    """By precision: what only an optimizer's step holds, such as gradients copied to fp32."""
    framework_memory_bytes: int = quantity("size", default=0)
    """What the software occupies on every device beside tensors: context, kernels, libraries."""
    fragmentation: float = quantity("number", default=0.0)
    """By which share an allocator's memory exceeds what comes and goes in it."""
    transfer_time_ns: float = quantity("time", default=0.0)
    """What a transfer between stages takes beside its links: issue, hand-over, synchronization."""
    transfer_bandwidth_bytes_per_s: float = quantity("bandwidth", default=inf)
    """The most that one transfer gets of its links."""
    weight_gradient_factor: float = quantity("factor", default=1.0)
    """Rate of weight-gradient products over the device profile's, which sum in 32 bit."""
    kept_in_fp8: tuple[str, ...] = quantity("names", default=())
    """With fp8: what a forward keeps in 8 bit where nothing else reads it, the inputs of products
    ("products") and of activation functions ("activations")."""
    host_runs_ahead: bool = quantity("flag", default=False)
    """Whether hosts issue kernels while devices are busy with earlier ones of the same pass."""
    scatters_gradients: bool = quantity("flag", default=True)
    """Whether replicas that keep shares of the optimizer's state sum gradients by shares.

    Else each gets the sum of whole gradients, and uses its share."""
    experts_one_by_one: bool = quantity("flag", default=False)
    """Whether each expert's product is a kernel that has the device for itself."""
    weight_sum_bytes_per_parameter: dict[str, float] = quantity("numbers", default_factory=dict)
    """By precision: bytes that a weight-gradient product moves to add to a sum in 32 bit.

    Without an entry it writes the gradient."""
    shares_one_by_one: bool = quantity("flag", default=False)
    """Whether weights in shares are gathered, and gradients scattered, each by itself.

    A device then waits for each, and what a backward repeats of the forward gathers once more."""
    piece_time_ns: float = quantity("time", default=0.0)
    """With it: what the host takes for one member's piece, cut from and copied into a list."""
    share_traffic: float = quantity("number", default=0.0)
    """With it: bytes that copies of a weight move in memory, a byte of it."""
    share_rate: float = quantity("factor", default=1.0)
    """With it: the rate of these messages over that of others."""
    whole_parameters: float = quantity("number", default=0.0)
    """With it: weights of fewer parameters are never gathered."""
    all_reduce: str = quantity("text", default="rings")
    """"rings" (a collective library) or "star" (one member sums)."""

    def in_precision(self, precision: str) -> SoftwareProfile:
        """Return the profile with what it keeps of gradients in one precision."""
        gradient = self.gradient_bytes_per_parameter
        return replace(
            self,
            gradient_bytes_per_parameter=self.gradient_bytes_in_precision.get(precision, gradient),
        )


@lru_cache(maxsize=64)
def load_device_profile(name_or_path: str) -> DeviceProfile:
    """Return a shipped device profile by name, or the user's own by path.

    Raise :class:`ProfileError` where there is none or it is malformed.
    """
    path = find_file("profiles/devices", name_or_path, ProfileError, "device profile")
    profile = read_record(DeviceProfile, read_toml(path, ProfileError), str(path))
    if "other" not in profile.links:
        raise ProfileError(f"{path}: links.other is missing; it serves links of unlisted kinds")
    _check_algorithms(profile.collectives.algorithms, str(path))
    if profile.matmul.wave_weight > 1:
        raise ProfileError(
            f"{path}: matmul.wave_weight = {profile.matmul.wave_weight} must be between 0 and 1"
        )
    return profile


def _check_algorithms(table: Mapping[str, tuple[str, ...]], path: str) -> None:
    """Raise :class:`ProfileError` for a collective or an algorithm that there is not."""
    for collective, names in table.items():
        where = f"{path}: collectives.algorithms"
        if collective not in ALGORITHMS:
            raise ProfileError(f"{where}.{collective}: {choices_text(collective, ALGORITHMS)}")
        known = ALGORITHMS[collective]
        for name in names or ("",):
            if name not in known:
                raise ProfileError(f"{where}.{collective} = {name!r}: {choices_text(name, known)}")


@lru_cache(maxsize=64)
def load_software_profile(name_or_path: str) -> SoftwareProfile:
    """Return a shipped software profile by name, or the user's own by path.

    Raise :class:`ProfileError` where there is none or it is malformed.
    """
    path = find_file("profiles/software", name_or_path, ProfileError, "software profile")
    profile = read_record(SoftwareProfile, read_toml(path, ProfileError), str(path))
    for what in profile.kept_in_fp8:
        if what not in KEPT_IN_FP8:
            raise ProfileError(f"{path}: kept_in_fp8: {what!r}: {choices_text(what, KEPT_IN_FP8)}")
    if profile.all_reduce not in ALL_REDUCES:
        raise ProfileError(
            f"{path}: all_reduce = {profile.all_reduce!r}: "
            f"{choices_text(profile.all_reduce, ALL_REDUCES)}"
        )
    return profile
