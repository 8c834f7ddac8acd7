"""The examples of docs/device-graphs.md are device graphs, and every shipped one is named there."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from flexsim.cost import load_device_profile
from flexsim.device_graph import load_device_graph
from flexsim.device_graph.load import device_graph_from
from flexsim.files import shipped_names

PAGE = (Path(__file__).parents[2] / "docs/device-graphs.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: each.splitlines()[0])
def test_every_example_is_a_device_graph(example: str, tmp_path: Path) -> None:
    graph = device_graph_from(tomllib.loads(example), tmp_path / "mine.toml")
    assert graph.num_hosts > 1
    assert len(graph.route(0, graph.num_devices - 1)) > 1


def test_there_are_examples_of_every_family() -> None:
    assert len(EXAMPLES) == 5


@pytest.mark.parametrize("name", shipped_names("device_graphs"))
def test_every_shipped_graph_is_named_titled_and_has_its_profiles(name: str) -> None:
    assert f"`{name}`" in PAGE
    graph = load_device_graph(name)
    assert graph.title
    for device_type in set(graph.device_types):
        assert load_device_profile(device_type).name == device_type


@pytest.mark.parametrize("name", shipped_names("device_graphs"))
def test_every_shipped_graph_is_connected(name: str) -> None:
    """Routes from the first device to all and back are paths of links."""
    graph = load_device_graph(name)
    others = np.arange(1, graph.num_devices)
    links = graph.links
    for sources, targets in ((np.zeros_like(others), others), (others, np.zeros_like(others))):
        routes = graph.routes(sources, targets)
        starts, ends = routes.offsets[:-1], routes.offsets[1:] - 1
        assert (links.source[routes.values[starts]] == sources).all()
        assert (links.target[routes.values[ends]] == targets).all()
        inner = np.setdiff1d(np.arange(len(routes.values)), ends)
        after = routes.values[inner + 1]
        assert (links.target[routes.values[inner]] == links.source[after]).all()
