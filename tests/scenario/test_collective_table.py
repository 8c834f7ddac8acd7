import numpy as np
import pytest

import flexsim
from flexsim.collectives import ALGORITHMS
from flexsim.errors import FlexSimError
from flexsim.scenario.collective_table import CollectiveRow

MIB = 2**20
HOST = flexsim.load_device_graph("dgx-a100", 1)


def test_bandwidths_follow_from_size_and_time():
    table = flexsim.collective_table("all-gather", HOST, 4, [MIB])
    (row,) = table.rows
    assert (table.collective, table.num_devices, table.network) == ("all-gather", 4, "analytic")
    assert row.algorithm_bandwidth_bytes_per_s == pytest.approx(MIB / row.time_ns * 1e9)
    assert row.bus_bandwidth_bytes_per_s == row.algorithm_bandwidth_bytes_per_s * 3 / 4


def test_the_time_is_that_of_the_cost_model():
    costs = flexsim.make_costs(HOST)
    expected = costs.communication.collective_ns("all-reduce", 64 * MIB, np.arange(8)[None])
    (row,) = flexsim.collective_table("all-reduce", HOST, sizes=[64 * MIB]).rows
    assert row.time_ns == expected[0]


@pytest.mark.parametrize("collective", ALGORITHMS)
@pytest.mark.parametrize("network", ["links", "fair"])
def test_every_collective_runs_as_flows(collective, network):
    (row,) = flexsim.collective_table(collective, HOST, 8, [MIB], network=network).rows
    assert row.algorithm in ALGORITHMS[collective]
    assert row.time_ns > 0


def test_without_contention_the_networks_agree():
    given = ("all-reduce", HOST, 8, [64 * MIB], "ring")
    times = [
        flexsim.collective_table(*given, network=network).rows[0].time_ns
        for network in ("analytic", "links", "fair")
    ]
    assert times == pytest.approx([times[0]] * 3, rel=0.01)


def test_auto_takes_the_fastest_by_formula():
    for size in (1024, 256 * MIB):
        (auto,) = flexsim.collective_table("all-reduce", HOST, 8, [size]).rows
        ring = flexsim.collective_table("all-reduce", HOST, 8, [size], "ring").rows[0]
        assert auto.time_ns <= ring.time_ns


def test_the_table_is_a_frame_too():
    frame = flexsim.collective_table("broadcast", HOST, 2, [1024, 2048]).to_frame()
    assert list(frame) == list(CollectiveRow.__dataclass_fields__)
    assert frame["num_bytes"].tolist() == [1024, 2048]
    assert (frame["algorithm_bandwidth_bytes_per_s"] == frame["bus_bandwidth_bytes_per_s"]).all()


def test_a_name_of_a_device_graph_will_do():
    table = flexsim.collective_table("all-to-all", "dgx-a100", 2, [1024])
    assert table.device_graph == "dgx-a100"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("all-redoce", HOST), "there is no collective 'all-redoce': did you mean 'all-reduce'"),
        (("all-reduce", "dgx-a10"), "there is no device graph 'dgx-a10'"),
        (("all-reduce", HOST, 9), "devices = 9: choose from 2 to 8"),
        (("all-reduce", HOST, 1), "devices = 1: choose from 2 to 8"),
        (("all-reduce", HOST, 8, [0]), "size = 0"),
        (("all-reduce", HOST, 8, [8], "rings"), "no algorithm 'rings': did you mean 'ring'"),
        (("all-reduce", HOST, 8, [8], "auto", "wires"), "there is no network 'wires'"),
        (("all-reduce", HOST, 6, [8], "halving-doubling"), "power of two members, not 6"),
        (("broadcast", HOST, 6, [8], "halving-doubling"), "broadcast has no algorithm"),
    ],
)
def test_what_does_not_fit_is_told_in_a_sentence(given, said):
    with pytest.raises(FlexSimError, match=said):
        flexsim.collective_table(*given)
