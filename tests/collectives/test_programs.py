"""Programs are executed on integers: everybody must end with what the collective promises."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest

from flexsim.collectives import ALGORITHMS, Program, algorithms_of, program
from flexsim.collectives.tree import depths, two_trees
from flexsim.errors import FlexSimError

LAYOUTS = [(2,), (3,), (7,), (8,), (2, 1), (5, 1), (2, 2), (2, 3), (3, 2), (3, 4), (4, 4), (5, 3)]
TORI = [(4,), (2, 2), (3, 4), (5, 2), (2, 3, 4), (3, 3, 3), (4, 1, 2), (2, 2, 2, 2)]


def cases() -> list[tuple[str, str, tuple[int, ...]]]:
    """Every collective by every algorithm on every layout that it admits."""
    found = []
    for collective in ALGORITHMS:
        for algorithm in algorithms_of(collective):
            for layout in TORI if algorithm == "torus" else LAYOUTS:
                if admits(algorithm, layout):
                    found.append((collective, algorithm, layout))
    return found


def admits(algorithm: str, layout: tuple[int, ...]) -> bool:
    n = math.prod(layout)
    if algorithm == "multi-ring":
        return len(layout) == 2 and layout[1] > 2
    return algorithm != "halving-doubling" or n & (n - 1) == 0


def of_members(rows: Program, algorithm: str, layout: tuple[int, ...]) -> Program:
    """Return several rings' positions as the members of all of them, each in another order."""
    if algorithm != "multi-ring":
        return rows
    rings, n = layout
    members = np.concatenate([np.random.default_rng(ring).permutation(n) for ring in range(rings)])
    columns = {name: members[getattr(rows, name)] for name in ("source", "target", "owner")}
    return replace(rows, num_members=n, **columns)


def executed(rows: Program, have: np.ndarray, seed: int) -> np.ndarray:
    """Run the flows on ``have`` ([member, part, origin] counts), as late as each may arrive.

    A flow takes its parts when it starts, which is any time after its ``after``; the order is
    random, and what it carries lands when it ends.
    """
    rng = random.Random(seed)
    waits = [set(rows.after.row(i).tolist()) for i in range(len(rows))]
    followers: list[list[int]] = [[] for _ in range(len(rows))]
    for flow, earlier in enumerate(waits):
        for one in earlier:
            followers[one].append(flow)
    ready, flying = [i for i in range(len(rows)) if not waits[i]], {}
    whole = have.sum(axis=0)
    while ready or flying:
        if ready and (not flying or rng.random() < 0.6):
            flow = ready.pop(rng.randrange(len(ready)))
            flying[flow] = have[rows.source[flow], carried(rows, flow)].copy()
            continue
        flow = rng.choice(list(flying))
        land(rows, flow, whole if rows.in_switch else flying.pop(flow), have)
        flying.pop(flow, None)
        for other in followers[flow]:
            waits[other].discard(flow)
            if not waits[other]:
                ready.append(other)
    assert not any(waits)
    return have


def carried(rows: Program, flow: int) -> np.ndarray:
    return rows.first_part[flow] + rows.part_stride[flow] * np.arange(rows.parts[flow])


def land(rows: Program, flow: int, load: np.ndarray, have: np.ndarray) -> None:
    target, places = rows.target[flow], carried(rows, flow)
    have[target, places] = load + (have[target, places] if rows.sums[flow] else 0)


def own(rows: Program) -> np.ndarray:
    """Every member has its own contribution to every part."""
    n = rows.num_members
    return np.repeat(np.eye(n, dtype=np.int64)[:, None], rows.num_parts, axis=1)


@pytest.mark.parametrize(("collective", "algorithm", "layout"), cases())
def test_everybody_ends_with_what_the_collective_promises(
    collective: str, algorithm: str, layout: tuple[int, ...]
) -> None:
    rows = of_members(program(collective, algorithm, layout), algorithm, layout)
    for seed in range(2):
        CHECKS[collective](rows, seed)


def check_all_reduce(rows: Program, seed: int) -> None:
    assert (executed(rows, own(rows), seed) == 1).all()


def check_reduce_scatter(rows: Program, seed: int) -> None:
    have = executed(rows, own(rows), seed)
    assert (have[rows.owner, np.arange(rows.num_parts)] == 1).all()
    assert np.ptp(np.bincount(rows.owner, minlength=rows.num_members)) == 0


def check_all_gather(rows: Program, seed: int) -> None:
    have = own(rows)
    for part, owner in enumerate(rows.owner):
        have[:owner, part] = have[owner + 1 :, part] = 0
    have = executed(rows, have, seed)
    origin = np.arange(rows.num_members) == rows.owner[:, None]
    assert (have == origin[None]).all()
    assert np.ptp(np.bincount(rows.owner, minlength=rows.num_members)) == 0


def check_all_to_all(rows: Program, seed: int) -> None:
    n = rows.num_members
    assert rows.num_parts == n
    have = np.zeros((n, n * n, 1), np.int64)
    origin, target = np.divmod(np.arange(n * n), n)
    have[origin, np.arange(n * n), 0] = 1 + np.arange(n * n)
    have = executed(rows, have, seed)
    assert (have[target, np.arange(n * n), 0] == 1 + np.arange(n * n)).all()


def check_broadcast(rows: Program, seed: int) -> None:
    have = np.zeros((rows.num_members, rows.num_parts, 1), np.int64)
    have[0, :, 0] = 1 + np.arange(rows.num_parts)
    have = executed(rows, have, seed)
    assert (have[:, :, 0] == 1 + np.arange(rows.num_parts)).all()


CHECKS = {
    "all-reduce": check_all_reduce,
    "reduce-scatter": check_reduce_scatter,
    "all-gather": check_all_gather,
    "all-to-all": check_all_to_all,
    "broadcast": check_broadcast,
}


@pytest.mark.parametrize(("collective", "algorithm", "layout"), cases())
def test_predecessors_come_first_and_steps_rise(
    collective: str, algorithm: str, layout: tuple[int, ...]
) -> None:
    rows = program(collective, algorithm, layout)
    assert (rows.after.values < rows.after.rows).all()
    assert (rows.step[rows.after.values] < rows.step[rows.after.rows]).all()
    assert (np.diff(rows.step) >= 0).all()
    assert (rows.source != rows.target).all()
    assert set(rows.source) | set(rows.target) == set(range(rows.num_members))


@pytest.mark.parametrize("layout", [(4, 4), (3, 4), (2, 8)])
def test_rings_between_hosts_use_every_card_once(layout: tuple[int, ...]) -> None:
    hosts, k = layout
    rows = program("all-gather", "ring", layout)
    first = rows.step == 0
    source, target = rows.source[first], rows.target[first]
    crossing = source // k != target // k
    assert sorted(source[crossing]) == sorted(target[crossing]) == list(range(hosts * k))
    straight = source[crossing] % k == target[crossing] % k
    assert straight.all() or (hosts % 2 == 1 and straight.sum() == (hosts - 1) * k)


SCATTERING = (
    "ring",
    "bidirectional-ring",
    "multi-ring",
    "halving-doubling",
    "direct",
    "hierarchical",
    "torus",
)
PASSES = {"all-reduce": 2, "all-gather": 1, "reduce-scatter": 1}


@pytest.mark.parametrize(
    ("collective", "algorithm", "layout"),
    [case for case in cases() if case[0] in PASSES and case[1] in SCATTERING],
)
def test_nobody_sends_more_than_the_least(
    collective: str, algorithm: str, layout: tuple[int, ...]
) -> None:
    """Patarasuk and Yuan's bound: (n - 1)/n of the message for each pass."""
    rows = of_members(program(collective, algorithm, layout), algorithm, layout)
    sent = np.bincount(rows.source, rows.parts, minlength=rows.num_members)
    n = rows.num_members
    assert (sent * n == PASSES[collective] * (n - 1) * rows.num_parts).all()


@pytest.mark.parametrize(
    ("algorithm", "layout", "steps"),
    [
        ("ring", (4, 4), 30),
        ("halving-doubling", (16,), 8),
        ("hierarchical", (4, 4), 12),
        ("torus", (4, 4), 12),
        ("direct", (16,), 30),
        ("tree", (4, 1), 4),
        ("in-network", (16,), 1),
    ],
)
def test_steps_are_counted(algorithm: str, layout: tuple[int, ...], steps: int) -> None:
    assert program("all-reduce", algorithm, layout).num_steps == steps


def test_nobody_is_inside_both_trees() -> None:
    for n in range(2, 40):
        inside = [set(tree[tree != np.arange(n)]) for tree in two_trees(n)]
        roots = [int(np.flatnonzero(tree == np.arange(n))[0]) for tree in two_trees(n)]
        assert inside[0] & inside[1] <= set(roots)
        assert max(depths(tree).max() for tree in two_trees(n)) == math.ceil(math.log2(n))


def test_halving_doubling_needs_a_power_of_two() -> None:
    with pytest.raises(FlexSimError, match="power of two members, not 6; choose from groups of 4 "):
        program("all-reduce", "halving-doubling", (6,))


def test_an_unknown_algorithm_is_told_with_the_nearest() -> None:
    with pytest.raises(FlexSimError, match="no algorithm 'rings': did you mean 'ring'"):
        program("all-gather", "rings", (4,))
    with pytest.raises(FlexSimError, match="no collective 'gather': did you mean 'all-gather'"):
        algorithms_of("gather")
