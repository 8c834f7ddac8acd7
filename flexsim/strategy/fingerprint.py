"""What a strategy was made for: a model's operators and a cluster's devices, to be compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from flexsim.device_graph import DeviceGraph
from flexsim.operator_graph.graph import OperatorGraph
from flexsim.operator_graph.records import Operator

Content = dict[str, Any]

_MOST_DIFFERENCES = 3


def model_content(graph: OperatorGraph) -> Content:
    """Return name, precision, every operator's dims and wiring, and a fingerprint of them."""
    operators = {operator.name: _operator(operator) for operator in graph.operators}
    return {
        "name": graph.name,
        "precision": graph.precision,
        "fingerprint": fingerprint([graph.precision, operators]),
        "operators": operators,
        **({"transformations": graph.transformations} if graph.transformations else {}),
    }


def cluster_content(devices: DeviceGraph) -> Content:
    """Return name, device types, hosts and links in runs, and a fingerprint of the graph."""
    links = devices.links
    ends = [links.source.tolist(), links.target.tolist(), devices.host_of_vertex.tolist()]
    types = _runs(devices.device_types)
    kinds = [links.link_kinds[kind] for kind in links.kind.tolist()]
    rates = zip(kinds, links.bandwidth_bytes_per_s, links.latency_ns, strict=True)
    found: Content = {
        "devices": types,
        "hosts": _runs(devices.host_of_device.tolist()),
        "links": _runs(sorted((k, float(b), int(ns)) for k, b, ns in rates)),
    }
    whole = fingerprint([found, ends])
    return {"name": devices.name, "fingerprint": whole, **found}


def model_differences(have: Mapping[str, Any], want: Mapping[str, Any]) -> str:
    """Return how the model of a strategy (``have``) differs from another, "" if it does not."""
    if have["fingerprint"] == want["fingerprint"]:
        return ""
    return _listed(_model_differences(have, want))


def cluster_differences(have: Mapping[str, Any], want: Mapping[str, Any]) -> str:
    """Return how the cluster of a strategy (``have``) differs from another, "" if it does not."""
    if have["fingerprint"] == want["fingerprint"]:
        return ""
    return _listed(_cluster_differences(have, want))


def fingerprint(content: Any) -> str:
    """Return a hash of plain lists, dictionaries, strings and numbers."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _operator(operator: Operator) -> Content:
    return {
        "kind": operator.kind,
        "dims": operator.sizes,
        "whole": [dim.name for dim in operator.dims if dim.max_degree == 1],
        "reads": list(operator.inputs),
        "writes": list(operator.outputs),
    }


def _runs(values: Iterable[Any]) -> list[list[Any]]:
    """Return ``[[value, how many in a row], …]``."""
    return [[value, len(list(same))] for value, same in groupby(values)]


def _model_differences(have: Mapping[str, Any], want: Mapping[str, Any]) -> Iterator[str]:
    if have["precision"] != want["precision"]:
        yield f"precision {have['precision']} there, {want['precision']} here"
    there, here = have["operators"], want["operators"]
    for name in there:
        if name not in here:
            yield f"operator {name!r} is not in this model"
        else:
            yield from _operator_differences(name, there[name], here[name])
    for name in here:
        if name not in there:
            yield f"operator {name!r} is not in that one"


def _operator_differences(
    name: str, have: Mapping[str, Any], want: Mapping[str, Any]
) -> Iterator[str]:
    for dim in dict.fromkeys([*have["dims"], *want["dims"]]):
        there, here = have["dims"].get(dim, "none"), want["dims"].get(dim, "none")
        if there != here:
            yield f"operator {name!r} has dimension {dim!r} of size {there} there, {here} here"
    for key in ("kind", "whole", "reads", "writes"):
        if have[key] != want[key]:
            yield f"operator {name!r}: {key} {_shown(have[key])} there, {_shown(want[key])} here"


def _cluster_differences(have: Mapping[str, Any], want: Mapping[str, Any]) -> Iterator[str]:
    if have["devices"] != want["devices"]:
        yield f"devices {_run_text(have['devices'])} there, {_run_text(want['devices'])} here"
    if have["hosts"] != want["hosts"]:
        there, here = ([count for _, count in each["hosts"]] for each in (have, want))
        yield f"{_hosts_text(there)} there, {_hosts_text(here)} here"
    if have["links"] != want["links"]:
        yield "their links differ in kind, number or speed"
    yield "their devices are joined differently"


def _hosts_text(counts: list[int]) -> str:
    sizes = " or ".join(str(size) for size in sorted(set(counts)))
    return f"{len(counts)} hosts of {sizes} devices"


def _run_text(runs: list[list[Any]]) -> str:
    return ", ".join(f"{count} x {value}" for value, count in runs)


def _shown(value: Any) -> str:
    return str(value) if isinstance(value, str) else ", ".join(map(str, value)) or "none"


def _listed(differences: Iterable[str]) -> str:
    found = list(differences)
    rest = len(found) - _MOST_DIFFERENCES
    more = f"; and {rest} more" if rest > 0 else ""
    return "; ".join(found[:_MOST_DIFFERENCES]) + more
