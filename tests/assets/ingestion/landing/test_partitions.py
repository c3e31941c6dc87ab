from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.ingestion.landing.partitions import bounds, is_partition, partition_key


def micros(*parts: int) -> int:
    return int((datetime(*parts, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1_000_000)


def test_keys_by_hand() -> None:
    instant = micros(2013, 8, 19, 5, 59, 59) + 999_999
    assert partition_key(instant, "day") == "2013-08-19"
    assert partition_key(instant, "hour") == "2013-08-19-05"
    assert partition_key(instant + 1, "hour") == "2013-08-19-06"


def test_bounds_by_hand() -> None:
    assert bounds("2013-08-19") == (micros(2013, 8, 19), micros(2013, 8, 20))
    assert bounds("2013-12-31-23") == (micros(2013, 12, 31, 23), micros(2014, 1, 1))


@given(st.integers(0, micros(9999, 12, 30)), st.sampled_from(["day", "hour"]))
def test_an_instant_lies_in_its_partition(instant: int, span: str) -> None:
    start, end = bounds(partition_key(instant, span))
    assert start <= instant < end


@given(st.tuples(st.integers(0, micros(9999, 12, 30)), st.integers(0, micros(9999, 12, 30))))
def test_names_sort_as_times_do(instants: tuple[int, int]) -> None:
    early, late = sorted(instants)
    assert partition_key(early, "hour") <= partition_key(late, "hour")


@pytest.mark.parametrize("key", ["", "2013", "2013-8-19", "2013-08-19-24", "2013-02-30", "../2013-08-19", "base"])
def test_what_is_no_partition(key: str) -> None:
    assert not is_partition(key)
    with pytest.raises(ValueError, match="is no partition: expected a day like"):
        bounds(key)
