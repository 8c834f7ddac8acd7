"""Quantities with units, parsed once at the edge: "300 GB/s", "80 GiB", "13.75 s".

Inside the package a quantity is a plain number whose unit stands in its name
(``num_bytes``, ``duration_ns``, ``bandwidth_bytes_per_s``).
"""

from __future__ import annotations

import math
import re

from flexsim.errors import FlexSimError

NS_PER_S = 1_000_000_000

_DECIMAL = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
_BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}
_BYTES = {f"{p}B": f for p, f in (_DECIMAL | _BINARY).items()}
_BANDWIDTH = {f"{p}B/s": f for p, f in (_DECIMAL | _BINARY).items()} | {
    f"{p}{bit}": f / 8 for p, f in _DECIMAL.items() for bit in ("b/s", "bit/s", "bps")
}
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
_FLOPS = {f"{p}FLOP/s": f for p, f in _DECIMAL.items()} | {
    f"{p}FLOPS": f for p, f in _DECIMAL.items()
}
_QUANTITY = re.compile(
    r"\s*([+-]?(?:\d+(?:_\d+)*(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)\s*([^\d\s].*?)?\s*"
)


def parse_bytes(text: str) -> float:
    """Return bytes from text such as ``"80 GiB"``; raise :class:`FlexSimError` otherwise."""
    return _parse(text, _BYTES, "a size such as '80 GB' or '80 GiB'")


def parse_bandwidth(text: str) -> float:
    """Return bytes a second from text such as ``"300 GB/s"`` or ``"200 Gb/s"``."""
    return _parse(text, _BANDWIDTH, "a bandwidth such as '300 GB/s' or '200 Gb/s'")


def parse_seconds(text: str) -> float:
    """Return seconds from text such as ``"13.75 s"`` or ``"2 us"``."""
    return _parse(text, _SECONDS, "a time such as '13.75 s' or '2 us'")


def parse_flops(text: str) -> float:
    """Return floating-point operations a second from text such as ``"312 TFLOP/s"``."""
    return _parse(text, _FLOPS, "a rate such as '312 TFLOP/s'")


def _parse(text: str, units: dict[str, float], wanted: str) -> float:
    match = _QUANTITY.fullmatch(text) if isinstance(text, str) else None
    unit = match.group(2) or "" if match else ""
    if match is None or unit not in units or not unit:
        raise FlexSimError(f"{text!r} is not {wanted}")
    value = float(match.group(1)) * units[unit]
    if not math.isfinite(value):
        raise FlexSimError(f"{text!r} is not a finite number")
    return value


def nanoseconds(seconds: float) -> int:
    """Return ``seconds`` as a whole number of nanoseconds, rounded to the nearest."""
    return round(seconds * NS_PER_S)


def format_seconds(seconds: float) -> str:
    """Return a time with three significant digits and the unit that suits it."""
    if seconds == 0:
        return "0 s"
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if abs(seconds) >= factor:
            return f"{_significant(seconds / factor)} {unit}"
    return f"{_significant(seconds * 1e9)} ns"


def format_bytes(num_bytes: float) -> str:
    """Return a size in binary units with three significant digits."""
    for factor, unit in ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if abs(num_bytes) >= factor:
            return f"{_significant(num_bytes / factor)} {unit}"
    return f"{num_bytes:.0f} B"


def format_count(count: float) -> str:
    """Return a large count with a decimal prefix: ``175e9`` becomes ``"175 G"``."""
    for factor, unit in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")):
        if abs(count) >= factor:
            return f"{_significant(count / factor)} {unit}"
    return f"{count:,.0f}"


def format_bandwidth(bytes_per_s: float) -> str:
    """Return a bandwidth in decimal units: ``"300 GB/s"``."""
    return format_count(bytes_per_s).replace(",", "") + "B/s"


def _significant(value: float) -> str:
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:.{min(digits, 3)}f}"
