"""Lines of a results file, and what a sweep loads before any of its work begins."""

from __future__ import annotations

import csv
import io
import subprocess
import sys

from hypothesis import given, settings
from hypothesis import strategies as st
from small_sweep import small_sweep

from flexsim.sweep.columns import line
from flexsim.sweep.file import sweep_from
from flexsim.sweep.work import Opened

CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text("""ab1é—,;"'= """),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(CELLS, min_size=2))
def test_a_line_is_that_of_the_library(cells):
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerow(cells)
    assert line(cells) == stream.getvalue()
    told = ["" if cell is None else str(cell) for cell in cells]
    assert next(csv.reader([line(cells)])) == told


def test_lists_are_written_as_in_a_file_and_texts_in_one_line():
    assert line([[1, "a"], "two\nlines"]) == '"[1, ""a""]",two lines\n'


def test_values_of_a_number_are_those_of_its_steps():
    grid = {"strategy.tensor": [1, 2], "training.micro_batch": [1, 2, 4]}
    zips = {"strategy.pipeline": [1, 2], "strategy.schedule": ["gpipe", "1f1b"]}
    space = Opened(sweep_from(small_sweep({"grid": grid, "zip": zips}))).space
    found = [tuple(space.plain_values(number).values()) for number in range(space.size)]
    expected = [
        (tensor, micro, *step)
        for tensor in (1, 2)
        for micro in (1, 2, 4)
        for step in ((1, "gpipe"), (2, "1f1b"))
    ]
    assert found == expected
    space.plain_values(0).clear()
    assert tuple(space.plain_values(0).values()) == expected[0]


def test_who_only_hands_out_work_loads_no_compiler():
    program = "import sys, flexsim.sweep.api; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
