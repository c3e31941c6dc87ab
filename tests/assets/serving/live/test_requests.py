"""As of when users ask: by default, and chosen."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from assets.instants import DAY
from assets.serving.live.requests import InstantError, chosen_instant, request_instant
from assets.serving.store.meta import WATERMARK, put_meta
from tests.assets.serving.live.memory_store import MemoryStore

LATEST = 1_709_287_200_000_000
"""2024-03-01T10:00:00Z in microseconds."""


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    with store.write() as writer:
        put_meta(writer, WATERMARK, LATEST)
    return store


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (LATEST + 500 * DAY, LATEST + DAY),  # data that ended long ago
        (LATEST + DAY + 1, LATEST + DAY),
        (LATEST + DAY - 1, LATEST + DAY - 1),  # data that goes on arriving
        (LATEST - 7, LATEST - 7),  # a clock that is behind the data
    ],
)
def test_now_is_the_clock_but_at_most_a_day_behind_the_latest_engagement(
    store: MemoryStore, now: int, expected: int
) -> None:
    with store.read() as reader:
        assert request_instant(reader, now) == expected


def test_without_any_engagement_now_is_the_clock() -> None:
    with MemoryStore().read() as reader:
        assert request_instant(reader, 5) == 5
        assert chosen_instant(reader, datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)) == 1_000_000


def test_an_instant_is_taken_to_the_microsecond_from_any_zone(store: MemoryStore) -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    with store.read() as reader:
        assert chosen_instant(reader, datetime(2024, 3, 1, 15, 30, 0, 1, tzinfo=zone)) == LATEST + 1
        assert chosen_instant(reader, datetime(2024, 3, 1, 10, tzinfo=UTC)) == LATEST
        assert chosen_instant(reader, datetime(9999, 12, 31, tzinfo=UTC)) > LATEST + 7000 * 365 * DAY


def test_what_histories_do_not_tell_is_refused(store: MemoryStore) -> None:
    with store.read() as reader:
        with pytest.raises(InstantError, match=r"T09:59:59\+00:00 is before .* of 2024-03-01T10:00:00\+00:00"):
            chosen_instant(reader, datetime(2024, 3, 1, 9, 59, 59, tzinfo=UTC))
        with pytest.raises(InstantError, match="T00:00:00 has no time zone: write UTC as 2024-03-02T00:00:00Z"):
            chosen_instant(reader, datetime(2024, 3, 2))
