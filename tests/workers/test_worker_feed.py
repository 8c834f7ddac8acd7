"""What goes to workers next: items as they are needed, in batches of a handy duration."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexsim.errors import WorkersError
from flexsim.workers import Workers
from flexsim.workers.feed import MOST_ITEMS, TARGET_S, Feed


def numbers(portion):
    return [index for index, _ in portion.items]


def test_items_are_taken_only_as_workers_need_them():
    endless = itertools.count(10)
    feed = Feed(endless)
    portions = [feed.take(3) for _ in range(4)]
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
        portion = feed.take(1)
        sizes.append(len(portion.items))
        feed.done(portion, 1e-6 * len(portion.items))
    assert sizes == [1, 2, 4, 8, 16, 32, 64, 128, 256, 256, 256, 256]
    assert max(sizes) == MOST_ITEMS
    feed.done(feed.take(1), 5 * TARGET_S)
    assert len(feed.take(1).items) == 51


def test_a_worker_that_takes_long_has_nothing_waiting_behind_it():
    feed = Feed(range(100))
    feed.done(feed.take(2), 0.01)
    quick = [feed.take(2) for _ in range(5)]
    assert [each is not None for each in quick] == [True, True, True, True, False]
    feed.done(quick[0], 30.0)
    assert feed.take(2) is None


def test_what_workers_died_of_is_tried_again_alone_at_the_end():
    feed = Feed(range(5))
    feed.done(feed.take(1), 0.05)
    deadly = feed.take(1)
    beside = feed.take(1)
    assert (numbers(deadly), numbers(beside)) == ([1, 2], [3, 4])
    assert feed.died(deadly) == []
    assert feed.take(1) is None
    feed.done(beside, 0.1)
    first = feed.take(1)
    assert (numbers(first), first.is_alone, feed.take(4)) == ([1], True, None)
    feed.done(first, 0.1)
    second = feed.take(1)
    assert feed.died(second) == [2]
    assert (feed.take(1), feed.num_out) == (None, 0)


@settings(max_examples=60, deadline=None)
@given(
    number=st.integers(0, 40),
    workers=st.integers(0, 5),
    deaths=st.sets(st.integers(0, 39)),
    picks=st.randoms(use_true_random=False),
)
def test_every_item_ends_once_whatever_dies(number, workers, deaths, picks):
    feed, out, ended = Feed(range(number)), [], []
    while True:
        while (portion := feed.take(workers)) is not None:
            out.append(portion)
            assert not portion.is_alone or len(out) == 1
        if not feed.num_out:
            break
        assert feed.num_out == len(out) <= 2 * max(1, workers)
        portion = out.pop(picks.randrange(len(out)))
        if deaths & set(numbers(portion)):
            ended += [-1 - index for index in feed.died(portion)]
        else:
            ended += numbers(portion)
            feed.done(portion, picks.choice([1e-5, 0.05, 3.0]))
    expected = [-1 - index if index in deaths else index for index in range(number)]
    assert sorted(ended) == sorted(expected)


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
