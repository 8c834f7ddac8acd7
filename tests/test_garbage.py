"""Garbage is looked for rarely while a chain walks, and as before afterwards."""

from __future__ import annotations

import gc

import pytest

from flexsim.garbage import little_collected


def test_garbage_is_looked_for_rarely_for_a_while():
    before = gc.get_threshold()
    with little_collected():
        assert gc.get_threshold()[0] > 10 * before[0]
    assert gc.get_threshold() == before


def test_all_is_as_before_after_a_failure():
    before = gc.get_threshold()
    with pytest.raises(ValueError, match="in between"), little_collected():
        raise ValueError("in between")
    assert gc.get_threshold() == before
