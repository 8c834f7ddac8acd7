"""What goes to workers next: items as they are needed, in batches of a handy duration."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexsim.errors import WorkersError
from flexsim.workers import Workers
from flexsim.workers.feed import MOST_ITEMS, TARGET_S, Feed

ONE, TWO, THREE, FOUR = (tuple("abcd"[:number]) for number in range(1, 5))


def numbers(portion):
    return [index for index, _ in portion.items]


def test_items_are_taken_only_as_workers_need_them():
    endless = itertools.count(10)
    feed = Feed(endless)
    portions = [feed.take(THREE) for _ in range(4)]
    assert [each and each.items for each in portions] == [
        ((0, 10),),
        ((1, 11),),
        ((2, 12),),
        None,
    ]
    assert next(endless) == 13


def test_quick_items_go_together_and_slow_ones_alone():
    feed = Feed(range(10_000))
    sizes = []
    for _ in range(12):
        portion = feed.take(ONE)
        sizes.append(len(portion.items))
        feed.done(portion, 1e-6 * len(portion.items))
    assert sizes == [1, 2, 4, 8, 16, 32, 64, 128, 256, 256, 256, 256]
    assert max(sizes) == MOST_ITEMS
    feed.done(feed.take(ONE), 5 * TARGET_S)
    assert len(feed.take(ONE).items) == 51


def test_a_worker_that_takes_long_has_nothing_waiting_behind_it():
    feed = Feed(range(100))
    feed.done(feed.take(TWO), 0.01)
    quick = [feed.take(TWO) for _ in range(5)]
    assert [each is not None for each in quick] == [True, True, True, True, False]
    feed.done(quick[0], 30.0)
    assert feed.take(TWO) is None


def test_what_workers_died_of_is_tried_again_alone_at_the_end():
    feed = Feed(iter(range(5)))
    feed.done(feed.take(ONE), 0.05)
    deadly = feed.take(ONE)
    beside = feed.take(ONE)
    assert (numbers(deadly), numbers(beside)) == ([1, 2], [3, 4])
    assert feed.died(deadly) == []
    assert feed.take(ONE) is None
    feed.done(beside, 0.1)
    first = feed.take(ONE)
    assert (numbers(first), first.is_alone, feed.take(FOUR)) == ([1], True, None)
    feed.done(first, 0.1)
    second = feed.take(ONE)
    assert feed.died(second) == [2]
    assert (feed.take(ONE), feed.num_out) == (None, 0)


@settings(max_examples=60, deadline=None)
@given(
    number=st.integers(0, 40),
    is_sequence=st.booleans(),
    deaths=st.sets(st.integers(0, 39)),
    picks=st.randoms(use_true_random=False),
)
def test_every_item_ends_once_whatever_dies_and_whoever_comes(number, is_sequence, deaths, picks):
    feed, out, ended = Feed(range(number) if is_sequence else iter(range(number))), [], []
    while True:
        places = tuple(name for name in "abcde" if picks.random() < 0.5)
        num_before = len(out)
        while (portion := feed.take(places)) is not None:
            out.append(portion)
            assert portion.place in (places or ("",)) or portion.is_alone
            assert not portion.is_alone or len(out) == 1
        if not feed.num_out:
            break
        assert feed.num_out == len(out) <= max(2 * max(1, len(places)), num_before)
        portion = out.pop(picks.randrange(len(out)))
        if deaths & set(numbers(portion)):
            ended += [-1 - index for index in feed.died(portion)]
        else:
            ended += numbers(portion)
            feed.done(portion, picks.choice([1e-5, 0.05, 3.0]))
    expected = [-1 - index if index in deaths else index for index in range(number)]
    assert sorted(ended) == sorted(expected)


def test_a_worker_gets_neighbours_and_takes_over_when_it_is_done():
    feed = Feed(range(100, 140))
    first, second = feed.take(TWO), feed.take(TWO)
    assert (first.place, first.items) == ("a", ((0, 100),))
    assert (second.place, second.items) == ("b", ((20, 120),))
    feed.done(first, TARGET_S)
    taken = [numbers(first)[0]]
    while taken[-1] < 20:
        portion = feed.take(TWO)
        assert portion.place == "a"
        taken += numbers(portion)
        feed.done(portion, TARGET_S * len(portion.items))
    assert taken == [*range(20), 30]  # b has 21 to 39 left, of which a takes the farther half


def test_the_lane_of_a_worker_that_is_gone_goes_to_the_next_without_one():
    feed = Feed(range(30))
    portions = [feed.take(THREE) for _ in range(3)]
    assert [numbers(each) for each in portions] == [[0], [10], [20]]
    for portion in portions:
        feed.done(portion, TARGET_S)
    moved = [feed.take(("a", "new", "c")) for _ in range(3)]
    assert [(each.place, numbers(each)[0]) for each in moved] == [("a", 1), ("new", 11), ("c", 21)]


def test_batches_get_small_towards_the_end():
    feed = Feed(range(1000))
    sizes = []
    while (portion := feed.take(TWO)) is not None:
        sizes.append(len(portion.items))
        feed.done(portion, 1e-6)
    assert sum(sizes) == 1000
    assert max(sizes) > 100
    assert sizes[-4:] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"num_local": -1}, "-1 workers: choose 0"),
        ({"scheduler": "tcp://h:1", "num_local": 2}, "give one of the two"),
        ({"scheduler": "h:8786"}, "'h:8786' is no address; give tcp://host:port"),
        ({"scheduler": "http://h:8786"}, "is no address"),
        ({"scheduler": "tcp://h:99999"}, "is no address"),
        ({"scheduler": "tcp://h"}, "is no address"),
    ],
)
def test_workers_that_cannot_be_are_refused(fields, told):
    with pytest.raises(WorkersError, match=told):
        Workers(**fields)


def test_addresses_are_understood():
    assert Workers("tcp://10.0.0.1:8786").endpoint == ("tcp", "10.0.0.1", 8786)
    assert Workers("tls://[::1]:1").endpoint == ("tls", "::1", 1)
