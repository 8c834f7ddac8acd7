"""The roofline: a kernel takes its arithmetic or its traffic, whichever is longer.

A matrix product of (batch, m, n, k) takes, in tiles of (a, b), the least over tile sizes of
``launch + max(padded flops / (peak · e · rate(a·b)) · waste · (1 + k0/k), bytes / bandwidth)``
with ``waste = w·ceil(waves)/waves + 1 - w`` and ``waves = tiles / multiprocessors``.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

from flexsim.cost.profiles import DeviceProfile, SoftwareProfile, load_device_profile
from flexsim.cost.work import Work
from flexsim.errors import ProfileError, choices_text
from flexsim.units import NS_PER_S

_TILES = ((256, 128), (128, 256), (128, 128), (128, 64), (64, 128), (64, 64))
_LARGEST_TILE = 256 * 128
_SHORT, _WIDTH = ("fp16", "bf16"), 2
"""Precisions whose Tensor Core products want aligned operands, and the bytes of an element."""


class Roofline:
    """A cost model: device profile × software profile, cached by (work, device type).

    ``sustained=False`` prices matrix products as measured alone, without the power limit of
    a long run.
    """

    def __init__(self, software: SoftwareProfile, *, sustained: bool = True) -> None:
        self.software = software
        self.sustained = sustained
        self._cached = lru_cache(maxsize=None)(self._price)

    def __call__(self, work: Work, device_type: str, /) -> int:
        """Return nanoseconds, at least 1: the longer of device time and host time.

        Where the software's hosts run ahead it is the device time alone.
        """
        return self._cached(work, device_type)

    def issue_ns(self, work: Work) -> int:
        """Return how long a host takes to issue the kernels of ``work``."""
        _, num_kernels = fusion_cost(work, self.software)
        return round(self.software.host_time_per_kernel_ns * (num_kernels + work.num_casts))

    def _price(self, work: Work, device_type: str) -> int:
        traffic, num_kernels = fusion_cost(work, self.software)
        times, one = self._as_done(work)
        seconds = times * device_seconds(
            one,
            self._device(device_type),
            traffic=traffic,
            memory_bound_factor=self.software.memory_bound_factor,
            num_kernels=num_kernels,
            sustained=self.sustained,
        )
        host_ns = 0 if self.software.host_runs_ahead else self.issue_ns(work)
        return max(1, round(seconds * NS_PER_S), host_ns)

    def _as_done(self, work: Work) -> tuple[int, Work]:
        """Return how many kernels one after the other do a product, and one of them."""
        if work.matmul is None:
            return 1, work
        moved = self.software.weight_sum_bytes_per_parameter.get(work.precision, 0)
        batch, m, n, k = work.matmul
        if moved and work.step == "W":
            more = round(batch * m * n * (moved - _WIDTH))
            work = replace(work, num_bytes=work.num_bytes + more)
        if not (work.is_grouped and self.software.experts_one_by_one):
            return 1, work
        flops, num_bytes = work.flops // batch, work.num_bytes // batch
        return batch, replace(work, matmul=(1, m, n, k), flops=flops, num_bytes=num_bytes)

    def _device(self, device_type: str) -> DeviceProfile:
        """Return a device's constants, as the software's weight gradients find them."""
        device, factor = load_device_profile(device_type), self.software.weight_gradient_factor
        if factor == 1.0:
            return device
        rate = device.matmul.weight_gradient_factor * factor
        return replace(device, matmul=replace(device.matmul, weight_gradient_factor=rate))


def fusion_cost(work: Work, software: SoftwareProfile) -> tuple[float, int]:
    """Return what the software makes of a kernel: the factor on its traffic, and its kernels."""
    if not work.fusion or work.fusion in software.fusions:
        return 1.0, work.num_kernels
    if work.fusion not in software.unfused:
        choices = choices_text(work.fusion, {*software.fusions, *software.unfused})
        raise ProfileError(
            f"software profile {software.name!r} knows no fusion {work.fusion!r}: {choices}"
        )
    cost = software.unfused[work.fusion]
    return cost.traffic, work.num_kernels * cost.kernels


def device_seconds(
    work: Work,
    device: DeviceProfile,
    *,
    traffic: float = 1.0,
    memory_bound_factor: float = 1.0,
    num_kernels: int = 1,
    sustained: bool = True,
) -> float:
    """Return the seconds that a device needs for ``work`` once the host has issued it."""
    speed = device.sustained_factor if sustained else 1.0
    if work.kind == "attention":
        return num_kernels * device.memory_bound.launch_ns / NS_PER_S + max(
            _attention_seconds(work, device) / speed, _traffic_seconds(work, device)
        )
    if work.matmul is not None:
        seconds = max(_product_seconds(work, device) / speed, _operand_seconds(work, device))
        return device.matmul.launch_ns / NS_PER_S + seconds + _cast_seconds(work, device)
    moved = _traffic_seconds(work, device) * traffic / memory_bound_factor
    return num_kernels * device.memory_bound.launch_ns / NS_PER_S + moved


def _cast_seconds(work: Work, device: DeviceProfile) -> float:
    """Return the time of the kernels that turn the operands into fp8; 0 for other precisions."""
    rate = device.memory_bound.efficiency * device.memory_bandwidth_bytes_per_s
    return work.num_casts * device.memory_bound.launch_ns / NS_PER_S + work.cast_bytes / rate


def _traffic_seconds(work: Work, device: DeviceProfile) -> float:
    constants = device.memory_bound
    share = constants.kinds.get(work.kind, constants.efficiency)
    return work.num_bytes / (share * device.memory_bandwidth_bytes_per_s)


def _operand_seconds(work: Work, device: DeviceProfile) -> float:
    return work.num_bytes / (
        device.matmul.bandwidth_efficiency * device.memory_bandwidth_bytes_per_s
    )


def _product_seconds(work: Work, device: DeviceProfile) -> float:
    rate = device.peak_flops_per_s(_units_of(work, device)) * device.matmul.efficiency
    rate *= _step_factor(work.step, device)
    return work.flops / rate * product_waste(_shape(work), device)


def _units_of(work: Work, device: DeviceProfile) -> str:
    """Return the precision at whose rate a product runs: fp32 where operands are not aligned.

    Heads of attention lie between those of others, so that their size shifts where each begins;
    matrices of weights are padded by those who train.
    """
    alignment = device.matmul.alignment_bytes
    batch, _, n, k = _shape(work)
    is_aligned = not alignment or n * _WIDTH % alignment == k * _WIDTH % alignment == 0
    is_attention = batch > 1 and not work.is_grouped
    return (
        "fp32" if is_attention and not is_aligned and work.precision in _SHORT else work.precision
    )


def _shape(work: Work) -> tuple[int, int, int, int]:
    return work.matmul if work.matmul is not None else (1, 1, 1, 1)


def _step_factor(step: str, device: DeviceProfile) -> float:
    factors = {
        "I": device.matmul.input_gradient_factor,
        "W": device.matmul.weight_gradient_factor,
    }
    return factors.get(step, 1.0)


def product_waste(shape: tuple[int, int, int, int], device: DeviceProfile) -> float:
    """Return by which factor a product (batch, m, n, k) is slower than an endless one."""
    depth = 1 + device.matmul.half_depth / shape[3]
    return depth * min(_tile_waste(shape, tile, device) for tile in _TILES)


def _tile_waste(
    shape: tuple[int, int, int, int], tile: tuple[int, int], device: DeviceProfile
) -> float:
    batch, m, n, k = shape
    num_tiles = batch * math.ceil(m / tile[0]) * math.ceil(n / tile[1])
    padding = num_tiles * tile[0] * tile[1] / (batch * m * n)
    area, penalty = tile[0] * tile[1], device.matmul.tile_penalty * 64 * 64
    slowness = (1 + penalty / area) / (1 + penalty / _LARGEST_TILE)
    return padding * slowness * _wave_waste(num_tiles * _num_shares(num_tiles, k, device), device)


def _num_shares(num_tiles: int, k: int, device: DeviceProfile) -> int:
    """Return into how many shares along k a product of few tiles is cut, to fill the device."""
    if not device.matmul.split_depth:
        return 1
    wanted = math.ceil(device.num_multiprocessors / num_tiles)
    return max(1, min(wanted, int(k / device.matmul.split_depth)))


def _wave_waste(num_tiles: int, device: DeviceProfile) -> float:
    waves = num_tiles / device.num_multiprocessors
    weight = device.matmul.wave_weight
    return weight * math.ceil(waves) / waves + 1 - weight


def _attention_seconds(work: Work, device: DeviceProfile) -> float:
    constants = device.attention
    forward = work.step == "F"
    share = constants.forward_efficiency if forward else constants.backward_efficiency
    seconds = work.flops / (device.peak_flops_per_s(work.precision) * share)
    if work.matmul is None:
        return seconds
    batch, queries, _, _ = work.matmul
    return seconds * _wave_waste(batch * math.ceil(queries / 128), device)
