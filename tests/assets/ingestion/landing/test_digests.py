"""Row digests: equal for equal rows however they are stored, different for any other row, the same in every process."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from assets.ingestion.landing.digests import LANDED_ROWS, digests_of_arrays, landed_source_rows, row_digests
from assets.ingestion.tables import INTERACTIONS_SCHEMA

ROW = {"user_id": "u", "item_id": "i", "timestamp": 5, "event_type": "engagement", "value": 1.0, "source_row": 0}


def table(*rows: dict) -> pa.Table:
    return pa.Table.from_pylist([ROW | row for row in rows], INTERACTIONS_SCHEMA)


@pytest.mark.parametrize(
    "change",
    [{"user_id": "v"}, {"item_id": "j"}, {"timestamp": 6}, {"event_type": "click"}, {"value": 2.0}, {"value": None}],
)
def test_any_other_row_has_another_digest(change: dict) -> None:
    first, second = row_digests(table({}, change))
    assert first != second


def test_ids_may_not_be_exchanged_or_moved_between_columns() -> None:
    digests = row_digests(
        table({}, {"user_id": "i", "item_id": "u"}, {"user_id": "ui", "item_id": ""}, {"user_id": "", "item_id": "ui"})
    )
    assert len(set(digests)) == 4


def test_source_rows_do_not_count() -> None:
    first, second = row_digests(table({}, {"source_row": 9}))
    assert first == second


def test_a_value_that_is_missing_is_one_whatever_it_is_called() -> None:
    null, nan = row_digests(table({"value": None}, {"value": float("nan")}))
    absent = row_digests(table({}).drop_columns(["value"]))[0]
    assert null == nan == absent


def test_minus_zero_is_zero() -> None:
    first, second = row_digests(table({"value": 0.0}, {"value": -0.0}))
    assert first == second


def test_digests_are_known_values() -> None:
    """A change of these makes every repetition of what is on disk a new row."""
    assert [int(value) for value in row_digests(table({}, {"value": None}))] == KNOWN


KNOWN = [6259763855681594933, 13521137924722680189]


def test_encoding_and_chunks_do_not_matter() -> None:
    plain = table({}, {"user_id": "v"}, {"item_id": "j"})
    encoded = plain.set_column(0, "user_id", plain["user_id"].dictionary_encode())
    chunked = pa.concat_tables([plain.slice(0, 1), plain.slice(1)])
    frame = plain.to_pandas()
    arrays = digests_of_arrays({name: frame[name].to_numpy() for name in frame})
    for other in (row_digests(encoded), row_digests(chunked), arrays):
        np.testing.assert_array_equal(other, row_digests(plain))


def test_a_units_of_time_do_not_matter() -> None:
    micros = table({"timestamp": 1_000_000})
    seconds = micros.set_column(2, "timestamp", micros["timestamp"].cast(pa.timestamp("s")))
    assert row_digests(seconds)[0] == row_digests(micros)[0]


def test_many_rows_have_as_many_digests() -> None:
    rng = np.random.default_rng(0)
    rows = 200_000
    frame = pd.DataFrame(
        {
            "user_id": rng.integers(0, 500, rows).astype(str),
            "item_id": rng.integers(0, 500, rows).astype(str),
            "timestamp": pd.to_datetime(rng.integers(0, 1000, rows), unit="s").astype("datetime64[us]"),
            "event_type": "engagement",
            "value": 1.0,
        }
    )
    assert len(np.unique(row_digests(pa.Table.from_pandas(frame)))) == len(frame.drop_duplicates())


def test_no_rows() -> None:
    assert row_digests(INTERACTIONS_SCHEMA.empty_table()).tolist() == []


def test_landed_source_rows_lie_behind_every_other_and_keep_the_order_of_digests() -> None:
    digests = np.array([0, 3, 4, 2**64 - 1], np.uint64)
    rows = landed_source_rows(digests)
    assert rows.dtype == np.int64
    assert rows.tolist() == [LANDED_ROWS, LANDED_ROWS, LANDED_ROWS + 1, 2**63 - 1]
