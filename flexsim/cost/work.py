"""What a cost model prices: one kernel of one part of an operator in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Protocol, runtime_checkable

from flexsim.errors import ProfileError

LONGEST_NS = 10**15
"""What one kernel may last: eleven days."""


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
    cast_bytes: int = 0
    """Read and written by the kernels that first turn the operands of a product into fp8."""
    num_casts: int = 0
    """How many kernels those are."""
    is_grouped: bool = False
    """Whether a batch's products have a weight each, as those of experts have."""


class CostModel(Protocol):
    """Prices a kernel on a device type, in whole nanoseconds, at least 1.

    Any function of a :class:`Work` and a device type that returns such a number is one.
    """

    def __call__(self, work: Work, device_type: str, /) -> int:
        """Return the duration of ``work`` on a device of type ``device_type``, in ns."""
        ...


@runtime_checkable
class Issuing(Protocol):
    """A cost model that knows the hosts, too."""

    def issue_ns(self, work: Work) -> int:
        """Return how long a host takes to issue the kernels of ``work``."""
        ...


def checked(model: CostModel) -> CostModel:
    """Return a user's cost model that raises :class:`ProfileError` for what is no duration."""

    def price(work: Work, device_type: str, /) -> int:
        duration_ns = model(work, device_type)
        is_whole = isinstance(duration_ns, Integral) and not isinstance(duration_ns, bool)
        if not is_whole or not 1 <= duration_ns <= LONGEST_NS:
            raise ProfileError(
                f"the cost model gives {duration_ns!r} for a {work.kind!r} kernel of step"
                f" {work.step!r} on {device_type!r}; it must be whole nanoseconds from 1 to"
                f" {LONGEST_NS:.0e}"
            )
        return int(duration_ns)

    return price
