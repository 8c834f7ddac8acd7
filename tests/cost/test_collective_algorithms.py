"""Algorithms by name: closed forms worked out by hand, shares of links, choice, refusals."""

import math
from dataclasses import replace

import numpy as np
import pytest

from flexsim.collectives import ALGORITHMS, algorithms_of
from flexsim.cost import Communication, load_device_profile, load_software_profile
from flexsim.cost.profiles import NCCL, CollectiveConstants
from flexsim.device_graph import load_device_graph
from flexsim.errors import FlexSimError, ProfileError

MEGATRON = load_software_profile("megatron-lm")
A100, TPU = load_device_profile("a100-80gb"), load_device_profile("tpu-v4")
NVLINK = 300e9 * A100.link("nvlink").efficiency
LOCAL_S = (600 + A100.link("nvlink").step_latency_ns) / 1e9
HDR = 25e9 * A100.link("infiniband").efficiency
RAIL_S = (1200 + A100.link("infiniband").step_latency_ns) / 1e9
ICI = 50e9 * TPU.link("ici").efficiency
HOP_S = (1000 + TPU.link("ici").step_latency_ns) / 1e9


def prices(graph: str = "dgx-a100", hosts: int = 1, **switches: bool) -> Communication:
    """Return α-β prices: no launch, no own share, no ramp."""
    devices = replace(load_device_graph(graph, hosts), **switches)
    whole = Communication.of(devices, MEGATRON)
    free = CollectiveConstants(0.0, math.inf, 0.0, whole.constants.algorithms)
    return replace(whole, constants=free, host_time_ns=0.0)


def one(price: Communication, collective: str, num_bytes: int, group: object, how: str) -> float:
    """Return the seconds of one group."""
    members = np.asarray(list(group))[None]  # type: ignore[call-overload]
    return float(price.collective_ns(collective, num_bytes, members, how)[0]) / 1e9


def seconds(expected: float) -> object:
    return pytest.approx(expected, abs=2e-9)


@pytest.mark.parametrize(("collective", "passes"), [("all-reduce", 2), ("all-gather", 1)])
def test_halving_doubling_sends_as_much_as_a_ring_in_few_steps(
    collective: str, passes: int
) -> None:
    expected = passes * (7 / 8 * 1e8 / NVLINK + 3 * LOCAL_S)
    assert one(prices(), collective, 10**8, range(8), "halving-doubling") == seconds(expected)


def test_halving_doubling_over_hosts_takes_halves_inside_and_the_rest_between() -> None:
    """Distances 1, 2, 4 inside a host with 1/2, 1/4, 1/8; distance 8 between with 1/16."""
    expected = 2 * (7 / 8 * 1e8 / NVLINK + 3 * LOCAL_S + 1 / 16 * 1e8 / HDR + RAIL_S)
    found = one(prices(hosts=2), "all-reduce", 10**8, range(16), "halving-doubling")
    assert found == seconds(expected)


def test_direct_takes_one_step_a_pass() -> None:
    expected = 7 / 8 * 1e8 / NVLINK + LOCAL_S
    assert one(prices(), "reduce-scatter", 10**8, range(8), "direct") == seconds(expected)
    assert one(prices(), "all-reduce", 10**8, range(8), "direct") == seconds(2 * expected)


def test_both_directions_share_the_port_of_a_switch_but_not_the_links_of_a_torus() -> None:
    assert one(prices(), "all-reduce", 10**8, range(8), "bidirectional-ring") == seconds(
        2 * 7 / 8 * 1e8 / NVLINK + 14 * LOCAL_S
    )
    axis = range(0, 64, 16)
    pod = prices("tpu-v4-pod", 16)
    two_ways = 2 * 3 / 4 * 1e8 / 2 / ICI + 6 * HOP_S
    assert one(pod, "all-reduce", 10**8, axis, "bidirectional-ring") == seconds(two_ways)
    assert one(pod, "all-reduce", 10**8, axis, "ring") == seconds(2 * 3 / 4 * 1e8 / ICI + 6 * HOP_S)


@pytest.mark.parametrize(
    ("members", "dims"), [(range(0, 64, 16), 1), (range(16), 2), (range(64), 3)]
)
def test_a_torus_uses_all_links_of_its_dimensions(members: range, dims: int) -> None:
    n = len(members)
    expected = 2 * ((n - 1) / n * 1e9 / (2 * dims) / ICI + 3 * dims * HOP_S)
    pod = prices("tpu-v4-pod", 16)
    assert one(pod, "all-reduce", 10**9, members, "torus") == seconds(expected)
    assert pod.choose("all-reduce", 10**9, np.array([members])) == ["torus"]


def test_shares_of_unequal_dimensions_meet_on_the_longer_one() -> None:
    """4 x 8: half of the message first along 8, an eighth of it (half of a quarter) later."""
    pod, link = prices("tpu-v3-pod", 4), load_device_profile("tpu-v3").link("ici")
    rate = pod.links.collective_bandwidth_bytes_per_s.max()
    later = (pod.links.latency_ns.max() + link.step_latency_ns) / 1e9
    longer = 7 / 8 * (1 / 2 + 1 / 2 / 4) * 1e9 / 2 / rate
    found = one(pod, "all-gather", 10**9, range(32), "torus")
    assert found == pytest.approx(longer + 10 * later, rel=1e-3)


def test_groups_on_one_axis_of_a_torus_do_not_disturb_those_on_another() -> None:
    pod = prices("tpu-v4-pod", 16)
    grid = np.arange(64).reshape(4, 4, 4)
    rows = grid.reshape(16, 4)
    alone = pod.collective_ns("all-reduce", 10**8, rows[:1], "torus")
    assert (pod.collective_ns("all-reduce", 10**8, rows, "torus") == alone).all()


def test_groups_that_share_links_share_their_bandwidth() -> None:
    """DGX-2H: two devices use one card."""
    price = prices("dgx2h-v100", 2)
    alone = price.collective_ns("all-reduce", 10**9, np.array([[0, 16]]), "halving-doubling")
    both = price.collective_ns(
        "all-reduce", 10**9, np.array([[0, 16], [1, 17]]), "halving-doubling"
    )
    apart = price.collective_ns(
        "all-reduce", 10**9, np.array([[0, 16], [2, 18]]), "halving-doubling"
    )
    assert both.tolist() == pytest.approx([2 * alone[0]] * 2, rel=1e-3)
    assert apart.tolist() == [alone[0]] * 2


def test_a_hierarchical_all_to_all_stays_on_its_rail() -> None:
    found = one(prices(hosts=2), "all-to-all", 10**8, range(16), "hierarchical")
    assert found == seconds(7 / 8 * 1e8 / NVLINK + 1 / 2 * 1e8 / HDR + LOCAL_S + RAIL_S)


def test_switches_sum_where_the_device_graph_says_so() -> None:
    summing, plain = prices("dgx-h100"), prices("dgx-h100", in_network_reduction=False)
    group = np.arange(8)[None]
    assert summing.choose("all-reduce", 2**29, group) == ["in-network"]
    assert plain.choose("all-reduce", 2**29, group) == ["ring"]
    assert plain.collective_ns("all-reduce", 2**29, group) > summing.collective_ns(
        "all-reduce", 2**29, group
    )


def test_small_messages_take_trees_and_large_ones_rings() -> None:
    price, group = prices(hosts=4), np.arange(32)[None]
    assert price.choose("all-reduce", 8, group) == ["tree"]
    assert price.choose("all-reduce", 10**10, group) == ["ring"]
    assert price.choose("all-gather", 10**6, group) == ["hierarchical"]


@pytest.mark.parametrize("collective", sorted(ALGORITHMS))
def test_auto_is_the_fastest_of_the_library(collective: str) -> None:
    price, groups = prices("dgx-h100", 2), np.arange(16).reshape(2, 8)
    for num_bytes in (10**3, 10**6, 10**9):
        auto = price.collective_ns(collective, num_bytes, groups)
        each = [
            price.collective_ns(collective, num_bytes, groups, name) for name in NCCL[collective]
        ]
        assert auto.tolist() == np.min(each, axis=0).tolist()
        names = price.choose(collective, num_bytes, groups)
        assert [each[NCCL[collective].index(n)][i] for i, n in enumerate(names)] == auto.tolist()


def test_what_goes_beside_the_steps_is_the_rest_of_the_price() -> None:
    whole, bare = Communication.of(load_device_graph("dgx-a100", 1), MEGATRON), prices()
    for name in ("ring", "halving-doubling", "direct"):
        price = whole.collective_ns("all-reduce", 10**7, np.arange(8)[None], name)[0]
        steps = bare.collective_ns("all-reduce", 10**7, np.arange(8)[None], name)[0]
        overhead = whole.overhead_ns("all-reduce", name, 10**7, np.arange(8))
        assert overhead == pytest.approx(price - steps, abs=1)
        assert overhead > whole.constants.launch_ns


def test_members_are_placed_by_host_and_on_tori_along_a_path() -> None:
    devices, layout = prices(hosts=2).placed(np.array([9, 1, 8, 0]))
    assert (devices.tolist(), layout) == ([0, 1, 8, 9], (2, 2))
    assert prices(hosts=2).placed(np.array([9, 1, 8]))[1] == (3, 1)
    assert prices().placed(np.array([3, 1]))[1] == (2,)
    pod = prices("tpu-v4-pod", 16)
    path, layout = pod.placed(np.arange(64))
    assert layout == (64,)
    hops = np.abs(np.diff(np.stack(np.unravel_index(path, (4, 4, 4))), axis=1)).sum(axis=0)
    assert (hops == 1).all()
    assert pod.placed(np.arange(64), "torus")[1] == (4, 4, 4)
    assert pod.placed(np.arange(0, 64, 4), "torus")[1] == (4, 4)


def test_a_ring_in_a_host_without_switch_takes_its_fastest_direct_links() -> None:
    """DGX-1 V100: every hop of this ring is two NVLinks side by side."""
    price = prices("dgx1-v100")
    order = price.placed(np.arange(8))[0]
    assert order.tolist() == [0, 3, 2, 1, 5, 6, 7, 4]
    routes = price.device_graph.routes(order, np.roll(order, -1))
    assert routes.counts.tolist() == [1] * 8
    assert (price.device_graph.links.bandwidth_bytes_per_s[routes.values] == 50e9).all()


def test_rings_over_all_links_of_a_host_without_switch() -> None:
    """DGX-1 V100 has six NVLinks a device: three rings, both ways, with 25 GB/s each."""
    price, link = prices("dgx1-v100"), load_device_profile("v100-16gb").link("nvlink")
    devices, layout = price.placed(np.arange(8), "multi-ring")
    assert layout == (3, 8)
    assert all(sorted(ring) == list(range(8)) for ring in devices.reshape(layout).tolist())
    rings = devices.reshape(layout)
    ends = rings.ravel(), np.roll(rings, -1, axis=1).ravel()
    routes = price.device_graph.routes(np.concatenate(ends), np.concatenate(ends[::-1]))
    rates = price.device_graph.links.bandwidth_bytes_per_s
    assert (np.bincount(routes.values, minlength=len(rates)) * 25e9 <= rates).all()
    step_s = (600 + link.step_latency_ns) / 1e9
    expected = 2 * 7 / 8 * 1e9 / (6 * 25e9 * link.efficiency) + 14 * step_s
    assert one(price, "all-reduce", 10**9, range(8), "multi-ring") == seconds(expected)
    assert price.choose("all-reduce", 10**9, np.arange(8)[None]) == ["multi-ring"]


REFUSED = [
    ("dgx-a100", range(8), "multi-ring", "direct links between devices form no ring through"),
    ("dgx-a100", range(6), "halving-doubling", "needs a power of two members, not 6; choose from"),
    ("dgx-a100", range(8), "torus", "its devices form no torus"),
    ("tpu-v4-pod", range(6), "torus", "the 6 devices 0, 1, 2, 3, ... are not whole axes of the"),
    ("dgx-a100", range(8), "in-network", "no switch reaches and sums all members"),
    ("dgx-a100", range(8), "trees", "no algorithm 'trees': did you mean 'tree'"),
]


@pytest.mark.parametrize(("graph", "members", "algorithm", "message"), REFUSED)
def test_what_an_algorithm_cannot_do_is_told(
    graph: str, members: range, algorithm: str, message: str
) -> None:
    price = prices(graph, 16 if graph.startswith("tpu") else 1)
    with pytest.raises(FlexSimError, match=message):
        price.collective_ns("all-reduce", 10**6, np.array([members]), algorithm)


def test_a_library_without_an_algorithm_for_a_group_is_told() -> None:
    price = prices("tpu-v4-pod", 16)
    only = replace(price.constants, algorithms={"all-reduce": ("torus",)})
    with pytest.raises(FlexSimError, match=r"device profile lists \(torus\) serves every group"):
        replace(price, constants=only).collective_ns("all-reduce", 8, np.array([[0, 1]]))


@pytest.mark.parametrize("ramp", [0.0, 1.5])
def test_auto_passes_over_what_does_not_serve_a_group(ramp: float) -> None:
    price = prices("tpu-v4-pod", 16)
    priced = replace(price, constants=replace(price.constants, ramp=ramp))
    groups = np.array([[0, 16, 32, 48], [1, 17, 33, 50]])
    assert priced.choose("all-reduce", 10**8, groups) == ["torus", "bidirectional-ring"]
    assert (priced.collective_ns("all-reduce", 10**8, groups) > 0).all()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('all-reduce = ["rings"]', "algorithms.all-reduce = 'rings': did you mean 'ring'"),
        ('gather = ["ring"]', "algorithms.gather: did you mean 'all-gather'"),
        ("all-reduce = []", "choose from"),
    ],
)
def test_a_profile_lists_algorithms_that_there_are(tmp_path, table: str, message: str) -> None:
    from flexsim.files import find_file

    shipped = find_file("profiles/devices", "a100-80gb", ProfileError, "device profile")
    text = shipped.read_text(encoding="utf-8")
    lists = f"[collectives.algorithms]\n{table}\n\n[links.nvlink]"
    path = tmp_path / "mine.toml"
    path.write_text(text.replace("[links.nvlink]", lists, 1), encoding="utf-8")
    with pytest.raises(ProfileError, match=message):
        load_device_profile(str(path))


def test_nccl_has_only_algorithms_that_there_are() -> None:
    assert set(NCCL) == set(ALGORITHMS)
    assert all(set(names) <= set(algorithms_of(collective)) for collective, names in NCCL.items())
