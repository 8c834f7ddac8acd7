"""Bars that run at once share the height of their row; all others have it whole."""

import pandas as pd

from flexsim.plotting.bars import Bars
from flexsim.plotting.halves import row_offsets


def _offsets(*rows):
    names = ["rank", "kind", "stage", "microbatch", "chunk", "start_s", "end_s"]
    return row_offsets(Bars.of(pd.DataFrame(rows, columns=names))).tolist()


def test_a_forward_beside_a_backward_lies_above_it():
    offsets = _offsets(
        (0, "backward", 7, 0, 1, 1.0, 3.0),
        (0, "forward", 0, 4, 0, 1.5, 3.5),
        (0, "forward", 0, 5, 0, 3.5, 4.0),
    )
    assert offsets == [0.21, -0.21, 0.0]


def test_bars_that_touch_or_lie_on_other_ranks_are_whole():
    offsets = _offsets(
        (0, "forward", 0, 0, 0, 0.0, 1.0),
        (0, "backward", 0, 0, 0, 1.0, 3.0),
        (1, "forward", 1, 0, 0, 0.5, 2.0),
    )
    assert offsets == [0.0, 0.0, 0.0]


def test_communication_is_drawn_over_the_whole_height():
    offsets = _offsets(
        (0, "forward", 0, 0, 0, 0.0, 2.0),
        (0, "communication", -1, -1, -1, 0.5, 1.0),
    )
    assert offsets == [0.0, 0.0]


def test_no_bars_no_offsets():
    assert _offsets() == []
