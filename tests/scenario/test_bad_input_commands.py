"""Wrong files, options and places, told by the command line in one sentence."""

import tomllib
from pathlib import Path

import pytest
from command_line import flexsim, only_error
from small_gpt import small, toml_text, write_small


@pytest.fixture(autouse=True)
def _in_new_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


FILES = {
    "empty": (b"", "the key model is missing"),
    "binary": (bytes(range(256)), "cannot be read"),
    "zeros": (b"\0\0\0", "cannot be read"),
    "not utf-8": (b'title = "\xff"', "cannot be read"),
    "json": (b'{"model": {}}', "cannot be read"),
    "half a table": (b"[model", "cannot be read"),
    "a table twice": (b"[model]\n[model]\n", "cannot be read"),
    "a number too long": (b"x = " + b"9" * 5000, "cannot be read"),
    "too deep": (b"x = " + b"[" * 5000 + b"]" * 5000, "cannot be read"),
    "values for tables": (b'model = 1\ncluster = "x"\ntraining = []\nstrategy = 2.0', "a table"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_is_no_scenario_is_refused(kind):
    content, told = FILES[kind]
    Path("my.toml").write_bytes(content)
    error = only_error(flexsim("run", "my.toml"))
    assert error.startswith("error: my.toml: ")
    assert told in error


def test_a_missing_file_a_directory_and_a_path_through_a_file_are_refused():
    write_small(Path("file.toml"))
    assert "none.toml: cannot be read: No such file" in only_error(flexsim("run", "none.toml"))
    assert "Is a directory" in only_error(flexsim("run", "."))
    assert "Not a directory" in only_error(flexsim("run", "file.toml/x.toml"))


def test_a_file_that_may_not_be_read_is_refused(monkeypatch):
    write_small(Path("my.toml"))

    def denied(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.open", denied)
    error = only_error(flexsim("run", "my.toml"))
    assert error == "error: my.toml: cannot be read: Permission denied\n"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("strategy.tensor", "'strategy.tensor' does not set a key: write it as strategy.tensor=4"),
        ("", "'' does not set a key"),
        ("=4", "'=4' does not set a key"),
        ("strategy..tensor=2", "does not set a key"),
        ("strategy.tensor.x=4", "tensor is not a table"),
        ("strategy=4", "my.toml: strategy = 4: it should be a table"),
        ("strategy.tensor=", "my.toml: strategy.tensor = ''"),
        ("strategy.tensor=[", "my.toml: strategy.tensor = '['"),
        ("strategy.tensor=4=5", "my.toml: strategy.tensor = '4=5'"),
        ("strategy.tensor=nan", "my.toml: strategy.tensor = nan"),
        ("strategy.tensor=" + "9" * 5000, "my.toml: strategy.tensor = '999"),
        ("strategy.tensor=1\npipeline=1", "my.toml: strategy.tensor = '1\\npipeline=1'"),
        ("strategy.tenser=4", "did you mean 'tensor'?"),
        ("straetgy.tensor=4", "did you mean 'strategy'?"),
        ("training.precision=fp9", "training.precision = 'fp9': did you mean"),
        ("published.mfu=2", "published.mfu = 2"),
    ],
)
def test_a_wrong_change_is_refused(change, told):
    write_small(Path("my.toml"))
    assert told in only_error(flexsim("run", "my.toml", "--set", change))


OPTIONS = [
    (("run",), "Missing argument"),
    (("run", "my.toml", "more.toml"), "more.toml"),
    (("run", "my.toml", "--outptu", "x"), "--outptu"),
    (("run", "my.toml", "--set"), "--set"),
    (("run", "my.toml", "--engine", "fast"), "simulation.engine = 'fast'"),
    (("run", "my.toml", "--engine", ""), "simulation.engine = ''"),
    (("run", "my.toml", "--detail", "some"), "output.detail = 'some'"),
    (("rnu", "my.toml"), "'run'"),
    (("--vresion",), "--vresion"),
    (("list",), "Missing argument"),
    (("list", "model"), "did you mean 'models'?"),
    (("describe",), "Missing argument"),
    (("describe", "dgx-a10"), "did you mean 'dgx-a100'?"),
    (("describe", "my.toml"), "unknown key model"),
    (("describe", "dgx-a100", "--hosts", "0"), "hosts = 0"),
    (("describe", "dgx-a100", "--hosts", "two"), "--hosts"),
    (("describe", "dgx-a100", "--hosts", "1000000"), "choose from 1 to 131072"),
    (("describe", "dgx-a100", "--plot", "x.gif"), "x.gif"),
    (("schedule", "1f1b"), "--stages"),
    (("schedule", "1f1b", "--stages", "x", "--microbatches", "2"), "--stages"),
    (("schedule", "1f1b", "--stages", "0", "--microbatches", "2"), "--stages 0"),
    (("schedule", "1f1b", "--stages", "-1", "--microbatches", "2"), "--stages -1"),
    (("schedule", "1f1b", "--stages", "2", "--microbatches", "0"), "--microbatches 0"),
    (("schedule", "1f1b", "--stages", "2", "--microbatches", "2", "--chunks", "2"), "chunks = 1"),
    (("schedule", "1f1b", "--stages", "10000000000", "--microbatches", "2"), "at most 10,000,000"),
    (("schedule", "1f1", "--stages", "2", "--microbatches", "2"), "did you mean '1f1b'?"),
    (
        ("schedule", "zb-v", "--stages", "4", "--microbatches", "6", "--chunks", "3"),
        "--stages 4 --chunks 3 --microbatches 6: schedule 'zb-v' has 2 stages a rank, so chunks = 3"
        " does not fit it; choose chunks = 2",
    ),
    (("schedule", "gpipe", "--stages", "2", "--microbatches", "2", "--forward", "nan"), "nan"),
    (("schedule", "gpipe", "--stages", "2", "--microbatches", "2", "--forward", "0"), "forward"),
    (("schedule", "gpipe", "--stages", "2", "--microbatches", "2", "--transfer", "-1"), "-1"),
    (("schedule", "gpipe", "--stages", "2", "--microbatches", "2", "--forward", "1e300"), "1e+300"),
    (("schedule", "gpipe", "--stages", "2", "--microbatches", "2", "--plot", "x"), ".png"),
]


@pytest.mark.parametrize(("arguments", "told"), OPTIONS, ids=lambda value: str(value)[:60])
def test_a_wrong_option_is_one_sentence(arguments, told):
    write_small(Path("my.toml"))
    assert told in only_error(flexsim(*arguments))


def test_without_arguments_the_help_is_printed():
    answer = flexsim()
    assert (answer.code, answer.err) == (0, "")
    assert "schedule" in answer.out


def test_an_output_directory_that_cannot_be_is_refused_before_the_run(monkeypatch):
    write_small(Path("my.toml"))
    Path("file").write_text("mine")
    monkeypatch.setattr("flexsim.scenario.runner.run", None)
    for directory in ("file", "file/deeper"):
        error = only_error(flexsim("run", "my.toml", "--output", directory))
        assert error.startswith(f"error: {directory}: nothing can be written there: ")
    assert Path("file").read_text() == "mine"


def test_a_directory_in_the_place_of_a_file_is_refused():
    write_small(Path("my.toml"))
    Path("out/metrics.csv").mkdir(parents=True)
    error = only_error(flexsim("run", "my.toml", "--output", "out"))
    assert error == "error: out/metrics.csv: Is a directory\n"
    assert [path.name for path in Path("out").iterdir()] == ["metrics.csv"]


@pytest.mark.parametrize(
    "title", ["$x^{$", "\\frac", "[/red]", "[bold]x", "{x}", "%s", "日本", "x" * 999]
)
def test_any_printable_title_is_drawn(title):
    content = {"title": title} | small()
    Path("my.toml").write_text(toml_text(content), encoding="utf-8")
    answer = flexsim("run", "my.toml")
    assert (answer.code, answer.err) == (0, "")
    assert title[:60] in answer.out


def test_a_title_with_control_characters_is_refused():
    Path("my.toml").write_text(toml_text({"title": "\x1b[31m"} | small()))
    assert "my.toml: title = '\\x1b[31m'" in only_error(flexsim("run", "my.toml"))


def test_running_out_of_memory_is_one_sentence(monkeypatch):
    def no_memory(*_, **__):
        raise MemoryError

    write_small(Path("my.toml"))
    monkeypatch.setattr("flexsim.scenario.runner.planned", no_memory)
    assert "out of memory" in only_error(flexsim("run", "my.toml"))


def test_the_toml_that_these_tests_write_is_what_they_mean():
    content = {"title": "a\\b"} | small(strategy={"sequence_parallel": True})
    assert tomllib.loads(toml_text(content)) == content
