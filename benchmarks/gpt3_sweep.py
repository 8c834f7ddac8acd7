"""A sweep of GPT-3 175B on 64 to 1,024 GPUs: ten thousand of all its splits and settings."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import product
from typing import Any

NUM_DEVICES = (64, 128, 256, 512, 1024)
TENSOR = (1, 2, 4, 8)
PIPELINE = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 96)
MICRO_BATCH = (1, 2, 4, 8)
GLOBAL_BATCH = (512, 1024, 1536)
RECOMPUTE = ("none", "selective", "full")
CHUNKS = (2, 3, 4, 6)
LAYERS = 96
SIZE = 10_000


def all_settings() -> Iterator[dict[str, Any]]:
    """Yield the dotted keys of every configuration that fits, in product order."""
    switches = product(RECOMPUTE, (False, True), (0, 1))
    for choices in product(
        NUM_DEVICES, TENSOR, PIPELINE, MICRO_BATCH, GLOBAL_BATCH, list(switches)
    ):
        devices, tensor, pipeline, micro_batch, batch, (recompute, sequence, zero) = choices
        data, left_over = divmod(devices, tensor * pipeline)
        if left_over or not data or batch % (data * micro_batch):
            continue
        for schedule, chunks in _schedules(pipeline, batch // (data * micro_batch)):
            yield {
                "cluster.hosts": devices // 8,
                "training.global_batch": batch,
                "training.micro_batch": micro_batch,
                "training.recompute": recompute,
                "strategy.tensor": tensor,
                "strategy.pipeline": pipeline,
                "strategy.data": data,
                "strategy.chunks": chunks,
                "strategy.schedule": schedule,
                "strategy.sequence_parallel": sequence,
                "strategy.zero": zero,
            }


def _schedules(pipeline: int, num_microbatches: int) -> Iterator[tuple[str, int]]:
    yield "gpipe", 1
    if pipeline == 1:
        return
    yield "1f1b", 1
    for chunks in CHUNKS:
        if LAYERS % (pipeline * chunks) == 0 and num_microbatches % pipeline == 0:
            yield "interleaved-1f1b", chunks


def sweep(size: int = SIZE, seed: int = 0) -> list[dict[str, Any]]:
    """Return ``size`` of all configurations, drawn by ``seed``, in product order."""
    settings = list(all_settings())
    chosen = sorted(random.Random(seed).sample(range(len(settings)), size))
    return [settings[number] for number in chosen]


def shuffled(settings: list[dict[str, Any]], seed: int = 1) -> list[dict[str, Any]]:
    """Return the same configurations in another order."""
    return random.Random(seed).sample(settings, len(settings))
