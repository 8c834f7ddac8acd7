"""The content of a small valid scenario, with single keys changed, for tests."""

from __future__ import annotations

import copy
from typing import Any

GPT3 = {
    "title": "GPT-3 on 64 A100",
    "model": {"preset": "gpt3-175b"},
    "cluster": {"device_graph": "dgx-a100", "hosts": 8},
    "training": {"global_batch": 64},
    "strategy": {"name": "megatron", "tensor": 8, "pipeline": 8, "chunks": 3},
}
GPT3_TOML = """
title = "GPT-3 on 64 A100"
model = { preset = "gpt3-175b" }
cluster = { device_graph = "dgx-a100", hosts = 8 }
training = { global_batch = 64 }
strategy = { name = "megatron", tensor = 8, pipeline = 8, chunks = 3 }
"""
LEFT_OUT = object()


def changed(key: str = "", value: Any = LEFT_OUT) -> dict[str, Any]:
    """Return the content with ``table.key`` set, or left out."""
    content: dict[str, Any] = copy.deepcopy(GPT3)
    *tables, last = key.split(".")
    table = content
    for name in tables:
        table = table.setdefault(name, {})
    if value is LEFT_OUT:
        table.pop(last, None)
    else:
        table[last] = value
    return content
