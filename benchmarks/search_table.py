"""Write the tables of docs/search.md from the results of bench_search.py.

    python benchmarks/search_table.py results.jsonl

What lies between the page's two marks is replaced; the rest of the page is left alone.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

from bench_search import CLUSTERS, LETTERS, LETTERS_ON, NETWORKS, read

PAGE = Path(__file__).resolve().parent.parent / "docs" / "search.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
Lines = dict[tuple[str, str, str], list[dict[str, Any]]]


def main() -> None:
    """Replace the tables of the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--page", type=Path, default=PAGE)
    chosen = parser.parse_args()
    text = chosen.page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    tables = written(read(chosen.results))
    chosen.page.write_text(f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}", encoding="utf-8")


def written(results: list[dict[str, Any]]) -> str:
    """Return both tables and a sentence on how they were measured."""
    by_case: Lines = defaultdict(list)
    for line in results:
        scenario, method, dimensions, _ = line["case"]
        by_case[scenario, method, dimensions].append(line)
    names = [f"{network}-{cluster}" for network in NETWORKS for cluster in CLUSTERS]
    measured = [name for name in names if by_case[name, "mcmc", "SOAP"]]
    main_table = _table(MAIN, [_main_row(name, by_case) for name in measured])
    letters = [name for name in LETTERS_ON if by_case[name, "mcmc", "SOAP"]]
    own = _table(["", *LETTERS], [_letters_row(name, by_case) for name in letters])
    return "\n\n".join([_said(results), main_table, own])


MAIN = [
    "network, cluster, devices", "data", "experts", "OptCNN", "MCMC: best", "median", "worst",
    "seeds", "data / median", "experts / median", "OptCNN / median", "sent: data / best",
    "proposals", "accepted",
]  # fmt: skip


def _main_row(name: str, by_case: Lines) -> list[str]:
    found = by_case[name, "mcmc", "SOAP"]
    times = [line["best_s"] for line in found]
    middle, data = median(times), found[0]["data_s"]
    experts, optcnn = (_first(by_case[name, method, "SOAP"]) for method in ("expert", "optcnn"))
    best = min(found, key=lambda line: line["best_s"])
    return [
        name, _ms(data), _ms(experts), _ms(optcnn), _ms(min(times)), _ms(middle), _ms(max(times)),
        str(len(times)), _ratio(data, middle), _ratio(experts, middle), _ratio(optcnn, middle),
        _ratio(best["data_sent_bytes"], best["sent_bytes"]),
        f"{median(line['proposals'] for line in found):,.0f}",
        f"{median(line['acceptance'] for line in found):.0%}",
    ]  # fmt: skip


def _letters_row(name: str, by_case: Lines) -> list[str]:
    data = by_case[name, "mcmc", "SOAP"][0]["data_s"]
    cells = []
    for letters in LETTERS:
        times = [line["best_s"] for line in by_case[name, "mcmc", letters]]
        cells.append(f"{_ms(median(times))} ({_ratio(data, median(times))})" if times else "")
    return [name, *cells]


def _first(lines: list[dict[str, Any]]) -> float | None:
    return lines[0]["best_s"] if lines else None


def _said(results: list[dict[str, Any]]) -> str:
    searched = [line for line in results if line["case"][1] == "mcmc"]
    loads = [line["load"] for line in searched]
    seconds = [line["seconds"] for line in searched]
    return (
        f"Iteration times in ms. Searches took {median(seconds):.0f} s in the median and "
        f"{max(seconds):.0f} s at most, on one of two cores, for which {min(loads):.0f} to "
        f"{max(loads):.0f} processes competed."
    )


def _ms(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1e3:,.1f}"


def _ratio(one: float | None, other: float) -> str:
    """Return a ratio, with more digits where it is near 1."""
    if one is None:
        return ""
    ratio = one / other
    return f"{ratio:.5f}" if 0.99 < ratio < 1.01 else f"{ratio:.2f}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
