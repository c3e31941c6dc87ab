"""Rows as columns, and that each is applied once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.serving.live.rows import Rows, forget_rows, rows_since, unapplied
from assets.serving.store.interface import Table
from assets.serving.store.records import NEVER
from tests.assets.serving.live.engagements import BATCHES, HOUR, Row, batch, landed_rows
from tests.assets.serving.live.memory_store import MemoryStore


def as_rows(rows: Rows) -> list[tuple[str, str, int]]:
    return list(zip(rows.users, rows.items, rows.timestamps.tolist(), strict=True))


def test_a_table_becomes_columns() -> None:
    rows = landed_rows([Row("u", "a", 5), Row("ü", "b", 2**53 + 1), Row("u", "b", 5), Row("u", "a", 5)])
    assert as_rows(rows) == [("u", "a", 5), ("ü", "b", 2**53 + 1), ("u", "b", 5), ("u", "a", 5)]
    assert rows.timestamps.dtype == rows.source_rows.dtype == np.int64
    assert rows.digests.dtype == np.uint64
    assert rows.digests[0] == rows.digests[3]
    assert len(set(rows.digests.tolist())) == 3
    assert (rows.source_rows >= 2**62).all()


def test_values_and_event_types_stay_with_their_rows() -> None:
    rows = landed_rows([Row("u", "a", 5, 4.5, "rating"), Row("u", "a", 5, None, "view"), Row("u", "b", 6, 1.0)])
    assert rows.values.dtype == np.float32
    np.testing.assert_array_equal(rows.values, np.array([4.5, np.nan, 1.0], np.float32))
    assert rows.events.tolist() == ["rating", "view", "view"]
    turned = Rows.concat([rows.take(np.array([2])), rows.take(np.array([0]))])
    assert (turned.values.tolist(), turned.events.tolist()) == ([1.0, 4.5], ["view", "rating"])


def test_no_rows_are_rows_too() -> None:
    nothing = landed_rows([])
    assert len(nothing) == len(Rows.concat([])) == len(Rows.concat([nothing, nothing])) == 0
    both = Rows.concat([nothing, landed_rows([Row("u", "a", 1)])])
    assert as_rows(both) == [("u", "a", 1)]
    assert (both.digests.dtype, both.values.dtype, both.events.dtype) == (np.uint64, np.float32, object)


def test_take_by_mask_and_by_position() -> None:
    rows = landed_rows([Row("u", "a", 1), Row("v", "b", 2), Row("w", "c", 3)])
    assert as_rows(rows.take(np.array([True, False, True]))) == [("u", "a", 1), ("w", "c", 3)]
    assert as_rows(rows.take(np.array([2, 0]))) == [("w", "c", 3), ("u", "a", 1)]


def test_a_batch_that_says_another_number_of_rows_is_refused() -> None:
    made = batch("d", [Row("u", "a", 1)], removed=2)
    with pytest.raises(ValueError, match=r"d.csv \(d\) says 3 rows, of which 2 were removed .* but has 0 to apply"):
        type(made)(made.info, landed_rows([]))


@given(BATCHES)
def test_every_row_is_new_once(batches: list[list[Row]]) -> None:
    store, known = MemoryStore(), set()
    for rows in batches:
        with store.write() as writer:
            new = unapplied(writer, landed_rows(rows))
            size = sum(len(value) // 8 for _, value in writer.scan(Table.ROWS))
        expected = [row not in known and row not in rows[:at] for at, row in enumerate(rows)]
        known |= set(rows)
        assert new.tolist() == expected
        assert size == len(known)


@given(st.lists(st.integers(0, 10), min_size=1), st.integers(0, 12 * 60))
def test_only_hours_that_are_over_are_forgotten(hours: list[int], oldest_minutes: int) -> None:
    store, oldest = MemoryStore(), oldest_minutes * HOUR // 60
    rows = landed_rows([Row("u", "a", hour * HOUR + HOUR - 1) for hour in hours])
    with store.write() as writer:
        unapplied(writer, rows)
        forgotten = forget_rows(writer, oldest)
        over = {hour for hour in hours if (hour + 1) * HOUR <= oldest}
        assert forgotten == len(over)
        assert rows_since(writer) == ((max(over) + 1) * HOUR if over else NEVER)
        new = rows.take(unapplied(writer, rows))
    assert {time // HOUR for time in new.timestamps.tolist()} == over  # all others are known still


def test_what_was_forgotten_stays_so() -> None:
    store = MemoryStore()
    with store.write() as writer:
        assert forget_rows(writer, NEVER) == 0
        unapplied(writer, landed_rows([Row("u", "a", 0), Row("u", "a", 5 * HOUR), Row("u", "a", 9 * HOUR)]))
        assert forget_rows(writer, 6 * HOUR) == 2
        unapplied(writer, landed_rows([Row("u", "a", 0)]))
        assert forget_rows(writer, 2 * HOUR) == 1
        assert rows_since(writer) == 6 * HOUR
