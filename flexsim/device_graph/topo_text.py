"""Reading what ``nvidia-smi topo -m`` prints: how GPUs and NICs of a host reach one another."""

from __future__ import annotations

import re
from dataclasses import dataclass

from flexsim.errors import DeviceGraphError

PATHS = ("PIX", "PXB", "PHB", "NODE", "SYS")
"""Ways over PCI Express, the nearest first: one switch, several switches, a host bridge, the host
bridges of one socket, two sockets."""
_OLD_NAMES = {"SOC": "SYS"}
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
_NVLINKS = re.compile(r"NV(\d+)")
_DEVICE = re.compile(r"GPU\d+")
_LEGEND = re.compile(r"(NIC\d+):\s*(\S+)")
_FURTHER_COLUMNS = ("CPU", "NUMA", "GPU", "Affinity")


@dataclass(frozen=True)
class TopoTable:
    """The table: names of GPUs and NICs, and the word between each two."""

    names: tuple[str, ...]
    words: dict[tuple[str, str], str]
    affinity: dict[str, str]
    """The processors that each GPU is near to, as the column says; empty where there is none."""

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the GPUs."""
        return tuple(name for name in self.names if _DEVICE.fullmatch(name))

    @property
    def nics(self) -> tuple[str, ...]:
        """Names of the NICs."""
        return tuple(name for name in self.names if not _DEVICE.fullmatch(name))

    def nvlinks(self, first: str, second: str) -> int:
        """Return the number of NVLinks between two GPUs; 0 where the way is another."""
        match = _NVLINKS.fullmatch(self.words[first, second])
        return int(match.group(1)) if match else 0


def parse_topo(text: str, source: str) -> TopoTable:
    """Return the table of a text; raise :class:`DeviceGraphError` where there is none."""
    lines = [_ESCAPES.sub("", line).split() for line in text.splitlines()]
    start = next((i for i, words in enumerate(lines) if words[:1] == ["GPU0"]), None)
    if start is None:
        raise DeviceGraphError(
            f"{source}: it holds no table of `nvidia-smi topo -m`, whose first line begins with"
            " GPU0; write one with: nvidia-smi topo -m > topo.txt"
        )
    names = _names(lines[start])
    rows = {words[0]: words[1:] for words in lines[start + 1 :] if words and words[0] in names}
    for name in names:
        if name not in rows:
            raise DeviceGraphError(f"{source}: the table has a column {name}, but no such row")
    words = {pair: word for name in names for pair, word in _row(name, names, rows, source)}
    _check_symmetric(names, words, source)
    legend = dict(_LEGEND.findall(_ESCAPES.sub("", text)))
    named = {name: legend.get(name, name) for name in names}
    return TopoTable(
        tuple(named.values()),
        {(named[first], named[second]): word for (first, second), word in words.items()},
        {named[name]: (*rows[name][len(names) :], "")[0] for name in names},
    )


def _names(header: list[str]) -> list[str]:
    """Return the columns before those on processors."""
    end = next((i for i, word in enumerate(header) if word in _FURTHER_COLUMNS), len(header))
    return header[:end]


def _row(
    name: str, names: list[str], rows: dict[str, list[str]], source: str
) -> list[tuple[tuple[str, str], str]]:
    cells = [_OLD_NAMES.get(word, word) for word in rows[name][: len(names)]]
    if len(cells) < len(names):
        raise DeviceGraphError(
            f"{source}: the row {name} has {len(cells)} entries, but there are {len(names)} columns"
        )
    for other, word in zip(names, cells, strict=True):
        if (word != "X") if other == name else not (word in PATHS or _NVLINKS.fullmatch(word)):
            choices = "X" if other == name else f"NV1, NV2, ..., {', '.join(PATHS)}"
            raise DeviceGraphError(
                f"{source}: the entry {word!r} in row {name}, column {other} is unknown: choose"
                f" from {choices}"
            )
    return [((name, other), word) for other, word in zip(names, cells, strict=True)]


def _check_symmetric(names: list[str], words: dict[tuple[str, str], str], source: str) -> None:
    for (first, second), word in words.items():
        back = words[second, first]
        if word != back:
            raise DeviceGraphError(
                f"{source}: row {first} says {word} of {second}, but row {second} says {back} of"
                f" {first}"
            )
