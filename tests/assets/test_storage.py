"""Atomic writes: the old file or the new one, and no leftovers of the dead."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from assets.storage import (
    Storage,
    atomic_path,
    file_digest,
    read_parquet,
    write_bytes,
    write_json,
    write_parquet,
    write_text,
)


class WriterFailedError(Exception):
    pass


def write_half(path: Path) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text("half of the n")
        raise WriterFailedError


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_writer_that_raises_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = write_text(tmp_path / "folder" / "page.html", "old")
    with pytest.raises(WriterFailedError):
        write_half(path)
    assert path.read_text() == "old"
    assert names(path.parent) == ["page.html"]


def test_a_writer_that_writes_nothing_is_an_error_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = write_text(tmp_path / "page.html", "old")
    with pytest.raises(FileNotFoundError), atomic_path(path):
        pass
    assert path.read_text() == "old"


def test_readers_see_the_old_file_until_the_block_ends(tmp_path: Path) -> None:
    path = write_text(tmp_path / "table.csv", "old")
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert temporary.suffix == ".csv"
        assert temporary.parent == path.parent
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["table.csv"]


def test_leftovers_of_dead_writers_are_removed_and_those_of_the_living_kept(tmp_path: Path) -> None:
    dead = tmp_path / f"items.partial-{dead_pid()}-0123abcd.parquet"
    nameless = tmp_path / "items.partial-.parquet"
    alive = tmp_path / f"items.partial-{os.getpid()}-0123abcd.parquet"
    others = [tmp_path / f"users.partial-{dead_pid()}-0.parquet", tmp_path / f"items.partial-{dead_pid()}-0.json"]
    for leftover in (dead, nameless, alive, *others):
        leftover.write_text("half")
    write_parquet(tmp_path / "items.parquet", pd.DataFrame({"a": [1]}))
    assert names(tmp_path) == sorted(["items.parquet", alive.name, *(file.name for file in others)])


def test_two_writers_of_one_path_do_not_disturb_each_other(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    with atomic_path(path) as first, atomic_path(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"  # the outer block ends last
    assert names(tmp_path) == ["page.html"]


@pytest.mark.parametrize("frame", [pd.DataFrame({"a": [1, 2], "b": [["x"], []]}), pa.table({"a": [1, 2]})])
def test_parquet_comes_back_as_written(frame: pd.DataFrame | pa.Table, tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "year=2020" / "table.parquet", frame)  # not a Hive partition
    assert list(read_parquet(path).columns) == (["a", "b"] if isinstance(frame, pd.DataFrame) else ["a"])
    assert read_parquet(path, ["a"])["a"].tolist() == [1, 2]


def test_a_frames_index_is_not_written(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "t.parquet", pd.DataFrame({"a": [1, 2]}, index=[7, 8]))
    assert read_parquet(path).index.tolist() == [0, 1]


def test_a_missing_table_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"items\.parquet does not exist: materialize the asset"):
        Storage(tmp_path, "toy").read_table("items")


def test_json_of_equal_content_has_equal_bytes(tmp_path: Path) -> None:
    first = write_json(tmp_path / "a.json", {"b": "ø", "a": 1})
    second = write_json(tmp_path / "b.json", {"a": 1, "b": "ø"})
    assert first.read_bytes() == second.read_bytes() == '{\n  "a": 1,\n  "b": "ø"\n}\n'.encode()
    assert file_digest(first) == file_digest(second)


def test_a_digest_is_sha256_of_the_content(tmp_path: Path) -> None:
    path = write_bytes(tmp_path / "abc", b"abc")
    assert file_digest(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_everything_of_a_dataset_lies_in_its_folder(tmp_path: Path) -> None:
    storage = Storage(tmp_path, "toy")
    places = [
        storage.raw,
        storage.warehouse,
        storage.tables,
        storage.quality,
        storage.evaluation,
        storage.metrics,
        storage.live,
        storage.landing,
        storage.dashboards,
        storage.checkpoint("sasrec", 1),
        storage.checkpoint("sasrec", 2),
        storage.checkpoint("two_tower", 1),
        storage.raw_table("items"),
        storage.table("items"),
    ]
    assert len(set(places)) == len(places)
    assert all(place.is_relative_to(tmp_path / "toy") for place in places)
