import pytest

from flexsim.errors import FlexSimError
from flexsim.scenario.collective_table import bus_factor, message_sizes


def test_sizes_are_the_powers_of_two_between():
    assert message_sizes(1e3, 1e4) == (1024, 2048, 4096, 8192)
    assert message_sizes(1024, 4096) == (1024, 2048, 4096)
    assert message_sizes(1, 1) == (1,)


def test_the_step_factor_is_taken_from_the_first():
    assert message_sizes(1000, 1e5, 4) == (1024, 4096, 16384, 65536)


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ((2e6, 1e6), "the least size, 2,000,000 B, is above the largest, 1,000,000 B"),
        ((0, 1e6), "choose from 1 B to 1 PiB"),
        ((1, 1e18), "choose from 1 B to 1 PiB"),
        ((1100, 1200), "no power of two lies between 1,100 B and 1,200 B; the next is 2,048 B"),
        ((1, 10, 1), "step factor must be at least 2, not 1"),
    ],
)
def test_sizes_that_make_no_sense_are_told_in_a_sentence(sizes, said):
    with pytest.raises(FlexSimError, match=said):
        message_sizes(*sizes)


def test_bus_factors_are_those_of_nccl_tests():
    assert bus_factor("all-reduce", 8) == 2 * 7 / 8
    assert bus_factor("all-gather", 8) == bus_factor("reduce-scatter", 8) == 7 / 8
    assert bus_factor("all-to-all", 4) == 3 / 4
    assert bus_factor("broadcast", 4) == 1
