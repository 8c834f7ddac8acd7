"""What ``nvidia-smi topo -m`` prints on several machines, put together by rule."""

from collections.abc import Callable, Sequence

LEGEND = """
Legend:

  X    = Self
  SYS  = Connection traversing PCIe as well as the SMP interconnect between NUMA nodes
  NODE = Connection traversing PCIe as well as the interconnect between PCIe Host Bridges
  PHB  = Connection traversing PCIe as well as a PCIe Host Bridge (typically the CPU)
  PXB  = Connection traversing multiple PCIe bridges
  PIX  = Connection traversing at most a single PCIe bridge
  NV#  = Connection traversing a bonded set of # NVLinks
"""


def table(
    names: Sequence[str], word: Callable[[int, int], str], affinity: Sequence[str], tab: str = "\t"
) -> str:
    """Return a table of ``word(row, column)`` with the columns on processors behind it."""
    lines = [tab.join(["", *names, "CPU Affinity", "NUMA Affinity"])]
    for row, name in enumerate(names):
        cells = ["X" if row == column else word(row, column) for column in range(len(names))]
        lines.append(tab.join([name, *(f" {cell}" for cell in cells), *affinity[row : row + 1]]))
    return "\n".join(lines) + "\n" + LEGEND


DGX1_NVLINKS = {
    **dict.fromkeys([(0, 1), (0, 2), (1, 3), (2, 6), (3, 7), (4, 5), (4, 6), (5, 7)], 1),
    **dict.fromkeys([(0, 3), (0, 4), (1, 2), (1, 5), (2, 3), (4, 7), (5, 6), (6, 7)], 2),
}


def dgx1_word(row: int, column: int) -> str:
    """Eight V100 of a DGX-1 and its four NICs, one beside every second GPU."""
    low, high = min(row, column), max(row, column)
    if high < 8:
        count = DGX1_NVLINKS.get((low, high))
        return f"NV{count}" if count else "SYS"
    near = [2 * (n - 8) if n >= 8 else n for n in (row, column)]
    if near[0] // 2 == near[1] // 2:
        return "PIX"
    return "PHB" if near[0] // 4 == near[1] // 4 else "SYS"


def dgx1() -> str:
    """A DGX-1 V100, tabs between the columns, NICs by their own names."""
    names = [*(f"GPU{gpu}" for gpu in range(8)), *(f"mlx5_{nic}" for nic in range(4))]
    affinity = ["0-19,40-59"] * 4 + ["20-39,60-79"] * 4
    return table(names, dgx1_word, affinity)


def dgx_a100_word(row: int, column: int) -> str:
    """Eight A100 on NVSwitches; two GPUs and two NICs under each of four PCIe bridges."""
    if max(row, column) < 8:
        return "NV12"
    return "PXB" if row % 8 // 2 == column % 8 // 2 else "SYS"


def dgx_a100() -> str:
    """A DGX A100, blanks between the columns, escapes in the first line, NICs in a legend."""
    names = [*(f"GPU{gpu}" for gpu in range(8)), *(f"NIC{nic}" for nic in range(8))]
    affinity = [f"{cpu}-{cpu + 15}\t{n}" for n in (3, 1, 7, 5) for cpu in (16 * n,) * 2]
    text = table(names, dgx_a100_word, affinity, "    ").replace("GPU0", "\x1b[4mGPU0\x1b[0m", 1)
    return f"{text}\nNIC Legend:\n\n" + "".join(f"  NIC{n}: mlx5_{n + 2}\n" for n in range(8))


def pcie_word(row: int, column: int) -> str:
    """Eight GPUs: pairs on a switch, two switches a socket."""
    if row // 2 == column // 2:
        return "PIX"
    return "NODE" if row // 4 == column // 4 else "SYS"


def pcie_8x2080ti() -> str:
    """Eight RTX 2080 Ti on PCI Express alone."""
    names = [f"GPU{gpu}" for gpu in range(8)]
    return table(names, pcie_word, ["0-15"] * 4 + ["16-31"] * 4)


def hgx_a100_4() -> str:
    """Four A100 with four NVLinks between each two, no switch, no NICs."""
    return table([f"GPU{gpu}" for gpu in range(4)], lambda *_: "NV4", ["0-31"] * 4)
