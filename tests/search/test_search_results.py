"""The table of what searches find: results are read, and written between the page's marks."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def tables(monkeypatch):
    """Return the module that writes the tables."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import search_table

    yield search_table
    for name in ("search_table", "bench_search"):
        sys.modules.pop(name, None)


def line(method, best_s, seed=0, letters="SOAP"):
    found = {"case": ["nmt-k80-64", method, letters, seed], "best_s": best_s, "load": 1.0}
    if method == "expert":
        return found
    more = {"data_s": 8.0, "proposals": 100, "acceptance": 0.25, "seconds": 60.0}
    return {**found, **more, "sent_bytes": 10, "data_sent_bytes": 30}


def test_results_are_written_between_the_marks(tables, tmp_path, monkeypatch):
    found = [line("expert", 6.0), line("optcnn", 4.0), line("mcmc", 5.0, 0, "SP")]
    found += [line("mcmc", best, seed) for seed, best in enumerate((1.0, 2.0, 4.0))]
    results, page = tmp_path / "results.jsonl", tmp_path / "page.md"
    results.write_text("\n".join(map(json.dumps, found)) + '\n{"case": ["cut of')
    page.write_text(f"before\n{tables.BEGIN}\nold\n{tables.END}\nafter\n")
    monkeypatch.setattr(sys, "argv", ["search_table.py", str(results), "--page", str(page)])
    tables.main()
    text = page.read_text()
    row = next(each for each in text.splitlines() if each.startswith("| nmt-k80-64"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:8] == ["8,000.0", "6,000.0", "4,000.0", "1,000.0", "2,000.0", "4,000.0", "3"]
    assert cells[8:] == ["4.00", "3.00", "2.00", "3.00", "100", "25%"]
    assert "5,000.0 (1.60)" in text
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text


def test_ratios_near_one_have_more_digits(tables):
    assert tables._ratio(1.0001, 1.0) == "1.00010"
    assert tables._ratio(3.0, 2.0) == "1.50"
    assert tables._ratio(None, 2.0) == ""
