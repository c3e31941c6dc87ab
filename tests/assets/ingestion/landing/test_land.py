import os
from pathlib import Path

import pytest

from assets.ingestion.landing.claims import claim, claimed
from assets.ingestion.landing.contract import read_engagements
from assets.ingestion.landing.errors import LandingError
from assets.ingestion.landing.intake import ingest_claimed
from assets.ingestion.landing.land import land
from tests.assets.ingestion.landing.drops import CONFIG, NOW, csv, day, storage_in, tree


def source(root: Path, name: str, content: str) -> Path:
    path = root / name
    path.write_text(content)
    return path


def test_rows_are_cut_by_partition_and_arrive(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    content = csv(("u1", "i", "2024-05-02T01:00"), ("u2", "i", "2024-05-01"), ("u3", "i", "2024-05-02T00:30"))
    landed = land(storage, [source(tmp_path, "a.csv", content)], "day", NOW)
    assert [(file.partition, file.rows, file.source) for file in landed.files] == [
        ("2024-05-01", 1, "a.csv"),
        ("2024-05-02", 2, "a.csv"),
    ]
    claim(storage, CONFIG, NOW, 60.0)
    batches = ingest_claimed(storage, CONFIG, None, NOW).batches
    assert [(batch.partition, batch.rows) for batch in batches] == [("2024-05-01", 1), ("2024-05-02", 2)]


def test_by_hour_every_column_lands(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    content = "user_id,item_id,timestamp,value,event_type\nu1,i,2024-05-02T01:00,2.5,click\nu2,i,2024-05-02T02:00,,\n"
    path = source(tmp_path, "a.csv", content)
    landed = land(storage, [path], "hour", NOW)
    assert [file.partition for file in landed.files] == ["2024-05-02-01", "2024-05-02-02"]
    parts = [read_engagements(file.path, NOW, 0.0).table.to_pylist() for file in landed.files]
    assert [row for part in parts for row in part] == read_engagements(path, NOW, 0.0).table.to_pylist()


def test_all_are_validated_before_the_first_appears(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    files = [
        source(tmp_path, "a.csv", day(1)),
        source(tmp_path, "b.csv", "user_id\nu\n"),
        source(tmp_path, "c.csv", csv(("u", "i", "soon"))),
    ]
    with pytest.raises(LandingError, match=r"(?s)b\.csv: column item_id.*\nc\.csv: 1 of 1 rows"):
        land(storage, files, "day", NOW)
    assert tree(storage.root) == []


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(LandingError, match=r"a\.csv"):
        land(storage_in(tmp_path), [tmp_path / "a.csv"], "day", NOW)


def test_landing_twice_gives_the_same_files(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    files = [source(tmp_path, "a.csv", day(1)), source(tmp_path, "b.csv", day(1, ("u3",)))]
    land(storage, files, "day", NOW)
    before = {path: path.read_bytes() for path in (storage.landing / "engagements").iterdir()}
    land(storage, files, "day", NOW)
    assert {path: path.read_bytes() for path in (storage.landing / "engagements").iterdir()} == before
    assert len(before) == 2


def test_files_of_one_name_do_not_meet(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    (tmp_path / "other").mkdir()
    files = [source(tmp_path, "a.csv", day(1)), source(tmp_path / "other", "a.csv", day(1, ("u9",)))]
    assert len({file.path for file in land(storage, files, "day", NOW).files}) == 2


def test_names_that_the_sensor_would_pass_over_are_changed(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    land(storage, [source(tmp_path, "_a.csv", day(1)), source(tmp_path, "..csv", day(2))], "day", NOW)
    assert len(claim(storage, CONFIG, NOW, 60.0).files) == 2


@pytest.mark.parametrize("name", ["a**b.csv", "a[1].csv", os.fsdecode(b"bad\xff.csv")])
def test_any_name(tmp_path: Path, name: str) -> None:
    storage = storage_in(tmp_path)
    landed = land(storage, [source(tmp_path, name, day(1) + "u,i,soon\n")], "day", NOW, max_quarantine_share=0.5)
    shown = name.replace("\udcff", "\ufffd")
    assert [file.source for file in landed.files] == [shown]
    assert landed.rejected[shown]["file"].to_pylist() == [shown]
    assert len(claim(storage, CONFIG, NOW, 60.0).files) == 1
    with pytest.raises(LandingError) as refused:
        land(storage, [source(tmp_path, name, "user_id\n")], "day", NOW)
    refused.value.args[0].encode()


def test_bad_rows_within_the_share_are_told_and_do_not_land(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    landed = land(storage, [source(tmp_path, "a.csv", day(1) + "u,i,soon\n")], "day", NOW, max_quarantine_share=0.5)
    assert [file.rows for file in landed.files] == [2]
    assert landed.rejected["a.csv"]["reason"].to_pylist() == ["unparsable_timestamp"]


def test_items(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    path = source(tmp_path, "a.csv", "item_id,title,genre\nx,One,a|b\n")
    (file,) = land(storage, [path], "day", NOW, kind="items").files
    assert (file.partition, file.rows, file.path.parent.name) == (None, 1, "items")
    claim(storage, CONFIG, NOW, 60.0)
    (batch,) = ingest_claimed(storage, CONFIG, None, NOW).batches
    assert (batch.kind, batch.rows) == ("items", 1)
    assert list(claimed(storage)) == [batch.partition]


def test_an_empty_file_of_engagements_lands_nothing(tmp_path: Path) -> None:
    assert land(storage_in(tmp_path), [source(tmp_path, "a.csv", csv())], "day", NOW).files == ()
