"""Communication priced for searches, which price very much: transfers from a table of all routes,
collectives once for all hosts that are alike."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flexsim.cost.alike_hosts import devices_per_host, in_first_hosts
from flexsim.cost.collectives import Communication
from flexsim.cost.costs import Costs
from flexsim.cost.rings import route_latency
from flexsim.cost.transfer_kernel import RouteTable, price_transfers

Int64 = NDArray[np.int64]

_MOST_DEVICES = 256
_MOST_PRICES = 100_000


@dataclass(frozen=True, eq=False)
class TabledCommunication:
    """Gives the prices of ``communication``, faster."""

    communication: Communication
    _prices: dict[tuple[str, int, int, bytes], Int64] = field(default_factory=dict, repr=False)

    @cached_property
    def _devices_per_host(self) -> int:
        """The devices of every host; 0 where hosts are not alike."""
        return devices_per_host(self.communication.device_graph)

    @cached_property
    def _table(self) -> RouteTable:
        graph, links = self.communication.device_graph, self.communication.links
        devices = np.arange(graph.num_devices)
        routes = graph.routes(np.repeat(devices, len(devices)), np.tile(devices, len(devices)))
        return RouteTable(
            routes.offsets,
            routes.values.astype(np.int32),
            len(devices),
            np.asarray(links.transfer_bandwidth_bytes_per_s, np.float64),
            route_latency(routes, links, links.transfer_latency_ns)
            + self.communication.transfer_time_ns,
            float(self.communication.transfer_bandwidth_bytes_per_s),
        )

    def collective_ns(
        self, collective: str, num_bytes: int, groups: NDArray[np.int32], /
    ) -> NDArray[np.int64]:
        """Return what :class:`Communication` does."""
        size = self._devices_per_host
        members = in_first_hosts(groups, size) if size else np.asarray(groups, np.int64)
        key = (collective, num_bytes, members.shape[1], members.tobytes())
        found = self._prices.get(key)
        if found is None:
            if len(self._prices) >= _MOST_PRICES:
                self._prices.clear()
            found = self.communication.collective_ns(collective, num_bytes, members)
            self._prices[key] = found
        return found

    def transfer_ns(
        self,
        num_bytes: Int64 | int,
        sources: NDArray[np.int32],
        targets: NDArray[np.int32],
        /,
    ) -> NDArray[np.int64]:
        """Return what :class:`Communication` does."""
        counts = np.broadcast_to(np.asarray(num_bytes, np.int64), len(sources))
        least = max(1.0, self.communication.host_time_ns)
        found: Int64 = price_transfers(
            self._table,
            np.ascontiguousarray(sources, np.int32),
            np.ascontiguousarray(targets, np.int32),
            np.ascontiguousarray(counts),
            float(least),
        )
        return found


def with_transfer_table(costs: Costs) -> Costs:
    """Return the same costs, faster at pricing transfers where the cluster is small enough."""
    communication = costs.communication
    if not isinstance(communication, Communication):
        return costs
    if communication.device_graph.num_devices > _MOST_DEVICES:
        return costs
    return replace(costs, communication=TabledCommunication(communication))
