"""Mistakes in a sweep file, told in one sentence: file, key, value and choices; exit code 2."""

import pytest
from command_line import flexsim, only_error
from small_sweep import write_sweep

GRID = {"strategy.tensor": [1, 2]}
MISTAKES = {
    "empty grid": ({"grid": {}}, ["sweep.grid is empty", '"strategy.tensor" = [1, 2, 4]']),
    "nothing at all": ({}, ["sweep.grid is empty"]),
    "empty list": ({"grid": {"strategy.tensor": []}}, ["strategy.tensor = []", "empty"]),
    "no list": ({"grid": {"strategy.tensor": 4}}, ["strategy.tensor = 4", "a list", "from = 1"]),
    "unknown key": (
        {"grid": {"strategy.tensr": [1]}},
        ["sweep.grid", "strategy.tensr", "did you mean 'strategy.tensor'?", "strategy.pipeline"],
    ),
    "unknown table": (
        {"grid": {"stategy.tensor": [1]}},
        ["stategy.tensor", "did you mean 'strategy.tensor'?", "model, cluster, training"],
    ),
    "key without a table": ({"grid": {"tensor": [1]}}, ["unknown key tensor", "strategy.tensor"]),
    "output does not vary": ({"grid": {"output.detail": ["auto"]}}, ["output.detail"]),
    "value twice": ({"grid": {"strategy.tensor": [1, 2, 1]}}, ["strategy.tensor = 1 twice"]),
    "key twice": (
        {"grid": GRID, "zip": {"strategy.tensor": [1, 2]}},
        ["strategy.tensor twice", "grid and zip"],
    ),
    "zip of two lengths": (
        {"zip": {"strategy.tensor": [1, 2], "strategy.pipeline": [1]}},
        ["sweep.zip", "strategy.pipeline has 1", "strategy.tensor has 2", "equally many"],
    ),
    "range without an end": ({"grid": {"strategy.tensor": {"from": 1}}}, ["'from': 1", "to = 8"]),
    "range that stands still": (
        {"grid": {"strategy.tensor": {"from": 1, "to": 8, "factor": 1}}},
        ["factor = 1", "2 or more"],
    ),
    "range of nothing": ({"grid": {"strategy.tensor": {"from": 3, "to": 2}}}, ["is empty"]),
    "range of text": ({"grid": {"strategy.tensor": {"from": "a", "to": 2}}}, ["whole numbers"]),
    "range without bound": (
        {"grid": {"strategy.tensor": {"from": 1, "to": 10**9}}},
        ["at most 100,000"],
    ),
    "too many combinations": (
        {
            "grid": {
                k: {"from": 1, "to": 5000}
                for k in ("strategy.tensor", "strategy.data", "strategy.pipeline")
            }
        },
        ["125,000,000,000 combinations", "1,000,000,000"],
    ),
    "derived and varied": (
        {"grid": GRID, "derive": {"strategy.tensor": "2"}},
        ["sweep.derive", "strategy.tensor", "varied too"],
    ),
    "derived from itself": (
        {"grid": GRID, "derive": {"strategy.data": "strategy.data + 1"}},
        ["strategy.data", "follow from itself"],
    ),
    "derived in a circle": (
        {
            "grid": GRID,
            "derive": {
                "strategy.data": "strategy.pipeline * 2",
                "strategy.pipeline": "strategy.data * 2",
            },
        },
        ["sweep.derive", "follow from itself"],
    ),
    "derived key unknown": ({"grid": GRID, "derive": {"strategy.dat": "2"}}, ["'strategy.data'?"]),
    "unknown key of the table": ({"grid": GRID, "wher": "1"}, ["sweep.wher", "'where'?"]),
    "condition no text": ({"grid": GRID, "where": 4}, ["sweep.where = 4"]),
    "condition never holds": (
        {"grid": GRID, "where": "strategy.tensor > 2"},
        ["sweep.where holds for none of the 2", "'strategy.tensor > 2' (2 times)"],
    ),
    "no such metric": (
        {"grid": GRID, "best": "mfuu"},
        ["sweep.best = 'mfuu'", "did you mean 'mfu'?", "iteration_time_s"],
    ),
    "search keys without search": (
        {"grid": {"search.budget": [1, 2]}},
        ["search.budget", "sweep.search = true"],
    ),
    "device graph without a price": (
        {"grid": GRID, "price_per_device_hour": {"dgx-h100": 2.0}},
        ["price_per_device_hour", "'dgx-a100'", "dgx-h100"],
    ),
    "price in words": ({"grid": GRID, "price_per_device_hour": "two"}, ["'two'", "a number"]),
    "zip of no tables": ({"zip": [1]}, ["sweep.zip = 1", "a table"]),
    "negative price": (
        {"grid": GRID, "price_per_device_hour": -1},
        ["price_per_device_hour = -1", "above zero"],
    ),
}
EXPRESSIONS = {
    "strategy.tensr == 2": ["'strategy.tensr' is unknown", "did you mean 'strategy.tensor'?"],
    "stategy.tensor == 2": ["'stategy.tensor'", "did you mean 'strategy.tensor'?", "cluster"],
    "tensor == 2": ["'tensor' is unknown"],
    "strategy.tensor == ": ["this is no expression"],
    "strategy.tensor = 2": ["this is no expression"],
    "strategy.tensor == 2; 1": ["this is no expression"],
    "__import__('os').system('true')": ["cannot be called"],
    "open('x')": ["\"open('x')\" cannot be called", "max, min, round"],
    "print(strategy.tensor)": ["cannot be called", "did you mean"],
    "strategy.tensor.real == 1": ["'strategy.tensor.real' is unknown"],
    "strategy.tensor.bit_length() == 1": ["cannot be called"],
    "(1).real == 1": ["'1 .real' is not allowed"],
    "min(key=abs) == 1": ["cannot be called"],
    "[x for x in (1, 2)] == 1": ["is not allowed"],
    "(lambda: 1)() == 1": ["cannot be called"],
    "strategy.tensor[0] == 1": ["'strategy.tensor[0]' is not allowed"],
    "f'{strategy.tensor}' == '1'": ["is not allowed"],
    "strategy.tensor is 1": ["is not allowed"],
    "(x := 2) == 2": ["is not allowed"],
    "{1: 2} == 2": ["is not allowed"],
    "strategy.tensor << 2 == 2": ["is not allowed"],
    "": ["sweep.where"],
    "strategy.schedule > 2": ["strategy.schedule has no value", "give it"],
    "strategy.tensor > 'a'": ["not supported", "strategy.tensor = 1"],
    "9 ** 9 ** 9 ** 9 > 1": ["sweep.where"],
    "(" * 300 + "1" + ")" * 300: ["sweep.where"],
    "1" + " + 1" * 1500: ["at most 2000 characters"],
}


def _refused(tmp_path, sweep):
    path = write_sweep(tmp_path / "mistaken.toml", sweep)
    output = tmp_path / "out.csv"
    message = only_error(flexsim("sweep", str(path), "--output", str(output), "--workers", "1"))
    assert str(path) in message
    assert not output.exists()
    return message


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_in_one_sentence(name, tmp_path):
    sweep, words = MISTAKES[name]
    message = _refused(tmp_path, sweep)
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize("text", EXPRESSIONS, ids=lambda text: text[:40])
def test_a_wrong_expression_is_told_in_one_sentence(text, tmp_path):
    message = _refused(tmp_path, {"grid": GRID, "where": text})
    assert [word for word in EXPRESSIONS[text] if word not in message] == []


def test_a_derived_key_is_checked_alike(tmp_path):
    message = _refused(tmp_path, {"grid": GRID, "derive": {"strategy.data": "exit(1)"}})
    assert "sweep.derive: strategy.data = 'exit(1)': 'exit(1)' cannot be called" in message


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"model": {"hiden": 4}}, ["model.hiden = 4", "'hidden'?"]),
        ({"training": {"global_batch": "x"}}, ["training.global_batch = 'x'"]),
    ],
)
def test_what_is_wrong_in_the_scenario_itself_is_told_at_once(tables, words, tmp_path):
    path = write_sweep(tmp_path / "mistaken.toml", {"grid": GRID}, **tables)
    message = only_error(flexsim("sweep", str(path), "--output", str(tmp_path / "out.csv")))
    assert [word for word in (*words, str(path)) if word not in message] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--format", "xml"], ["--format xml", "csv, parquet"]),
        (["--output", "rows.txt"], ["rows.txt", "csv, parquet"]),
        (["--output", "rows.csv", "--format", "parquet"], ["rows.csv", ".parquet"]),
        (["--workers", "-1"], ["-1 workers"]),
        (["--scheduler", "nowhere"], ["nowhere", "tcp://"]),
        (["--scheduler", "tcp://127.0.0.1:1", "--workers", "2"], ["one of the two"]),
        (["--set", "training"], ["'training'"]),
    ],
)
def test_wrong_options(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write_sweep(tmp_path / "good.toml")
    message = only_error(flexsim("sweep", str(path), *arguments))
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("title = 'no sweep'", ["the table [sweep] is missing"]),
        ("base = 3\n[sweep]", ["base = 3"]),
        ("base = 'nowhere.toml'\n[sweep.grid]\nstrategy.tensor = [1]", ["'nowhere.toml'"]),
        ("[sweep", ["cannot be read"]),
        ("sweep = 3", ["sweep = 3", "a table"]),
    ],
)
def test_files_that_are_no_sweeps(content, words, tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text(content)
    message = only_error(flexsim("sweep", str(path)))
    assert [word for word in (*words, str(path)) if word not in message] == []
