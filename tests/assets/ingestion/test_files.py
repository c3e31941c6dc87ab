import os
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.ingestion.datasets.files import DATASET
from assets.ingestion.errors import IngestionError
from assets.ingestion.landing.contract import read_engagements, read_items
from assets.ingestion.landing.errors import LandingError
from assets.ingestion.own_tables import FilesOptions
from assets.ingestion.tables import RawTables
from assets.instants import EARLIEST
from assets.quality import vocabulary
from tests.assets.ingestion.layouts import NOW, write

INTERACTIONS = (
    "user_id,item_id,timestamp,value,event_type,ignored\n007,a,2024-01-02T03:04:05Z,2.5,click,x\nu,b,2024-01-03,,,\n"
)


def _read(folder: Path, **options: Any) -> RawTables:
    return DATASET.read(folder, FilesOptions(**options), NOW)


def _timestamps(folder: Path, *written: str, **options: Any) -> list[datetime]:
    rows = "".join(f"u,i,{one}\n" for one in written)
    raw = _read(write(folder, {"interactions.csv": "user_id,item_id,timestamp\n" + rows}), **options)
    return raw.interactions["timestamp"].to_pylist()


def test_csv_interactions(tmp_path: Path) -> None:
    raw = _read(write(tmp_path, {"interactions.csv": INTERACTIONS}))
    assert raw.interactions.to_pylist() == [
        {
            "user_id": "007",
            "item_id": "a",
            "timestamp": datetime(2024, 1, 2, 3, 4, 5),
            "event_type": "click",
            "value": 2.5,
            "source_row": 2,
        },
        {
            "user_id": "u",
            "item_id": "b",
            "timestamp": datetime(2024, 1, 3),
            "event_type": "engagement",
            "value": None,
            "source_row": 3,
        },
    ]
    assert raw.items.column_names == ["item_id", "title", "created_at"]
    assert (raw.items.num_rows, raw.users.num_rows) == (0, 0)


def test_items_and_users_turn_other_columns_into_features(tmp_path: Path) -> None:
    files = {
        "interactions.csv": INTERACTIONS,
        "items.csv": 'item_id,title,created_at,genre,price band\na,"One, two",2023-05-06,Action| Crime ||,low\nb,,,,\n',
        "users.csv": "user_id,country\n007,NL\nu,\n",
    }
    raw = _read(write(tmp_path, files))
    assert raw.items.to_pylist()[0] == {
        "item_id": "a",
        "title": "One, two",
        "created_at": datetime(2023, 5, 6),
        "genre": ["Action", "Crime"],
        "price band": ["low"],
    }
    assert raw.items.to_pylist()[1]["created_at"] is None
    assert raw.users.to_pylist() == [{"user_id": "007", "country": ["NL"]}, {"user_id": "u", "country": []}]


def test_columns_delimiter_and_separator_are_mapped(tmp_path: Path) -> None:
    files = {
        "interactions.csv": "who;what;when;stars\nu;a;1365029107;4\n",
        "items.csv": "what;name;genre\na;Alpha;x/y\n",
    }
    raw = _read(
        write(tmp_path, files),
        user_column="who",
        item_column="what",
        timestamp_column="when",
        value_column="stars",
        title_column="name",
        delimiter=";",
        list_separator="/",
        timestamp_format="epoch_seconds",
    )
    assert raw.interactions.to_pylist()[0]["value"] == 4.0
    assert raw.interactions.to_pylist()[0]["event_type"] == "engagement"
    assert raw.items.to_pylist() == [{"item_id": "a", "title": "Alpha", "created_at": None, "genre": ["x", "y"]}]


def test_parquet_takes_typed_columns(tmp_path: Path) -> None:
    instants = pa.array([datetime(2024, 1, 2, 3), datetime(2024, 1, 2, 4)], pa.timestamp("ms", "Europe/Amsterdam"))
    interactions = pa.table(
        {
            "user_id": pa.array([7, 8]),
            "item_id": pa.array(["a", "b"]).dictionary_encode(),
            "timestamp": instants,
            "value": pa.array([1, None], pa.int32()),
        }
    )
    items = pa.table(
        {
            "item_id": ["a", "b"],
            "created_at": pa.array([datetime(2023, 1, 1).date(), None], pa.date32()),
            "genre": [["x", None, "y"], None],
            "level": [3, 4],
        }
    )
    pq.write_table(interactions, tmp_path / "interactions.parquet")
    pq.write_table(items, tmp_path / "items.parquet")
    raw = _read(tmp_path)
    assert [(row["user_id"], row["timestamp"], row["value"]) for row in raw.interactions.to_pylist()] == [
        ("7", datetime(2024, 1, 2, 3), 1.0),
        ("8", datetime(2024, 1, 2, 4), None),
    ]
    assert raw.items.to_pylist() == [
        {"item_id": "a", "title": None, "created_at": datetime(2023, 1, 1), "genre": ["x", "y"], "level": ["3"]},
        {"item_id": "b", "title": None, "created_at": None, "genre": [], "level": ["4"]},
    ]


def test_null_parquet_fields_are_set_aside(tmp_path: Path) -> None:
    table = pa.table(
        {"user_id": ["u", None, "w"], "item_id": ["a", "b", "c"], "timestamp": ["2024-01-01"] * 2 + [None]}
    )
    pq.write_table(table, tmp_path / "interactions.parquet")
    raw = _read(tmp_path)
    assert [(row["row"], row["reason"]) for row in raw.quarantine.to_pylist()] == [
        (2, "empty_id"),
        (3, "unparsable_timestamp"),
    ]


@pytest.mark.parametrize(
    ("written", "options"),
    [
        ("2013-04-04T00:45:07+02:00", {}),
        ("2013-04-03 22:45:07", {"timestamp_format": "iso8601"}),
        ("1365029107", {}),
        ("1365029107", {"timestamp_format": "epoch_seconds"}),
        ("1365029107000", {}),
        ("1365029107000", {"timestamp_format": "epoch_milliseconds"}),
        ("1365029107.0", {}),
    ],
)
def test_timestamp_formats(tmp_path: Path, written: str, options: dict[str, Any]) -> None:
    assert _timestamps(tmp_path, written, **options) == [datetime(2013, 4, 3, 22, 45, 7)]


@pytest.mark.parametrize("written", [("1365029107", "1365029107000"), ("12345",), ("20240102",)])
def test_auto_refuses_ambiguous_numbers(tmp_path: Path, written: tuple[str, ...]) -> None:
    with pytest.raises(
        IngestionError, match=r"interactions\.csv, column timestamp: cannot tell .* set timestamp_format"
    ):
        _timestamps(tmp_path, *written)


def test_an_explicit_format_sets_other_text_aside(tmp_path: Path) -> None:
    assert _timestamps(tmp_path, "2024-01-01", "1365029107", timestamp_format="iso8601") == [datetime(2024, 1, 1)]


def test_ragged_and_dirty_csv_rows_are_set_aside_by_line(tmp_path: Path) -> None:
    rows = "u,a,2024-01-01,1,click,\nu,a\n,a,2024-01-01,1,click,\nu,a,soon,1,click,\nu,a,2024-01-01,many,click,\n"
    raw = _read(write(tmp_path, {"interactions.csv": INTERACTIONS + rows}))
    assert [(row["row"], row["reason"]) for row in raw.quarantine.to_pylist()] == [
        (5, "ragged_line"),
        (6, "empty_id"),
        (7, "unparsable_timestamp"),
        (8, "non_numeric_value"),
    ]
    assert raw.interactions["source_row"].to_pylist() == [2, 3, 4]


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        ({}, {}, r"interactions\.csv or interactions\.parquet: missing"),
        ({"interactions.csv": ""}, {}, r"interactions\.csv: the file is empty"),
        (
            {"interactions.csv": "user_id,item_id\nu,a\n"},
            {},
            r"column timestamp is missing; the file has user_id, item_id",
        ),
        ({"interactions.csv": INTERACTIONS}, {"user_column": "who"}, r"column who is missing.*_column of the settings"),
        ({"interactions.csv": INTERACTIONS}, {"value_column": "stars"}, r"column stars is missing"),
        ({"interactions.csv": INTERACTIONS.encode("utf-16")}, {}, r"binary or UTF-16"),
        ({"interactions.csv": b"user_id\n\xff\n"}, {}, r"interactions\.csv, line 2: byte 0xff is not valid utf-8"),
        ({"interactions.csv": "a,A\n1,2\n"}, {}, r"column names A, a are the same to SQL"),
        ({"interactions.csv": INTERACTIONS, "interactions.parquet": b""}, {}, r"keep one of them"),
        ({"interactions.parquet": b"no parquet"}, {}, r"interactions\.parquet: not a readable Parquet file"),
        ({"interactions.csv": INTERACTIONS, "items.csv": "id\n1\n"}, {}, r"items\.csv: column item_id is missing"),
        (
            {"interactions.csv": INTERACTIONS, "items.csv": "item_id,slice\n1,2\n"},
            {},
            r"column slice: Thaw uses that name",
        ),
        ({"interactions.csv": INTERACTIONS}, {"encoding": "klingon"}, r"unknown encoding 'klingon'"),
    ],
)
def test_structural_errors(
    tmp_path: Path, files: dict[str, str | bytes], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(IngestionError, match=message):
        _read(write(tmp_path, files), **options)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("user_id", pa.array([1.5]), r"column user_id is double; ids must be text or integers"),
        ("timestamp", pa.array([{"a": 1}]), r"column timestamp is struct"),
        ("timestamp", pa.array([[{"a": 1}]]), r"column timestamp is list"),
    ],
)
def test_unusable_parquet_types(tmp_path: Path, column: str, values: pa.Array, message: str) -> None:
    table = {"user_id": pa.array(["u"]), "item_id": pa.array(["i"]), "timestamp": pa.array(["2024-01-01"])}
    pq.write_table(pa.table(table | {column: values}), tmp_path / "interactions.parquet")
    with pytest.raises(IngestionError, match=message):
        _read(tmp_path)


def test_part_files_are_one_table_in_order_of_their_names(tmp_path: Path) -> None:
    """As ``thaw simulate`` writes them; what a killed writer left is none of them."""
    for number, user in enumerate(["v", "w"]):
        table = pa.table({"user_id": [user], "item_id": ["a"], "timestamp": [datetime(2024, 1, 2 - number)]})
        pq.write_table(table, tmp_path / f"interactions-{number:05d}.parquet")
    write(tmp_path, {"interactions-00002.partial-1-x.parquet": b"half", "users-0.csv": "user_id\nv\n"})
    raw = _read(write(tmp_path, {"users-1.csv": "user_id\nw\n"}))
    assert [(row["user_id"], row["source_row"]) for row in raw.interactions.to_pylist()] == [("v", 1), ("w", 2)]
    assert raw.users["user_id"].to_pylist() == ["v", "w"]
    parquet = [f"interactions-{number:05d}.parquet" for number in range(2)]
    assert raw.rows_read == dict.fromkeys([*parquet, "users-0.csv", "users-1.csv"], 1)


def test_a_part_file_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"interactions-\xff.csv")).write_text(INTERACTIONS)
    with pytest.raises(IngestionError, match=r"interactions-\ufffd\.csv: has a name that is no UTF-8; rename it"):
        _read(tmp_path)


def test_part_files_agree_on_the_timestamps(tmp_path: Path) -> None:
    """The unit is that of all files: a part alone would have been taken for seconds."""
    head = "user_id,item_id,timestamp\n"
    write(tmp_path, {"interactions-0.csv": head + "u,a,1365029107\n"})
    write(tmp_path, {"interactions-1.csv": head + "u,a,1365029107000\n"})
    with pytest.raises(IngestionError, match="cannot tell seconds from milliseconds"):
        _read(tmp_path)
    write(tmp_path, {"interactions-1.csv": head + "u,a,2024-01-02\n"})
    assert [row["row"] for row in _read(tmp_path).quarantine.to_pylist()] == [2]  # a number is no ISO 8601


def test_content_of_part_files_has_one_length(tmp_path: Path) -> None:
    write(tmp_path, {"interactions.csv": INTERACTIONS})
    for number, vector in enumerate([[1.0, 2.0], [1.0]]):
        pq.write_table(pa.table({"item_id": [str(number)], "content": [vector]}), tmp_path / f"items-{number}.parquet")
    with pytest.raises(IngestionError, match=r"different lengths: 2 in items-0\.parquet, 1 in items-1\.parquet"):
        _read(tmp_path)
    pq.write_table(pa.table({"item_id": ["1"], "content": pa.array([None], pa.list_(pa.float32()))}), _path(tmp_path))
    assert _read(tmp_path).items["content"].to_pylist() == [[1.0, 2.0], None]
    pq.write_table(pa.table({"item_id": ["1"], "other": ["x"]}), _path(tmp_path))
    with pytest.raises(IngestionError, match=r"items-1\.parquet: its columns are item_id, other, those of"):
        _read(tmp_path)


def _path(folder: Path) -> Path:
    return folder / "items-1.parquet"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"item_features": ["a"], "item_columns_left_out": ["b"]}, "say the same"),
        ({"event_values": {"click": float("nan")}}, "the value of click must be a finite number"),
    ],
)
def test_options_that_contradict(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FilesOptions(**options)


def _table(**columns: pa.Array) -> pa.Table:
    return pa.table({"user_id": ["u"], "item_id": ["a"], "timestamp": [datetime(2024, 1, 1)], **columns})


ONE_LIST = pa.array([["x"]])


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("value", pa.array([datetime(2024, 1, 1)], pa.timestamp("us")), r"value is timestamp\[us\]; make it a number"),
        ("value", pa.array([datetime(2024, 1, 1).date()]), r"value is date32\[day\]; make it a number"),
        ("value", ONE_LIST, "value is list<.*>; make it a number"),
        ("event_type", ONE_LIST, "event_type is list<.*>; make it text"),
        ("timestamp", ONE_LIST, "timestamp is list<.*>; make it a timestamp, a number or text"),
        ("created_at", ONE_LIST, "created_at is list<.*>; make it a timestamp, a number or text"),
        ("title", ONE_LIST, "title is list<.*>; make it text"),
    ],
)
def test_a_column_of_a_wrong_type_is_named(tmp_path: Path, column: str, values: pa.Array, expected: str) -> None:
    name = "items" if column in ("title", "created_at") else "interactions"
    pq.write_table(_table(), tmp_path / "interactions.parquet")
    pq.write_table(_table(**{column: values}), path := tmp_path / f"{name}.parquet")
    for option in ("auto", "epoch_seconds"):
        with pytest.raises(IngestionError, match=rf"{name}\.parquet: column {expected}"):
            _read(tmp_path, timestamp_format=option)
    with pytest.raises(LandingError, match=rf"{name}\.parquet: column {expected}"):
        read_items(path, 0, 0.0) if name == "items" else read_engagements(path, 0, 0.0)


@pytest.mark.parametrize("unit", ["s", "ms"])
@pytest.mark.parametrize("column", ["timestamp", "created_at"])
def test_an_instant_that_64_bits_of_microseconds_cannot_say_is_set_aside(
    tmp_path: Path, unit: str, column: str
) -> None:
    """A cast wraps it around: 2^61 ms were 1970."""
    good, far = {"s": (1_700_000_000, 2**53), "ms": (1_700_000_000_000, 2**61)}[unit]
    ids = pa.array(["a", "b", "c"])
    columns = {"item_id": ids, column: pa.array([good, far, -far], pa.int64()).cast(pa.timestamp(unit))}
    write(tmp_path, {"interactions.csv": INTERACTIONS} if column == "created_at" else {})
    if column == "created_at":
        pq.write_table(pa.table(columns), tmp_path / "items.parquet")
    else:
        pq.write_table(pa.table({"user_id": ids, **columns}), tmp_path / "interactions.parquet")
    aside = _read(tmp_path).quarantine.to_pylist()
    assert [(row["row"], row["reason"]) for row in aside] == [(2, "unparsable_timestamp"), (3, "unparsable_timestamp")]


def test_a_number_too_large_for_an_instant_is_set_aside(tmp_path: Path) -> None:
    items = "item_id,created_at\na,1e30\nb,1e400\nc,1600000000\n"
    raw = _read(
        write(tmp_path, {"interactions.csv": "user_id,item_id,timestamp\nu,a,1600000000\n", "items.csv": items}),
        timestamp_format="epoch_seconds",
    )
    assert raw.quarantine["reason"].to_pylist() == ["unparsable_timestamp"] * 2
    assert raw.items["item_id"].to_pylist() == ["c"]


def test_engagements_before_1971_are_set_aside_as_the_checks_would_have_it(tmp_path: Path) -> None:
    """One zero would otherwise stop the graph at the quality checks."""
    written = ["1970-01-01", "1970-12-31T23:59:59.999999", "1971-01-01", "2024-01-01"]
    content = "user_id,item_id,timestamp\n" + "".join(f"u{row},i,{one}\n" for row, one in enumerate(written))
    raw = _read(write(tmp_path, {"interactions.csv": content}))
    assert [(row["row"], row["reason"]) for row in raw.quarantine.to_pylist()] == [
        (2, "timestamp_before_1971"),
        (3, "timestamp_before_1971"),
    ]
    landed = read_engagements(tmp_path / "interactions.csv", 1_735_689_600_000_000, 0.5)
    assert landed.table["user_id"].to_pylist() == ["u2", "u3"]
    assert landed.rejected["reason"].to_pylist() == ["timestamp_before_1971"] * 2


def test_ingestion_and_the_checks_have_one_earliest_instant() -> None:
    assert vocabulary.EARLIEST == pd.Timestamp(EARLIEST, unit="us") == pd.Timestamp("1971-01-01")
