"""The options of `flexsim run` that say how communication runs over links."""

import csv
import json

from command_line import flexsim
from small_gpt import write_small


def test_options_choose_the_network(tmp_path):
    file = write_small(tmp_path / "small.toml", output={"directory": str(tmp_path / "out")})
    options = ("--collective-algorithm", "ring", "--segment", "64 KiB")
    answer = flexsim(
        "run", str(file), "--network", "links", *options, "--forwarding", "store-and-forward"
    )
    assert answer.code == 0, answer.err
    assert "flows over links" in answer.out
    with (tmp_path / "out" / "metrics.csv").open() as table:
        (row,) = csv.DictReader(table)
    keys = ("network", "collective_algorithm", "segment", "forwarding")
    told = [row[f"simulation.{key}"] for key in keys]
    assert told == ["links", "ring", "65536", "store-and-forward"]
    assert (tmp_path / "out" / "links.csv").exists()


def test_a_wrong_network_is_one_sentence(tmp_path):
    file = write_small(tmp_path / "small.toml")
    answer = flexsim("run", str(file), "--network", "token-ring")
    assert answer.code != 0
    assert "simulation.network = 'token-ring': choose from analytic, fair, links" in answer.err
    assert len(answer.err.strip().splitlines()) == 1


def test_json_tells_the_same_on_both_engines(tmp_path):
    file = write_small(tmp_path / "small.toml", output={"directory": str(tmp_path / "out")})
    found = [
        json.loads(flexsim("run", str(file), "--network", "links", "--engine", each, "--json").out)
        for each in ("event", "compiled")
    ]
    assert found[0] == found[1]
