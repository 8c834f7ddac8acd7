"""The machine that something was measured on, in words."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

_LIBRARIES = ("numpy", "numba", "simpy", "pandas")


def machine() -> dict[str, str]:
    """Return what matters for speed: processor, cores, memory, system and versions."""
    versions = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return {
        "processor": _field("/proc/cpuinfo", "model name") or platform.processor() or "unknown",
        "cores": f"{_num_cores()} usable, of which one is used",
        "memory": _memory(),
        "system": platform.platform(terse=True),
        "versions": f"Python {platform.python_version()}, {versions}",
        "load before the run": f"{os.getloadavg()[0]:.1f} processes",
    }


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory() -> str:
    kib = _field("/proc/meminfo", "MemTotal").split()
    return f"{int(kib[0]) / 2**20:.0f} GiB" if kib else "unknown"


def _field(path: str, name: str) -> str:
    """Return the first value of ``name: value`` in a file, "" where there is none."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
