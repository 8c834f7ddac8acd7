"""Which state of a weight its replicas keep in shares: ZeRO's stages and FSDP."""

from __future__ import annotations

from dataclasses import dataclass

from flexsim.errors import StrategyError


@dataclass(frozen=True)
class Sharding:
    """What replicas along mesh axes ``axes`` keep only a share of, each another one.

    Optimizer state alone is ZeRO stage 1, with gradients stage 2, with weights stage 3
    (Rajbhandari et al. 2020, section 5), which is FSDP; on some of the replicas only it is
    hybrid sharding (Zhao et al. 2023). Weights are gathered a unit (a layer) at a time, ahead of
    their use by ``prefetch`` units, and again for the backward where they were dropped after the
    forward (``reshard``).
    """

    axes: tuple[str, ...] = ()
    optimizer: bool = False
    gradients: bool = False
    weights: bool = False
    reshard: bool = True
    prefetch: int = 1

    @classmethod
    def stage(cls, stage: int, axes: tuple[str, ...], reshard: bool, prefetch: int) -> Sharding:
        """Return what a stage of ZeRO shards; stage 0 is none."""
        if stage == 0:
            return WHOLE
        return cls(axes, stage >= 1, stage >= 2, stage >= 3, reshard, prefetch)


WHOLE = Sharding()
"""Nothing is kept in shares."""


def shard_axes(data: int, shard: int | None) -> tuple[tuple[str, int], ...]:
    """Return the mesh axes of data parallelism, the slowest first: one, or groups of ``shard``.

    Raise :class:`StrategyError` where ``shard`` does not divide ``data``.
    """
    if shard is None or shard == data:
        return (("data", data),)
    if data % shard:
        choices = ", ".join(str(n) for n in range(1, data + 1) if data % n == 0)
        raise StrategyError(
            f"strategy.shard = {shard} does not divide the {data} replicas; choose from {choices}"
        )
    return (("data.replica", data // shard), ("data.shard", shard))
