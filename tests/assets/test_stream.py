"""The stream's vectorised views against slow loops over its rows."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.stream import PADDING, Catalog, EngagementStream, Queries, batches, load_tables
from tests.support import interactions_frame, write_tables

USERS, ITEMS, HOURS = 4, 5, 6
START = np.datetime64("2020-01-01T00:00:00.000000")


def hour(number: int) -> np.datetime64:
    return START + np.timedelta64(number, "h")


Event = tuple[int, int, int]
"""(user row, item row, hour)."""


def stream_of(events: list[Event]) -> EngagementStream:
    """A stream whose value is the position in ``events``, its type whether that is even; equal hours keep their order.

    Types are numbered in the order of their names, of those that there are.
    """
    interactions = pd.DataFrame(
        {
            "user_id": pd.Series([f"u{user}" for user, _, _ in events], dtype=object),
            "item_id": pd.Series([f"i{item}" for _, item, _ in events], dtype=object),
            "timestamp": np.array([hour(at) for _, _, at in events], dtype="datetime64[us]"),
            "event_type": [("even", "odd")[row % 2] for row in range(len(events))],
            "value": np.arange(len(events), dtype=np.float64),
            "source_row": np.arange(len(events)),
        }
    )
    users = pd.DataFrame({"user_id": [f"u{user}" for user in range(USERS)]})
    items = pd.DataFrame({"item_id": [f"i{item}" for item in range(ITEMS)]})
    return EngagementStream.from_tables(interactions, users, items)


def known(events: list[Event], user: int, before: int) -> list[tuple[int, int, int]]:
    """(hour, position, item) of what ``user`` did strictly before, oldest first."""
    return sorted((at, row, item) for row, (who, item, at) in enumerate(events) if who == user and at < before)


EVENTS = st.lists(
    st.tuples(st.integers(0, USERS - 1), st.integers(0, ITEMS - 1), st.integers(0, HOURS - 1)), max_size=25
)
REQUESTS = st.lists(st.tuples(st.integers(0, USERS - 1), st.integers(-1, HOURS + 1)), max_size=8)


def arrays(requests: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    users = np.array([user for user, _ in requests], np.int64)
    return users, np.array([hour(at) for _, at in requests], dtype="datetime64[us]")


def assert_histories(queries: Queries, expected: list[list[tuple[int, int, int]]], length: int) -> None:
    assert queries.history_items.shape == (len(expected), length)
    for row, history in enumerate(expected):
        kept = history[-length:]
        count = len(kept)
        assert queries.lengths[row] == count
        assert queries.history_items[row].tolist() == [item for _, _, item in kept] + [PADDING] * (length - count)
        assert queries.history_timestamps[row, :count].tolist() == [hour(at).astype(object) for at, _, _ in kept]
        assert queries.history_values[row, :count].tolist() == [position for _, position, _ in kept]
        assert queries.history_events[row].tolist() == [row % 2 for _, row, _ in kept] + [PADDING] * (length - count)
        assert np.isnat(queries.history_timestamps[row, count:]).all()
        assert np.isnan(queries.history_values[row, count:]).all()


@given(events=EVENTS, requests=REQUESTS, length=st.integers(1, 6))
@settings(max_examples=150)
def test_histories_hold_the_latest_rows_strictly_before(
    events: list[Event], requests: list[tuple[int, int]], length: int
) -> None:
    users, instants = arrays(requests)
    queries = stream_of(events).queries(users, instants, length)
    assert queries.users is users
    assert_histories(queries, [known(events, user, at) for user, at in requests], length)


@given(events=EVENTS, requests=REQUESTS, cutoff=st.integers(-1, HOURS + 1))
@settings(max_examples=100)
def test_frozen_histories_end_at_the_cutoff_or_the_request_if_earlier(
    events: list[Event], requests: list[tuple[int, int]], cutoff: int
) -> None:
    queries = stream_of(events).queries(*arrays(requests), 4, as_of=hour(cutoff))
    assert_histories(queries, [known(events, user, min(at, cutoff)) for user, at in requests], 4)


@given(events=EVENTS, requests=REQUESTS)
@settings(max_examples=100)
def test_seen_pairs_list_every_earlier_engagement(events: list[Event], requests: list[tuple[int, int]]) -> None:
    rows, items = stream_of(events).seen_pairs(*arrays(requests))
    expected = [(row, item) for row, (user, at) in enumerate(requests) for _, _, item in known(events, user, at)]
    assert list(zip(rows.tolist(), items.tolist(), strict=True)) == expected


@given(events=EVENTS, requests=REQUESTS)
@settings(max_examples=60)
def test_history_bounds_point_into_the_users_group(events: list[Event], requests: list[tuple[int, int]]) -> None:
    stream = stream_of(events)
    starts, ends = stream.history_bounds(*arrays(requests))
    for row, (user, at) in enumerate(requests):
        positions = stream.by_user[starts[row] : ends[row]]
        assert stream.users[positions].tolist() == [user] * len(positions)
        assert stream.items[positions].tolist() == [item for _, _, item in known(events, user, at)]


@given(events=EVENTS, instant=st.integers(-1, HOURS + 1))
@settings(max_examples=60)
def test_a_view_before_an_instant_equals_a_stream_that_ends_there(events: list[Event], instant: int) -> None:
    view, whole = stream_of(events).before(hour(instant)), [event for event in events if event[2] < instant]
    assert view.timestamps.tolist() == stream_of(whole).timestamps.tolist()
    assert view.items.tolist() == stream_of(whole).items.tolist()
    assert (view.n_users, view.n_items) == (USERS, ITEMS)
    users, instants = np.arange(USERS), np.full(USERS, hour(HOURS + 1))
    expected = [known(whole, user, HOURS + 1) for user in range(USERS)]
    queries = view.queries(users, instants, 3)
    assert [row[row != PADDING].tolist() for row in queries.history_items] == [
        [i for _, _, i in e[-3:]] for e in expected
    ]


def test_equal_timestamps_are_ordered_by_source_row_and_hidden_from_each_other() -> None:
    stream = stream_of([(0, 3, 1), (0, 1, 1), (0, 2, 0), (0, 4, 1)])
    queries = stream.queries(*arrays([(0, 1), (0, 2)]), 10)
    assert queries.history_items[0, :1].tolist() == [2]
    assert queries.history_items[1, :4].tolist() == [2, 3, 1, 4]
    assert queries.lengths.tolist() == [1, 4]


def test_the_future_cannot_change_what_was_known() -> None:
    past = [(0, 1, 0), (1, 2, 1), (0, 3, 2)]
    requests = arrays([(0, 3), (1, 3), (2, 3)])
    before = stream_of(past).queries(*requests, 5)
    after = stream_of([*past, (0, 4, 3), (1, 4, 4), (2, 0, 5)]).queries(*requests, 5)
    np.testing.assert_array_equal(before.history_items, after.history_items)
    np.testing.assert_array_equal(before.lengths, after.lengths)


def test_an_empty_stream_gives_empty_histories() -> None:
    stream = stream_of([])
    queries = stream.queries(*arrays([(0, 1), (3, 2)]), 3, as_of=hour(0))
    assert len(stream) == 0
    assert queries.lengths.tolist() == [0, 0]
    assert (queries.history_items == PADDING).all()
    rows, items = stream.seen_pairs(*arrays([(0, 1)]))
    assert len(rows) == len(items) == 0
    assert len(stream.before(hour(3))) == 0


def test_taking_rows_of_queries_keeps_them_together() -> None:
    queries = stream_of([(0, 1, 0), (1, 2, 0)]).queries(*arrays([(0, 1), (1, 1), (2, 1)]), 2)
    taken = queries.take(np.array([2, 1]))
    assert len(taken) == 2
    assert taken.users.tolist() == [2, 1]
    assert taken.history_items.tolist() == [[PADDING, PADDING], [2, PADDING]]


def test_an_id_without_its_own_row_is_named() -> None:
    interactions = interactions_frame([("u1", "i1", "2020-01-01"), ("u2", "i9", "2020-01-02")])
    users = pd.DataFrame({"user_id": ["u1", "u2"]})
    with pytest.raises(KeyError, match="item_id: 'i9' is in interactions but not in its own table"):
        EngagementStream.from_tables(interactions, users, pd.DataFrame({"item_id": ["i1"]}))


def test_the_catalog_at_an_instant_includes_it_and_excludes_unknown_times() -> None:
    items = pd.DataFrame(
        {
            "item_id": ["a", "b", "c", "d"],
            "available_at": np.array([hour(0), hour(2), np.datetime64("NaT"), hour(3)], dtype="datetime64[us]"),
            "train_count": [1, 0, 0, 0],
            "slice": ["tail", "cold", "cold", "cold"],
        }
    )
    catalog = Catalog.from_table(items)
    assert len(catalog) == 4
    assert catalog.rows_at(hour(2)).tolist() == [0, 1]
    assert catalog.rows_at(hour(2) - np.timedelta64(1, "us")).tolist() == [0]
    assert catalog.rows_at(hour(9)).tolist() == [0, 1, 3]


def test_tables_are_loaded_with_the_cutoff_and_the_start_of_validation(tmp_path: Path) -> None:
    rows = [
        ("u2", "i1", "2020-01-05"),
        ("u1", "i2", "2020-01-01"),
        ("u1", "i1", "2020-01-03"),
        ("u3", "i2", "2020-01-09"),
    ]
    tables = load_tables(write_tables(tmp_path, interactions_frame(rows), "2020-01-04", "2020-01-02", windows=2))
    assert tables.cutoff == np.datetime64("2020-01-04")
    assert tables.validation_start == np.datetime64("2020-01-02")
    assert tables.stream.users.tolist() == [0, 0, 1, 2]
    assert tables.stream.items.tolist() == [1, 0, 0, 1]
    assert tables.interactions["user_id"].tolist() == ["u1", "u1", "u2", "u3"]
    assert tables.catalog.item_ids.tolist() == ["i1", "i2"]


@pytest.mark.parametrize(("total", "size", "expected"), [(0, 3, []), (5, 2, [2, 2, 1]), (4, 4, [4]), (3, 9, [3])])
def test_batches_cover_everything_once(total: int, size: int, expected: list[int]) -> None:
    parts = list(batches(total, size))
    assert [part.stop - part.start for part in parts] == expected
    assert [number for part in parts for number in range(total)[part]] == list(range(total))
