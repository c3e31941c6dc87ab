import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.config import ConfigError, Settings
from assets.ingestion import ingest as ingest_module
from assets.ingestion.errors import IngestionError
from assets.ingestion.ingest import IngestionReport, ingest
from assets.storage import Storage
from tests.assets.ingestion.layouts import ML_DATA, ML_ITEM, ML_USER, MT_RATINGS, NOW, ml_100k, movietweetings, settings

DIRT = "1\t20\n1\t20\t3\tnever\n"
FILES = ["ingestion.json", "interactions.parquet", "items.parquet", "quarantine.parquet", "users.parquet"]


def _ml(root: Path, **options: float) -> IngestionReport:
    chosen = settings(root, "ml-100k", **options)
    return ingest(chosen, chosen.storage, NOW)


def _content(storage: Storage) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(storage.raw.iterdir())}


def _storage(root: Path, dataset: str = "ml-100k") -> Storage:
    return Storage(root / "data", dataset)


def test_everything_is_written_and_reported(tmp_path: Path) -> None:
    ml_100k(tmp_path / "local" / "ml-100k", data=ML_DATA + DIRT + ML_DATA.splitlines()[0], item=ML_ITEM + ML_ITEM)
    report = _ml(tmp_path, max_quarantine_share=0.5)
    assert sorted(_content(_storage(tmp_path))) == FILES
    assert report.rows == {"interactions": 4, "items": 4, "users": 3}
    assert report.rows_read == {"u.data": 7, "u.item": 8, "u.user": 3}
    assert report.duplicates == {"interactions": 1, "items": 4, "users": 0}
    assert report.quarantined["u.data"] == {"ragged_line": 1, "unparsable_timestamp": 1}
    assert (report.first, report.last) == ("1997-11-07T07:18:36", "1998-04-04T19:22:22")
    assert report.source == "local copy"
    assert len(report.warnings) == 3, "none of these files is the published one"
    written = json.loads((_storage(tmp_path).raw / "ingestion.json").read_text())
    assert written["data_version"] == report.data_version
    assert written["dataset"] == "ml-100k"
    assert "Harper" in written["citation"]


def test_the_written_types_are_canonical(tmp_path: Path) -> None:
    movietweetings(tmp_path / "local" / "movietweetings-100k")
    chosen = settings(tmp_path, "movietweetings-100k")
    ingest(chosen, chosen.storage, NOW)
    types = {
        name: {field.name: str(field.type).replace("element", "item") for field in pq.read_schema(path)}
        for name in ("interactions", "items", "users", "quarantine")
        for path in [chosen.storage.raw_table(name)]
    }
    assert types["interactions"] == {
        "user_id": "string",
        "item_id": "string",
        "timestamp": "timestamp[us]",
        "event_type": "string",
        "value": "double",
        "source_row": "int64",
    }
    feature = "list<item: string>"
    assert types["items"] == {
        "item_id": "string",
        "title": "string",
        "created_at": "timestamp[us]",
        "genre": feature,
        "year": feature,
    }
    assert types["users"] == {"user_id": "string"}
    assert types["quarantine"] == {"file": "string", "row": "int64", "reason": "string", "content": "string"}


def test_a_rerun_gives_the_same_bytes(tmp_path: Path) -> None:
    ml_100k(tmp_path / "local" / "ml-100k")
    _ml(tmp_path)
    first = _content(_storage(tmp_path))
    _ml(tmp_path)
    assert _content(_storage(tmp_path)) == first


def test_data_version_follows_content_alone(tmp_path: Path) -> None:
    ml_100k(tmp_path / "local" / "ml-100k")
    before = _ml(tmp_path).data_version
    ml_100k(tmp_path / "local" / "ml-100k", data=ML_DATA.replace("\n", "\r\n"))
    assert _ml(tmp_path).data_version == before
    ml_100k(tmp_path / "local" / "ml-100k", data=ML_DATA.replace("\t5\t", "\t4\t"))
    assert _ml(tmp_path).data_version != before


def test_a_row_repeated_exactly_is_dropped_once(tmp_path: Path) -> None:
    ml_100k(tmp_path / "local" / "ml-100k", data=ML_DATA + ML_DATA)
    report = _ml(tmp_path)
    assert (report.rows["interactions"], report.duplicates["interactions"]) == (4, 4)


def test_too_much_dirt_is_refused_with_counts_and_examples(tmp_path: Path) -> None:
    ml_100k(tmp_path / "local" / "ml-100k", data=ML_DATA + DIRT)
    with pytest.raises(IngestionError) as caught:
        _ml(tmp_path)
    message = str(caught.value)
    assert "u.data: 2 of 6 rows are not valid, more than the 5% that max_quarantine_share allows" in message
    assert "1 x ragged_line, 1 x unparsable_timestamp" in message
    assert "row 5: '1\\t20'" in message
    assert not _storage(tmp_path).raw.exists()


def test_a_file_without_a_valid_row_is_refused(tmp_path: Path) -> None:
    ml_100k(tmp_path / "local" / "ml-100k", data="1\t20\t3\tnever\n")
    with pytest.raises(IngestionError, match=r"u\.data: none of its 1 rows is valid: 1 x unparsable_timestamp"):
        _ml(tmp_path, max_quarantine_share=1.0)


@pytest.mark.parametrize("part", ["data", "item", "user"])
def test_an_empty_or_missing_file_is_named(tmp_path: Path, part: str) -> None:
    folder = ml_100k(tmp_path / "local" / "ml-100k", **{part: "\n"})
    with pytest.raises(IngestionError, match=rf"u\.{part}: the file is empty"):
        _ml(tmp_path)
    (folder / f"u.{part}").unlink()
    with pytest.raises(IngestionError, match=rf"u\.{part}: missing from"):
        _ml(tmp_path)


def test_a_failure_while_reading_leaves_the_old_tables(tmp_path: Path) -> None:
    folder = ml_100k(tmp_path / "local" / "ml-100k")
    _ml(tmp_path)
    before = _content(_storage(tmp_path))
    ml_100k(folder, data=ML_DATA * 2, user=ML_USER.replace("|", ","))
    with pytest.raises(IngestionError, match=r"u\.user: expected 5 fields"):
        _ml(tmp_path)
    assert _content(_storage(tmp_path)) == before


def test_a_failure_while_writing_leaves_the_old_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ml_100k(tmp_path / "local" / "ml-100k")
    _ml(tmp_path)
    before = _content(_storage(tmp_path))
    ml_100k(folder, data=ML_DATA.replace("\t5\t", "\t4\t"))
    real = ingest_module.write_raw_table

    def fail_at_the_last_table(path: Path, table: pa.Table) -> None:
        if path.name.startswith("quarantine"):
            raise OSError("the disk is full")
        real(path, table)

    monkeypatch.setattr(ingest_module, "write_raw_table", fail_at_the_last_table)
    with pytest.raises(OSError, match="disk is full"):
        _ml(tmp_path)
    assert _content(_storage(tmp_path)) == before


def test_future_means_after_now(tmp_path: Path) -> None:
    movietweetings(tmp_path / "local" / "movietweetings-100k", ratings=MT_RATINGS)
    chosen = settings(tmp_path, "movietweetings-100k", max_quarantine_share=0.9)
    second_rating = datetime(2013, 4, 21, 20, 37, 19, tzinfo=UTC)
    assert ingest(chosen, chosen.storage, second_rating).rows["interactions"] == 3
    report = ingest(chosen, chosen.storage, second_rating.replace(second=18))
    assert report.quarantined["ratings.dat"] == {"future_timestamp": 1}


def test_an_unknown_dataset_is_refused_before_anything(tmp_path: Path) -> None:
    chosen = Settings(dataset="netflix", home=tmp_path)
    with pytest.raises(ConfigError, match="unknown dataset 'netflix'; known: simulated"):
        ingest(chosen, chosen.storage, NOW)
    assert list(tmp_path.iterdir()) == []


def test_the_simulator_needs_no_files(tmp_path: Path) -> None:
    small = {"users": 30, "items": 40, "days": 5, "engagements": 200}
    chosen = settings(tmp_path, "simulated", **small)
    report = ingest(chosen, chosen.storage, NOW)
    assert report.source == "generated"
    assert report.rows["items"] == 40
    assert report.options["seed"] == 0
