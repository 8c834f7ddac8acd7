"""The store of a contracted replay keeps what is in it while it grows."""

from __future__ import annotations

import numpy as np

from flexsim.engine.contraction_layout import BUCKETS, NUM_BUCKETS
from flexsim.engine.contraction_store import Store


def test_tables_and_entries_stay_where_they_are():
    store = Store(room=1_000)
    table, entry = np.arange(700), np.arange(5_000)
    table_at, entry_at = store.write(table), store.append(entry)
    laid_at = store.lay_out([np.arange(20), np.arange(30)])
    size = len(store.values)
    store.grow()
    assert len(store.values) == 2 * size
    assert np.array_equal(store.values[table_at : table_at + 700], table)
    assert np.array_equal(store.values[entry_at : entry_at + 5_000], entry)
    assert np.array_equal(store.values[laid_at[1] : laid_at[1] + 30], np.arange(30))
    assert (store.values[BUCKETS : BUCKETS + NUM_BUCKETS] == -1).all()
    assert store.append(entry) == entry_at + 5_000


def test_what_does_not_fit_makes_it_grow():
    store = Store()
    found = [store.append(np.full(1 << 15, number)) for number in range(6)]
    for number, begin in enumerate(found):
        assert (store.values[begin : begin + (1 << 15)] == number).all()
