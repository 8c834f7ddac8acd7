import json
import re

import pytest
from command_line import flexsim, only_error

GRAPH = ("--device-graph", "dgx-a100")
FEW = ("--min", "1 MB", "--max", "16 MB", "--step-factor", "8")


def test_the_table_has_the_columns_of_nccl_tests():
    answer = flexsim("collective", "all-reduce", *GRAPH, "--hosts", "2", *FEW)
    lines = answer.out.splitlines()
    assert (answer.code, answer.err) == (0, "")
    assert lines[0] == "all-reduce among 16 devices of dgx-a100, analytic network"
    columns = ["size (B)", "time (us)", "algorithm", "algbw (GB/s)", "busbw (GB/s)"]
    assert re.split(r"\s{2,}", lines[2].strip()) == columns
    assert [line.split()[0] for line in lines[4:]] == ["1,048,576", "8,388,608"]


def test_json_has_the_same_rows():
    answer = flexsim("collective", "all-gather", *GRAPH, "--devices", "4", *FEW, "--json")
    content = json.loads(answer.out)
    assert (content["collective"], content["num_devices"]) == ("all-gather", 4)
    assert [row["num_bytes"] for row in content["rows"]] == [1048576, 8388608]
    row = content["rows"][1]
    assert row["bus_bandwidth_bytes_per_s"] == pytest.approx(8388608 / row["time_ns"] * 1e9 * 3 / 4)


def test_the_network_can_be_chosen():
    rows = {
        network: json.loads(
            flexsim("collective", "all-to-all", *GRAPH, *FEW, "--json", "--network", network).out
        )["rows"]
        for network in ("links", "fair")
    }
    assert all(row["time_ns"] > 0 for each in rows.values() for row in each)


def test_a_picture_is_written(tmp_path):
    path = tmp_path / "busbw.png"
    answer = flexsim("collective", "broadcast", *GRAPH, *FEW, "--plot", str(path))
    assert answer.out.splitlines()[-1] == f"wrote {path}"
    assert path.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("all-reduced", *GRAPH), "there is no collective 'all-reduced'"),
        (("all-reduce", "--device-graph", "dgx"), "there is no device graph 'dgx'"),
        (("all-reduce", *GRAPH, "--devices", "9"), "devices = 9: choose from 2 to 8"),
        (("all-reduce", *GRAPH, "--algorithm", "x"), "all-reduce has no algorithm 'x'"),
        (("all-reduce", *GRAPH, "--network", "x"), "there is no network 'x'"),
        (("all-reduce", *GRAPH, "--min", "2 MB", "--max", "1 MB"), "is above the largest"),
        (("all-reduce", *GRAPH, "--min", "2"), "--min: '2' is not a size"),
        (
            ("all-reduce", *GRAPH, "--devices", "6", "--algorithm", "halving-doubling"),
            "power of two",
        ),
        (("all-reduce", *GRAPH, *FEW, "--plot", "x.gif"), "choose from .pdf, .png, .svg"),
        (("all-reduce",), "Missing option '--device-graph'"),
    ],
)
def test_mistakes_are_told_in_one_sentence(arguments, said):
    assert said in only_error(flexsim("collective", *arguments))
