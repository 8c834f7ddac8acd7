"""How much memory this process may still take, as the operating system tells it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

_CGROUPS = Path("sys/fs/cgroup")


def free_bytes(root: Path = Path("/")) -> int | None:
    """Return the bytes of memory that are free, within the limits of control groups.

    ``root`` is where ``proc`` and ``sys`` are found. Return None where nothing is known.
    """
    found = [*_of_the_machine(root), *_of_control_groups(root)]
    return max(0, min(found)) if found else None


def _of_the_machine(root: Path) -> Iterator[int]:
    for line in _lines(root / "proc/meminfo"):
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024
            return
    with suppress(ValueError, OSError, AttributeError):  # no such number here
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _of_control_groups(root: Path) -> Iterator[int]:
    """Yield what is left in this process's control group and in those above it."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            yield from _left(root / _CGROUPS, group, "memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            names = "memory.limit_in_bytes", "memory.usage_in_bytes"
            yield from _left(root / _CGROUPS / "memory", group, *names)


def _left(top: Path, group: str, limit: str, used: str) -> Iterator[int]:
    inside = PurePosixPath(group.lstrip("/"))
    for place in (inside, *inside.parents):
        limits, uses = (_lines(top / place / name) for name in (limit, used))
        if limits and uses and limits[0] != "max":
            yield int(limits[0]) - int(uses[0])


def _lines(path: Path) -> list[str]:
    with suppress(OSError):
        return path.read_text(encoding="ascii", errors="replace").splitlines()
    return []
