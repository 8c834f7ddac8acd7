"""What the names of an expression stand for in one configuration.

A key that is not given has the value that the scenario would take for it: the sizes of a preset,
the devices and hosts of a device graph, the replicas that are left over.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

from flexsim.device_graph import load_device_graph
from flexsim.errors import FlexSimError
from flexsim.files import is_file
from flexsim.models import ModelConfig, model_config
from flexsim.sweep.expressions import NoValueError
from flexsim.sweep.keys import defaults

_CLUSTER = ("cluster.device_graph", "cluster.hosts", "cluster.devices")
_DEGREES = ("strategy.tensor", "strategy.pipeline", "strategy.context")


class Facts:
    """Values by name, from the keys of a scenario that stay as they are and those that vary."""

    def __init__(self, given: Mapping[str, Any], source: str) -> None:
        _size.cache_clear()  # files may have changed since
        self._given = {**defaults(), **given}
        self._folder = str(Path(source).parent)
        self._model = [key for key in defaults() if key.startswith("model.")]

    def follows_from(self, name: str) -> tuple[str, ...]:
        """Return the keys that the value of a name depends on."""
        if name.startswith("model."):
            return tuple(self._model)
        if name in _CLUSTER:
            return _CLUSTER
        if name == "strategy.data":
            return (name, "strategy.name", *_DEGREES, *_CLUSTER)
        return (name,)

    def value(self, name: str, values: Mapping[str, Any]) -> Any:
        """Return the value of a name in the configuration of ``values``.

        Raise :class:`NoValueError` where what it follows from does not fit together.
        """
        found = values[name] if name in values else self._given.get(name)
        if found is not None:
            return found
        try:
            return self._worked_out(name, values)
        except (FlexSimError, TypeError) as problem:
            raise NoValueError(str(problem)) from problem

    def _worked_out(self, name: str, values: Mapping[str, Any]) -> Any:
        if name.startswith("model."):
            sizes = {key[len("model.") :]: self._plain(key, values) for key in self._model}
            return getattr(_config(tuple(sizes.items())), name[len("model.") :], None)
        if name == "cluster.devices":
            return self._cluster(values)[0]
        if name == "cluster.hosts":
            return self._cluster(values)[1]
        return self._replicas(values) if name == "strategy.data" else None

    def _plain(self, key: str, values: Mapping[str, Any]) -> Any:
        return values[key] if key in values else self._given.get(key)

    def _cluster(self, values: Mapping[str, Any]) -> tuple[int, int]:
        """Return the numbers of devices and hosts of the device graph."""
        name = str(self._plain("cluster.device_graph", values))
        return _size(self._folder, name, self._plain("cluster.hosts", values))

    def _replicas(self, values: Mapping[str, Any]) -> int:
        if self._plain("strategy.name", values) == "single":
            return 1
        share = int(prod(self._plain(key, values) for key in _DEGREES))
        return max(1, int(self.value("cluster.devices", values)) // share)


@lru_cache(maxsize=1024)
def _size(folder: str, device_graph: str, hosts: int | None) -> tuple[int, int]:
    near = Path(folder) / device_graph
    is_near = device_graph.endswith(".toml") and is_file(near)
    graph = load_device_graph(str(near) if is_near else device_graph, hosts)
    return graph.num_devices, graph.num_hosts


@lru_cache(maxsize=1024)
def _config(sizes: tuple[tuple[str, Any], ...]) -> ModelConfig:
    return model_config(**dict(sizes))
