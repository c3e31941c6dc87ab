"""Atomic writes: the old file or the new one, and no leftovers of the dead."""

import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from assets import storage as storage_module
from assets.storage import (
    FOREIGN_SECONDS,
    Storage,
    atomic_path,
    encodable,
    file_digest,
    partial_of,
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


@pytest.mark.parametrize("name", ["a**b.txt", "a[1].txt", "?.txt", "[.txt", "a.b[c].txt", os.fsdecode(b"\xff.txt")])
def test_a_name_that_means_something_in_a_pattern_is_a_name(tmp_path: Path, name: str) -> None:
    path, other = tmp_path / name, tmp_path / f"a1.partial-{dead_pid()}-0.txt"
    dead = path.with_name(f"{path.stem}.partial-{dead_pid()}-0{path.suffix}")
    dead.touch()
    other.touch()
    assert write_text(path, "new").read_text() == "new"
    assert names(tmp_path) == sorted([name, other.name])


@pytest.mark.parametrize("pid", ["99999999999999999999", "\u00b2", ""])
def test_a_leftover_of_what_is_no_process_is_removed(tmp_path: Path, pid: str) -> None:
    (tmp_path / f"a.partial-{pid}-0123abcd.txt").touch()
    write_text(tmp_path / "a.txt", "new")
    assert names(tmp_path) == ["a.txt"]


KILLED = """
import os, sys
from pathlib import Path
from assets.storage import atomic_path
with atomic_path(Path(sys.argv[1])) as temporary:
    temporary.touch()
    os._exit(9)
"""


def test_what_a_killed_process_leaves_is_removed_by_the_next_writer(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    assert subprocess.run([sys.executable, "-c", KILLED, path], check=False, cwd=Path.cwd()).returncode == 9
    assert [name.startswith("a.partial-") for name in names(tmp_path)] == [True]
    write_text(path, "new")
    assert names(tmp_path) == ["a.txt"]


def elsewhere(monkeypatch: pytest.MonkeyPatch, root: Path, pid: int) -> None:
    """Another machine: its own boot, its own process ids."""
    (root / "boot_id").write_text("another\n")
    monkeypatch.setattr(storage_module, "_BOOT", root / "boot_id", raising=False)
    monkeypatch.setattr(os, "getpid", lambda: pid)


def test_a_writer_on_another_machine_keeps_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process cannot be asked whether it lives: the same number is nobody here."""
    path = tmp_path / "shared" / "page.html"
    with ExitStack() as slow:
        with monkeypatch.context() as there:
            elsewhere(there, tmp_path, dead_pid())
            temporary = slow.enter_context(atomic_path(path))
        temporary.write_text("slow")
        write_text(path, "quick")
        assert path.read_text() == "quick"
        assert temporary.exists()
    assert path.read_text() == "slow"
    assert names(path.parent) == ["page.html"]


def test_what_another_machine_left_goes_when_it_is_a_day_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "shared" / "page.html"
    path.parent.mkdir()
    with monkeypatch.context() as there:
        elsewhere(there, tmp_path, os.getpid())  # a number that lives here
        young, old = partial_of(path), partial_of(path)
    for leftover, age in ((young, FOREIGN_SECONDS - 600), (old, FOREIGN_SECONDS + 600)):
        leftover.touch()
        os.utime(leftover, (time.time() - age,) * 2)
    write_text(path, "new")
    assert names(path.parent) == sorted(["page.html", young.name])


def test_where_nothing_tells_of_processes_the_hosts_name_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_BOOT", "_PROCESSES"):
        monkeypatch.setattr(storage_module, name, tmp_path / "nothing")
    path = tmp_path / "page.html"
    mine = partial_of(path)
    mine.touch()
    write_text(path, "new")
    assert names(tmp_path) == sorted(["page.html", mine.name])
    monkeypatch.setattr("socket.gethostname", lambda: "another")
    assert partial_of(path).name.split("-")[2] != mine.name.split("-")[2]


def test_a_name_that_is_no_text_can_be_told() -> None:
    assert encodable(os.fsdecode(b"bad\xff.csv")) == "bad\ufffd.csv"
    assert encodable("\ud800 \U0001f600 é") == "\ufffd \U0001f600 é"


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
