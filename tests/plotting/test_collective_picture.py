import pandas as pd

from flexsim.plotting.collectives import collective_figure

KIB = 1024
TABLE = pd.DataFrame(
    {
        "num_bytes": [KIB << n for n in range(0, 22)],
        "time_ns": [10_000 + 40 * 2**n for n in range(0, 22)],
        "algorithm": ["tree"] * 10 + ["ring"] * 12,
        "bus_bandwidth_bytes_per_s": [1e9 * n for n in range(0, 22)],
    }
)


def test_bandwidth_stands_above_time_against_size():
    figure = collective_figure(TABLE, "all-reduce for $5 and $6")
    figure.draw_without_rendering()
    above, below = figure.axes
    assert above.get_ylabel() == "bus bandwidth (GB/s)"
    assert below.get_ylabel() == "time (µs)"
    assert above.get_title(loc="left") == "all-reduce for $5 and $6"
    assert above.get_xscale() == below.get_xscale() == below.get_yscale() == "log"


def test_each_algorithm_has_marks_of_its_own():
    above, below = collective_figure(TABLE, "").axes
    assert [text.get_text() for text in above.get_legend().get_texts()] == ["tree", "ring"]
    line, tree, ring = above.lines
    assert (len(line.get_xdata()), len(tree.get_xdata()), len(ring.get_xdata())) == (22, 10, 12)
    assert tree.get_marker() != ring.get_marker()
    assert list(below.lines[2].get_ydata()) == list(TABLE["time_ns"][10:] / 1e3)


def test_sizes_and_times_are_named_plainly():
    figure = collective_figure(TABLE, "")
    figure.draw_without_rendering()
    below = figure.axes[1]
    sizes = [label.get_text() for label in below.get_xticklabels()]
    assert sizes[:2] == ["1 KiB", "4 KiB"]
    assert len(sizes) == 11
    times = [label.get_text() for label in below.get_yticklabels()]
    assert {"10", "100", "1,000", "10,000"} <= set(times)


def test_one_size_makes_a_picture_too():
    figure = collective_figure(TABLE[:1], "")
    figure.draw_without_rendering()
    assert len(figure.axes[0].lines) == 2
