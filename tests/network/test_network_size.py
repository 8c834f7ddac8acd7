"""How large programs are is known before they are written."""

import pytest

from flexsim.collectives import program
from flexsim.errors import FlexSimError
from flexsim.network.size import check_program, check_rows, least_of_program

KEYS = [
    ("all-reduce", "ring", (8,)),
    ("all-reduce", "ring", (3, 4)),
    ("all-gather", "bidirectional-ring", (2, 4)),
    ("reduce-scatter", "ring", (5, 1)),
    ("all-reduce", "direct", (6,)),
    ("all-to-all", "direct", (2, 4)),
    ("all-gather", "direct", (5,)),
    ("all-reduce", "hierarchical", (4, 4)),
    ("all-reduce", "halving-doubling", (8,)),
    ("all-reduce", "tree", (4, 2)),
    ("all-reduce", "torus", (4, 4)),
    ("broadcast", "ring", (8,)),
    ("all-reduce", "in-network", (8,)),
]


@pytest.mark.parametrize("key", KEYS)
def test_a_program_is_no_smaller_than_its_estimate(key):
    flows, waits = least_of_program(key)
    found = program(*key)
    if "ring" in key[1] and key[0] != "broadcast":
        assert flows == len(found)
    if key[1] == "direct":
        assert flows == len(found)
        assert waits == len(found.after.values)
    assert flows <= len(found)
    assert waits <= len(found.after.values)


def test_what_is_too_large_is_told_with_what_helps():
    with pytest.raises(FlexSimError, match=r"among 1,024 members is about 2,095,104 flows and 1,0"):
        check_program(("all-reduce", "direct", (128, 8)), 10**9)
    with pytest.raises(FlexSimError, match="are more than the 2,147,483,647 that can be numbered"):
        check_rows(2**31, 2**30, True, None)
    check_program(("all-reduce", "direct", (128, 8)), None)
    check_rows(1000, 500, False, 10**6)
