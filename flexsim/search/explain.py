"""What a found strategy does: in words, operator by operator, and against other strategies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from flexsim.search.arrangement import COPIES, degrees_of
from flexsim.search.result import SearchResult
from flexsim.search.space import LETTERS, Space
from flexsim.search.units import Unit
from flexsim.strategy import ParallelConfig, Strategy
from flexsim.task_graph.kinds import NUM_COMPUTE_KINDS
from flexsim.timeline.spans import Timeline
from flexsim.units import NS_PER_S

_MOST_RUNS = 4


@dataclass(frozen=True)
class Line:
    """One row of the table by operator: neighbouring operators that are cut alike share one."""

    operators: str
    letters: str
    degrees: str
    devices: str


@dataclass(frozen=True)
class Volume:
    """What a strategy costs: its iteration, what it sends, and for how long all devices work."""

    name: str
    iteration_time_s: float
    communication_bytes: int
    """Bytes of all transfers and, for each collective, its message times its members."""
    compute_time_s: float
    """Computing time of all devices together."""


def lines(strategy: Strategy, space: Space) -> list[Line]:
    """Return the table by operator; repeated layers that are alike are told as one."""
    described = [(unit, _description(unit, strategy)) for unit in space.units]
    found: list[Line] = []
    done: set[str] = set()
    for unit, description in described:
        if unit.name in done:
            continue
        alike = [
            other.name
            for other, own in described
            if own == description and other.role == unit.role and other.name not in done
        ]
        done.update(alike)
        found.append(Line(_names(alike), *description))
    return found


def volumes(result: SearchResult) -> list[Volume]:
    """Return what the best strategy costs beside data parallelism and the scenario's own."""
    named = {"data parallelism": result.baseline, "the scenario's own": result.expert}
    timelines = {name: each.timeline for name, each in named.items() if each is not None}
    return [_volume(n, t) for n, t in {**timelines, "best found": result.best.timeline}.items()]


def words(result: SearchResult) -> list[str]:
    """Return sentences on what the best strategy does and what it gains."""
    best = result.best_metrics["iteration_time_s"]
    base = result.baseline_metrics["iteration_time_s"]
    proof = ", which is proven to be the best of the space" if result.proven_optimal else ""
    said = [f"It is {_ratio_text(base / best)} times as fast as data parallelism{proof}."]
    if base < best:
        said.append(
            "Data parallelism fills the devices with microbatches of its own, which this search "
            "keeps as the scenario has them: training.micro_batch."
        )
    if result.expert is not None:
        own = result.expert.metrics["iteration_time_s"]
        said.append(
            f"It is {_ratio_text(own / best)} times as fast as the scenario's own strategy."
        )
    return [*said, *_letter_sentences(result), *_device_sentences(result.best_strategy)]


def _ratio_text(ratio: float) -> str:
    """Return a ratio, with more digits where it is near 1."""
    return f"{ratio:.5f}" if 0.99 < ratio < 1.01 else f"{ratio:.2f}"


def _description(unit: Unit, strategy: Strategy) -> tuple[str, str, str]:
    config = strategy.configs[unit.name]
    if unit.is_on_one_mesh(strategy.configs):
        config = unit.config(strategy.configs)
    return _letters(unit, config), _degrees(config), devices_text(config.mesh.flat.tolist())


def _letters(unit: Unit, config: ParallelConfig) -> str:
    found = {unit.letters[dim] for dim in degrees_of(config) if dim in unit.letters}
    return "".join(letter for letter in LETTERS if letter in found)


def _degrees(config: ParallelConfig) -> str:
    degrees = degrees_of(config)
    cut = [f"{dim} {degree}" for dim, degree in degrees.items() if dim != COPIES]
    copies = [f"{degrees[COPIES]} copies"] if COPIES in degrees else []
    return ", ".join([*cut, *copies]) or "whole"


def devices_text(devices: Iterable[int]) -> str:
    """Return devices in the order of the parts, runs joined: "0-3, 8-11"."""
    pairs = enumerate(devices)
    runs = [[d for _, d in run] for _, run in groupby(pairs, lambda pair: pair[1] - pair[0])]
    shown = [f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs[:_MOST_RUNS]]
    rest = sum(len(run) for run in runs[_MOST_RUNS:])
    return ", ".join([*shown, *([f"… {rest} more"] if rest else [])])


def _names(alike: list[str]) -> str:
    return alike[0] if len(alike) == 1 else f"{alike[0]} and {len(alike) - 1} like it"


def _volume(name: str, timeline: Timeline) -> Volume:
    graph = timeline.task_graph
    factor = graph.num_tasks_folded_away + graph.num_tasks
    sends = graph.kind >= NUM_COMPUTE_KINDS
    members = np.where(graph.resources.counts > 0, graph.resources.counts, 1)
    sent = int((graph.num_bytes * members)[sends].sum())
    computed = int(graph.duration_ns[~sends].sum())
    scale = factor / max(1, graph.num_tasks)
    seconds = timeline.makespan_ns / NS_PER_S
    return Volume(name, seconds, round(sent * scale), computed * scale / NS_PER_S)


def _letter_sentences(result: SearchResult) -> list[str]:
    """Return how many operators are cut along which letters."""
    units, strategy = result.space.units, result.best_strategy
    counts: dict[str, int] = {}
    for unit in units:
        letters = _description(unit, strategy)[0]
        counts[letters] = counts.get(letters, 0) + len(unit.operators)
    parts = [f"{count} {_cut_text(letters, count)}" for letters, count in _by_count(counts)]
    total = sum(counts.values())
    return [f"Of {total} operators, {'; '.join(parts)}."]


def _by_count(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def _cut_text(letters: str, count: int) -> str:
    names = {"S": "samples", "A": "attributes", "P": "parameters"}
    verb = "is" if count == 1 else "are"
    if not letters:
        return f"{verb} not cut"
    return f"{verb} cut along {' and '.join(names[letter] for letter in letters)}"


def _device_sentences(strategy: Strategy) -> list[str]:
    sets = {tuple(sorted(config.mesh.flat.tolist())) for config in strategy.configs.values()}
    if len(sets) == 1:
        return [f"All operators run on the same {len(next(iter(sets)))} devices."]
    return [
        f"Operators run on {len(sets)} different sets of devices, "
        f"of {min(map(len, sets))} to {max(map(len, sets))}."
    ]
