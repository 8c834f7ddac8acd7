"""What a cost model prices: one kernel of one part of an operator in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Work:
    """One kernel of one part of an operator in one pass.

    ``kind`` is the class of kernel: ``matmul``, ``attention`` (fused), or one that memory
    bounds (``softmax``, ``norm``, ``elementwise``, ``dropout``, ``embedding``, ``loss``,
    ``optimizer``). ``step`` is ``F``, ``I``, ``W`` or ``U``. ``flops`` counts executed
    floating-point operations, ``num_bytes`` the bytes that must be read and written at least.
    ``matmul`` is (batch, m, n, k), for attention (sequences · heads, queries, keys, head size).
    ``fusion`` names a fusion that the software may lack: ``""``, ``bias-gelu``,
    ``bias-dropout-add``, ``scale-mask-softmax``, ``layer-norm``, ``swiglu``, ``rms-norm``;
    ``num_bytes`` and ``num_kernels`` are those of the fused form.
    """

    kind: str
    step: str
    flops: int
    num_bytes: int
    matmul: tuple[int, int, int, int] | None = None
    precision: str = "fp16"
    num_kernels: int = 1
    fusion: str = ""


class CostModel(Protocol):
    """Prices a kernel on a device type, in whole nanoseconds, at least 1.

    Any function of a :class:`Work` and a device type that returns such a number is one.
    """

    def __call__(self, work: Work, device_type: str, /) -> int:
        """Return the duration of ``work`` on a device of type ``device_type``, in ns."""
        ...
