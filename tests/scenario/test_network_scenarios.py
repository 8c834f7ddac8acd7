"""Scenarios whose messages are flows over links: results, choices, and what is refused."""

import numpy as np
import pytest
from shipped_scenarios import ROOT
from small_gpt import simulate_small, small, write_small

import flexsim
from flexsim.errors import FlexSimError
from flexsim.scenario import networks
from flexsim.scenario.report import summary_table
from flexsim.task_graph.kinds import TASK_CODE

TWO_HOSTS = {
    "cluster": {"device_graph": "two-hosts-example", "hosts": None},
    "training": {"global_batch": 4},
    "strategy": {"name": "megatron", "tensor": 1, "pipeline": 2, "data": 2},
}


def on(network, **tables):
    return simulate_small(simulation={"network": network}, **tables)


def two_hosts(network):
    content = small(**TWO_HOSTS, simulation={"network": network})
    del content["cluster"]["hosts"]
    return flexsim.run(flexsim.Scenario.from_dict(content, "two-hosts.toml"))


def transfers(result):
    """Return sender, start and end of the pipeline's transfers, by sender and start."""
    graph, timeline = result.task_graph, result.timeline
    rows = np.flatnonzero(graph.kind == TASK_CODE["pipeline"])
    columns = (graph.device[rows], timeline.start_ns[rows], timeline.end_ns[rows])
    return sorted(zip(*(column.tolist() for column in columns), strict=True))


@pytest.mark.parametrize("network", ["links", "fair"])
def test_a_small_scenario_runs_with_little_between_it_and_the_formulas(network):
    priced, found = on("analytic"), on(network)
    ratio = found.metrics["iteration_time_s"] / priced.metrics["iteration_time_s"]
    assert 0.97 < ratio < 1.03
    assert found.metrics["num_tasks_folded_away"] == 0
    assert found.task_graph.folding == (
        "not folded, all 8 devices simulated: flows of different devices meet on links"
    )
    assert found.metrics["peak_memory_bytes"] == priced.metrics["peak_memory_bytes"]
    assert found.flow_run.lowered.num_flows > 500
    assert "flows over links" in found.network
    assert found.network in _text(found)
    assert priced.flow_run is None
    assert priced.network == ""


def _text(result):
    from rich.console import Console

    console = Console(width=160)
    with console.capture() as captured:
        console.print(summary_table(result))
    return captured.get()


@pytest.mark.parametrize("network", ["links", "fair"])
@pytest.mark.parametrize("name", ["korthikanti-22b-layer-selective", "shoeybi-2.5b-2xv100"])
def test_shipped_scenarios_run_on_links(name, network):
    path = ROOT / "scenarios" / f"{name}.toml"
    batch = "training.global_batch=8"
    changes = [batch] if "shoeybi" in name else []
    priced = flexsim.run(flexsim.load_scenario(path, changes))
    found = flexsim.run(flexsim.load_scenario(path, [*changes, f"simulation.network={network}"]))
    ratio = found.metrics["iteration_time_s"] / priced.metrics["iteration_time_s"]
    assert ratio == pytest.approx(1, abs=1e-3)


def test_transfers_of_replicas_share_the_network_card_of_their_host():
    priced, held, shared = (two_hosts(name) for name in ("analytic", "links", "fair"))
    sent = held.task_graph.num_bytes[held.task_graph.kind == TASK_CODE["pipeline"]]
    rate, late_ns = _route()
    wire_ns = round(int(sent[0]) / rate * 1e9)
    start_ns, end_ns = _first(held, 0)
    assert end_ns - start_ns == pytest.approx(wire_ns + late_ns, abs=1)
    assert _first(held, 1) == (start_ns + wire_ns, end_ns + wire_ns)  # behind it on the card
    assert _first(shared, 0) == _first(shared, 1)
    for result in (priced, shared):
        start_ns, end_ns = _first(result, 0)
        assert end_ns - start_ns == pytest.approx(2 * wire_ns + late_ns, abs=3)


def _first(result, sender):
    """Return start and end of a sender's first transfer."""
    return next((start, end) for device, start, end in transfers(result) if device == sender)


def _route():
    """Return the bandwidth of a route between the hosts and its latency."""
    costs = flexsim.make_costs(flexsim.load_device_graph("two-hosts-example"))
    links = costs.communication.links
    route = np.array(costs.communication.device_graph.route(0, 2))
    late_ns = links.latency_ns[route].sum() + links.transfer_latency_ns[route].max()
    return links.transfer_bandwidth_bytes_per_s[route].min(), round(late_ns)


def test_engines_agree_on_a_scenario_with_links():
    event, compiled = (
        simulate_small(simulation={"network": "links", "engine": engine})
        for engine in ("event", "compiled")
    )
    np.testing.assert_array_equal(event.timeline.start_ns, compiled.timeline.start_ns)
    np.testing.assert_array_equal(event.timeline.end_ns, compiled.timeline.end_ns)


@pytest.mark.parametrize("network", ["analytic", "links"])
def test_an_algorithm_is_taken_at_every_depth(network):
    ring, direct = (
        simulate_small(simulation={"network": network, "collective_algorithm": name})
        for name in ("ring", "direct")
    )
    assert ring.metrics["iteration_time_s"] != direct.metrics["iteration_time_s"]


def test_many_scenarios_may_run_on_links():
    scenario = flexsim.Scenario.from_dict(small(simulation={"network": "links"}), "small.toml")
    (outcome,) = flexsim.run_many([scenario])
    assert outcome.metrics == flexsim.run(scenario).metrics


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"network": "pigeons"},
            "simulation.network = 'pigeons'.*choose from analytic, fair, links",
        ),
        (
            {"collective_algorithm": "rings"},
            "simulation.collective_algorithm = 'rings': .*'?ring'?",
        ),
        ({"segment": "4 MB"}, "simulation.segment has no meaning for .*'analytic'"),
        ({"forwarding": "cut-through"}, "simulation.forwarding has no meaning"),
        ({"network": "links", "segment": "0 B"}, "'0 B' is not a size from 1 B"),
        ({"network": "links", "segment": "4"}, "'4' is not a size such as"),
        ({"network": "links", "forwarding": "teleport"}, "forwarding = 'teleport'"),
        ({"network": "fair", "engine": "compiled"}, "'fair' is replayed by the event engine"),
    ],
)
def test_wrong_keys_are_told_in_a_sentence(keys, message):
    with pytest.raises(FlexSimError, match=rf"small.toml: .*{message}") as caught:
        simulate_small(simulation=keys)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("network", ["analytic", "links"])
def test_halving_and_doubling_needs_a_power_of_two(network):
    with pytest.raises(FlexSimError, match="power of two"):
        simulate_small(
            model={"heads": 12, "hidden": 768, "vocabulary": 1536},
            strategy={"tensor": 3, "pipeline": 1, "data": 2},
            simulation={"network": network, "collective_algorithm": "halving-doubling"},
        )


def test_too_many_flows_are_refused_before_they_are_built(monkeypatch):
    monkeypatch.setattr(networks, "free_bytes", lambda: 10**5)
    message = "small.toml: simulation.network = 'links': .* flows .* GiB .* choose fewer"
    with pytest.raises(FlexSimError, match=message):
        on("links")


def test_a_search_stays_with_the_formulas():
    scenario = flexsim.Scenario.from_dict(small(simulation={"network": "fair"}), "small.toml")
    with pytest.raises(FlexSimError, match=r"simulation.network = 'fair' is too slow to search on"):
        flexsim.search(scenario, budget=2)


def test_a_file_says_all_of_it(tmp_path):
    table = {
        "network": "links",
        "collective_algorithm": "hierarchical",
        "segment": "1 MiB",
        "forwarding": "store-and-forward",
    }
    scenario = flexsim.load_scenario(write_small(tmp_path / "small.toml", simulation=table))
    options = networks.options_of(scenario.simulation)
    assert options.algorithm == "hierarchical"
    assert options.segment_bytes == 2**20
    assert options.forwarding == "store-and-forward"
