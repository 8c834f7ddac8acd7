"""Optimizers: the state that each keeps, as a table.

Software profiles state Adam with 32-bit moments; the others differ from it by what is listed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from flexsim.cost.profiles import SoftwareProfile

WORD = 4
"""Bytes of an fp32 number: of a moment, of a master weight."""


@dataclass(frozen=True)
class Optimizer:
    """What an optimizer keeps for a parameter, beside the master weight.

    ``num_moments`` are whole, of an fp32 number each; with ``is_factored`` there is one more that
    is kept as its sums by row and by column. ``num_passes`` counts how often an update reads the
    gradients, in fp32.
    """

    description: str
    num_moments: int
    is_factored: bool = False
    num_passes: int = 1

    @property
    def state_bytes_per_parameter(self) -> int:
        """Bytes of the whole moments."""
        return WORD * self.num_moments

    @property
    def traffic_bytes_per_parameter(self) -> int:
        """Bytes of moments read and written, and of further passes over the gradient."""
        return 2 * self.state_bytes_per_parameter + WORD * (self.num_passes - 1)


OPTIMIZERS: Mapping[str, Optimizer] = {
    "adam": Optimizer("two moments (Kingma and Ba 2015, arXiv 1412.6980)", 2),
    "sgd": Optimizer("momentum (Sutskever et al. 2013)", 1),
    "adafactor": Optimizer(
        "a factored second moment (Shazeer and Stern 2018, arXiv 1804.04235, algorithm 4)",
        0,
        is_factored=True,
        num_passes=2,
    ),
}


def with_optimizer(
    software: SoftwareProfile, optimizer: Optimizer, precision: str
) -> SoftwareProfile:
    """Return the software, which is stated with Adam, with another optimizer.

    Weights in fp32 are their own masters.
    """
    software = software.in_precision(precision)
    adam = OPTIMIZERS["adam"]
    masters = WORD if precision == "fp32" else 0
    state = optimizer.state_bytes_per_parameter - adam.state_bytes_per_parameter - masters
    traffic = optimizer.traffic_bytes_per_parameter - adam.traffic_bytes_per_parameter
    return replace(
        software,
        optimizer_bytes_per_parameter=software.optimizer_bytes_per_parameter + state,
        optimizer_traffic_bytes_per_parameter=(
            software.optimizer_traffic_bytes_per_parameter + traffic
        ),
        moment_bytes_per_parameter=optimizer.state_bytes_per_parameter,
        factored_moment_bytes=WORD if optimizer.is_factored else 0,
    )


def factored_elements(shape: tuple[int, ...]) -> int:
    """Return how many numbers a factored moment of a weight has.

    The two largest axes are replaced by a sum each (the others stay); vectors are kept whole.
    """
    size = 1
    for length in shape:
        size *= length
    largest = sorted(length for length in shape if length > 1)[-2:]
    if len(largest) < 2:
        return size
    return size // largest[0] + size // largest[1]
