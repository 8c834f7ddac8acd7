"""Device graphs: devices, hosts, switches and directed links, from a file, with routes."""

from flexsim.device_graph.graph import SHARED, DeviceGraph, Links
from flexsim.device_graph.load import load_device_graph

__all__ = ["SHARED", "DeviceGraph", "Links", "load_device_graph"]
