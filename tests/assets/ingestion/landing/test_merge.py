"""Landed batches and removals in ingestion."""

from pathlib import Path

import pyarrow as pa
import pytest

from assets.config import Settings
from assets.ingestion.errors import IngestionError
from assets.ingestion.ingest import IngestionReport, ingest
from assets.ingestion.landing.claims import claim
from assets.ingestion.landing.intake import ingest_claimed
from assets.ingestion.landing.merge import without_removed
from assets.ingestion.landing.removed import Removed, add_removed, read_removed, removed_path
from assets.ingestion.tables import RawTables, interactions_table, items_table, users_table
from assets.storage import Storage, write_json
from tests.assets.ingestion.landing.drops import CONFIG, SECOND, csv, drop
from tests.assets.ingestion.layouts import NOW as TODAY
from tests.assets.ingestion.layouts import write

NOW = int(TODAY.timestamp() * SECOND)
SOURCE = {
    "interactions.csv": csv(("u1", "a", "2020-01-01"), ("u2", "b", "2020-01-02"), ("u1", "b", "2020-01-03")),
    "items.csv": "item_id,title,created_at,genre\na,A,2019-05-01,x\nb,B,,y|z\nidle,I,,\n",
    "users.csv": "user_id,city\nu1,oslo\nu2,rome\n",
}


def settings(root: Path) -> Settings:
    write(root / "local" / "files", SOURCE)
    return Settings(dataset="files", home=root, data_dir=root / "local")


def run(chosen: Settings) -> IngestionReport:
    return ingest(chosen, chosen.storage, TODAY)


def land(storage: Storage, name: str, content: str, kind: str = "engagements", at: int = NOW) -> None:
    drop(storage, name, content, kind, now=at)
    claim(storage, CONFIG, at, 60.0)
    assert not ingest_claimed(storage, CONFIG, None, at).refused


def rows(storage: Storage, table: str, *columns: str) -> list[tuple]:
    return list(storage.read_raw(table)[list(columns)].itertuples(index=False, name=None))


def test_nothing_landed_changes_nothing(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    before = run(chosen)
    content = {path: path.read_bytes() for path in chosen.storage.raw.iterdir()}
    (chosen.storage.live / "landed" / "engagements" / "2020-01-01").mkdir(parents=True)
    write_json(removed_path(chosen.storage), {"users": [], "items": []})
    assert run(chosen) == before
    assert {path: path.read_bytes() for path in chosen.storage.raw.iterdir()} == content
    assert (before.landed, before.removed) == ({}, {})


def test_landed_engagements_come_behind_and_repetitions_of_the_source_are_dropped(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    land(chosen.storage, "b.csv", csv(("u3", "new", "2020-01-05"), ("u1", "a", "2020-01-01")))
    land(chosen.storage, "a.csv", csv(("u1", "a", "2020-01-04"), ("u3", "new", "2020-01-05")), at=NOW + SECOND)
    report = run(chosen)
    assert rows(chosen.storage, "interactions", "user_id", "item_id")[3:] == [("u1", "a"), ("u3", "new")]
    assert report.rows["interactions"] == 5
    assert report.duplicates["interactions"] == 2
    assert report.landed == {"landed engagements": 4}
    source_rows = [row for (row,) in rows(chosen.storage, "interactions", "source_row")]
    assert source_rows[:3] == [2, 3, 4], "the source's own row is the one that stays"
    assert len(set(source_rows)) == 5


def test_the_order_of_arrival_does_not_matter(tmp_path: Path) -> None:
    files = {
        "a.csv": csv(("u1", "a", "2020-01-04"), ("u3", "c", "2020-01-04")),
        "b.csv": csv(("u2", "c", "2020-01-04")),
    }
    versions = set()
    for order in (("a.csv", "b.csv"), ("b.csv", "a.csv")):
        chosen = settings(tmp_path / order[0])
        for at, name in enumerate(order):
            land(chosen.storage, name, files[name], at=NOW + at * SECOND)
        versions.add(run(chosen).data_version)
    assert len(versions) == 1


def test_of_an_item_what_landed_last_counts_and_its_earliest_creation(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    storage = chosen.storage
    land(storage, "1.csv", "item_id,title,created_at,mood\nb,B2,2018-01-01,calm\nnew,N,2020-06-01,\n", "items")
    land(storage, "2.csv", "item_id,title,genre\na,A2,w\nb,B3,\n", "items", at=NOW + SECOND)
    report = run(chosen)
    table = storage.read_raw("items").set_index("item_id")
    assert list(table.index) == ["a", "b", "idle", "new"]
    assert list(table["title"]) == ["A2", "B3", "I", "N"]
    assert [str(instant)[:10] for instant in table["created_at"]] == ["2019-05-01", "2018-01-01", "NaT", "2020-06-01"]
    assert [list(values) for values in table["genre"]] == [["w"], [], [], []]
    assert [list(values) for values in table["mood"]] == [[], [], [], []]
    assert report.landed == {"landed items": 4}
    assert report.rows["items"] == 4


def test_a_replay_adds_nothing(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    before = run(chosen).data_version
    land(chosen.storage, "a.csv", csv(("u3", "new", "2020-01-05")))
    write_json(chosen.storage.live / "replay.json", {})
    assert run(chosen).data_version == before


def test_removed_users_and_items_are_left_out_of_everything(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    land(
        chosen.storage,
        "a.csv",
        csv(("u1", "new", "2020-01-05"), ("u2", "a", "2020-01-05"), ("u3", "new", "2020-01-06")),
    )
    add_removed(chosen.storage, users=["u1"], items=["a"])
    report = run(chosen)
    assert rows(chosen.storage, "interactions", "user_id", "item_id") == [("u2", "b"), ("u3", "new")]
    assert rows(chosen.storage, "items", "item_id") == [("b",), ("idle",)]
    assert rows(chosen.storage, "users", "user_id") == [("u2",)]
    assert report.removed == {"interactions": 4, "items": 1, "users": 1}


def test_when_nothing_is_left(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    add_removed(chosen.storage, users=["u1", "u2"])
    with pytest.raises(IngestionError, match="nothing is left"):
        run(chosen)


def test_removed_ids_add_up_and_are_written_once(tmp_path: Path) -> None:
    storage = Storage(tmp_path, "toy")
    assert read_removed(storage) == Removed()
    add_removed(storage, users=["b", "a"])
    both = add_removed(storage, users=["a"], items=["x"])
    assert both == read_removed(storage) == Removed(frozenset({"a", "b"}), frozenset({"x"}))
    before = removed_path(storage).stat().st_ino
    add_removed(storage, users=["a"])
    assert removed_path(storage).stat().st_ino == before


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"users": 3, "items": []}', '{"users": []}'])
def test_a_damaged_list_of_removals_is_an_error(tmp_path: Path, content: str) -> None:
    storage = Storage(tmp_path, "toy")
    removed_path(storage).parent.mkdir(parents=True)
    removed_path(storage).write_text(content)
    with pytest.raises(ValueError, match=r"removed\.json: expected"):
        read_removed(storage)


def test_removal_looks_at_whole_ids(tmp_path: Path) -> None:
    ids, other = pa.array(["u1", "u11", "U1"]), pa.array(["i", "i", "i"])
    times = pa.array([1, 2, 3], pa.timestamp("us"))
    raw = RawTables(
        interactions_table(
            {
                "user_id": ids,
                "item_id": other,
                "timestamp": times,
                "event_type": other,
                "source_row": pa.array([1, 2, 3]),
            }
        ),
        items_table(pa.array(["i"])),
        users_table(ids),
    )
    kept, counts = without_removed(raw, Removed(frozenset({"u1"})))
    assert kept.users["user_id"].to_pylist() == ["u11", "U1"]
    assert counts == {"interactions": 1, "items": 0, "users": 1}
