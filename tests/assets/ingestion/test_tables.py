from datetime import datetime

import pyarrow as pa
import pytest

from assets.ingestion import features
from assets.ingestion.digest import content_digest
from assets.ingestion.tables import (
    RawTables,
    interactions_table,
    items_table,
    users_table,
    without_duplicates,
)


def _interactions(values: list[float | None]) -> pa.Table:
    count = len(values)
    return interactions_table(
        {
            "user_id": pa.array(["u"] * count),
            "item_id": pa.array(["i"] * count),
            "timestamp": pa.array([datetime(2024, 1, 1)] * count, pa.timestamp("us")),
            "event_type": pa.array(["click"] * count),
            "value": pa.array(values, pa.float64()),
            "source_row": pa.array(range(1, count + 1)),
        }
    )


def test_duplicates_are_dropped_and_counted_keeping_the_first() -> None:
    items = items_table(pa.array(["b", "a", "b"]), pa.array(["first", "x", "second"]))
    users = users_table(pa.array(["u", "u"]), {"age": features.single(pa.array(["1", "2"]))})
    kept, dropped = without_duplicates(RawTables(_interactions([1.0, 2.0, None, 1.0, None]), items, users))
    assert kept.interactions["source_row"].to_pylist() == [1, 2, 3]
    assert kept.items.select(["item_id", "title"]).to_pylist() == [
        {"item_id": "b", "title": "first"},
        {"item_id": "a", "title": "x"},
    ]
    assert kept.users.to_pylist() == [{"user_id": "u", "age": ["1"]}]
    assert dropped == {"interactions": 2, "items": 1, "users": 1}


def test_digest_does_not_depend_on_chunks_and_slices() -> None:
    whole = pa.table({"a": ["x", "yy", None, "z"], "b": [[1.5], None, [], [2.0, 3.0]]})
    whole = whole.set_column(1, "b", pa.array([["p"], None, [], ["q", "r"]], pa.list_(pa.string())))
    pieces = pa.concat_tables([whole.slice(0, 1), whole.slice(1, 2), whole.slice(3)])
    longer = pa.concat_tables([whole.slice(2, 2), whole])
    assert content_digest({"t": whole}) == content_digest({"t": pieces}) == content_digest({"t": longer.slice(2)})


@pytest.mark.parametrize(
    "other",
    [
        pa.table({"a": ["xy", "z"]}),
        pa.table({"a": ["x", "zy"]}),
        pa.table({"b": ["x", "yz"]}),
        pa.table({"a": ["", "xyz"]}),
        pa.table({"a": pa.array([None, "xyz"])}),
        pa.table({"a": pa.array([["x"], ["yz"]], pa.list_(pa.string()))}),
        pa.table({"a": pa.array([["x", "yz"], []], pa.list_(pa.string()))}),
    ],
)
def test_digest_tells_contents_apart(other: pa.Table) -> None:
    tables = [pa.table({"a": ["x", "yz"]}), other]
    assert len({content_digest({"t": table}) for table in tables}) == 2


def test_feature_builders() -> None:
    text = pa.array(["a| b ||", "", None, "c"])
    assert features.split(text, "|").to_pylist() == [["a", "b"], [], [], ["c"]]
    assert features.single(pa.array(["x", " ", None, " y "])).to_pylist() == [["x"], [], [], ["y"]]
    titles = pa.array(["Two Friends (1986) ", "Trip (1995) (V)", "2001: A Space Odyssey", None, "(1990) again (1991)"])
    assert features.year_in_title(titles).to_pylist() == [["1986"], ["1995"], [], [], ["1991"]]
    lists = pa.array([["a", None, ""], None, []], pa.list_(pa.string()))
    assert features.without_nulls(lists).to_pylist() == [["a"], [], []]
