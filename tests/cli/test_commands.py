import json
import os
import subprocess
import sys

import pytest
from command_line import flexsim
from shipped_scenarios import NAMES as SCENARIOS

from flexsim.files import shipped_names
from flexsim.models import PRESETS
from flexsim.strategy import BASELINES
from flexsim.task_graph.schedules import SCHEDULES


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("models", PRESETS),
        ("device-graphs", shipped_names("device_graphs")),
        ("profiles", [*shipped_names("profiles/devices"), *shipped_names("profiles/software")]),
        ("schedules", SCHEDULES),
        ("strategies", BASELINES),
        ("scenarios", SCENARIOS),
        ("sweeps", shipped_names("scenarios/sweeps")),
    ],
)
def test_list_prints_every_name_with_a_description(kind, names):
    answer = flexsim("list", kind)
    lines = [line for line in answer.out.splitlines() if not line.startswith(" ")]
    rows = [line.split(maxsplit=1) for line in lines]
    assert answer.code == 0
    assert [row[0] for row in rows] == list(names)
    assert all(len(row) == 2 and len(row[1].strip()) > 10 for row in rows)


def test_list_describes_a_profile_by_the_whole_first_sentence_of_its_comment():
    texts = " ".join(flexsim("list", "profiles").out.split())
    assert "vTrain's runs (arXiv 2312.12391) megatron-deepspeed-2022 software:" in texts
    assert "(GSPMD, Xu et al. 2021, arXiv 2105.04663), as PaLM's and Gopher's" in texts


def test_list_refuses_an_unknown_kind():
    answer = flexsim("list", "model")
    assert (answer.code, answer.out) == (2, "")
    assert "'model'" in answer.err
    assert "did you mean 'models'?" in answer.err


def test_schema_is_json():
    answer = flexsim("schema")
    assert answer.code == 0
    assert "strategy" in json.loads(answer.out)["properties"]


def test_describe_prints_facts_and_draws(tmp_path):
    picture = tmp_path / "new" / "graph.svg"
    answer = flexsim("describe", "dgx-a100", "--hosts", "2", "--plot", str(picture))
    assert answer.code == 0
    assert "16 × a100-80gb" in answer.out
    assert str(picture) in answer.out
    assert "<svg" in picture.read_text()


def test_describe_draws_to_plots_by_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = flexsim("describe", "two-hosts-example")
    assert answer.code == 0
    assert (tmp_path / "plots/two-hosts-example.png").read_bytes().startswith(b"\x89PNG")


def test_schedule_prints_the_order_of_every_rank():
    answer = flexsim("schedule", "1f1b", "--stages", "2", "--microbatches", "3")
    lines = [line.split() for line in answer.out.splitlines()]
    assert answer.code == 0
    assert lines[0] == ["rank", "0", "0F0", "0F1", "0B0", "0F2", "0B1", "0B2"]
    assert lines[1] == ["rank", "1", "1F0", "1B0", "1F1", "1B1", "1F2", "1B2"]
    assert ["makespan", "12"] in lines
    assert ["bubble", "fraction", "0.2500"] in lines


def test_schedule_as_json_has_its_four_keys():
    options = ("--stages", "4", "--chunks", "2", "--microbatches", "8", "--forward", "0.5")
    gradients = ("--input-gradient", "0.75", "--weight-gradient", "0.25")
    answer = flexsim("schedule", "interleaved-1f1b", *options, *gradients, "--json")
    facts = json.loads(answer.out)
    assert list(facts) == ["order", "makespan", "bubble_fraction", "peak_in_flight"]
    assert list(facts["order"]) == ["0", "1", "2", "3"]
    assert facts["order"]["3"][:2] == ["3F0", "3F1"]
    assert facts["bubble_fraction"] == pytest.approx(3 / (2 * 8 + 3))
    assert facts["makespan"] == pytest.approx(1.5 * (2 * 8 + 3))


def test_schedule_draws_where_asked(tmp_path):
    pytest.importorskip("flexsim.plotting.bubbles", reason="pictures of bubbles are not built")
    picture = tmp_path / "bubbles.png"
    answer = flexsim(
        "schedule", "gpipe", "--stages", "3", "--microbatches", "4", "--plot", str(picture)
    )
    assert answer.code == 0
    assert str(picture) in answer.out
    assert picture.read_bytes().startswith(b"\x89PNG")


MISTAKES = [
    (("run", "missing.toml"), "missing.toml: cannot be read"),
    (("describe", "dgx-a10"), "did you mean 'dgx-a100'?"),
    (("describe", "dgx-a100", "--hosts", "0"), "hosts = 0"),
    (("describe", "dgx-a100", "--plot", "picture.gif"), ".png"),
    (("schedule", "1f1", "--stages", "2", "--microbatches", "2"), "did you mean '1f1b'?"),
    (("schedule", "1f1b", "--stages", "0", "--microbatches", "2"), "ranks = 0"),
    (("schedule", "gpipe", "--stages", "2", "--chunks", "2", "--microbatches", "2"), "chunks = 2"),
    (("schedule", "gpipe", "--stages", "2", "--microbatches", "2", "--forward", "nan"), "nan"),
    (("schedule", "gpipe", "--stages", "2", "--microbatches", "2", "--transfer", "-1"), "-1"),
]


@pytest.mark.parametrize(("arguments", "told"), MISTAKES)
def test_a_mistake_is_one_sentence_and_code_2(tmp_path, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    answer = flexsim(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("error: ")
    assert answer.err.count("\n") == 1
    assert told in answer.err


def test_an_unwritable_place_is_one_sentence_and_code_2(tmp_path):
    (tmp_path / "file").touch()
    answer = flexsim("describe", "dgx-a100", "--plot", str(tmp_path / "file" / "graph.png"))
    assert answer.code == 2
    assert answer.err.startswith("error: ")
    assert answer.err.count("\n") == 1
    assert str(tmp_path / "file") in answer.err


def test_help_imports_nothing_heavy():
    program = (
        "import sys; sys.argv = ['flexsim', '--help']\n"
        "from flexsim.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'pandas', 'matplotlib', 'simpy', 'networkx', 'pydantic', 'scipy'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"NO_COLOR": "1"},
    )
    assert done.stderr.strip() == "[]"
    assert "schedule" in done.stdout


def test_an_interrupt_ends_with_130(monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("flexsim.scenario.load.load_scenario", interrupted)
    assert flexsim("run", "any.toml").code == 130
