"""Claimed files to landed batches: each once, one file's fault is its own, a kill anywhere changes nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from assets.config import PROJECT_ROOT, FreshnessConfig
from assets.ingestion.landing import intake as intake_module
from assets.ingestion.landing.batches import batch_paths, landed_batches, read_batch, read_info, short_digest
from assets.ingestion.landing.claims import claim, claimed
from assets.ingestion.landing.intake import Intake, finish_applied, ingest_claimed, refuse_batch
from assets.ingestion.landing.marks import DEATHS
from assets.storage import Storage
from tests.assets.ingestion.landing.drops import CONFIG, HEADER, NOW, SECOND, csv, day, drop, storage_in, tree


def take_in(storage: Storage, now: int = NOW, partitions: list[str] | None = None, config=CONFIG) -> Intake:
    claim(storage, config, now, 60.0)
    return ingest_claimed(storage, config, partitions, now)


def test_a_batch_tells_its_story(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    drop(storage, "a.csv", day(3), age=60)
    (batch,) = take_in(storage).batches
    assert (batch.kind, batch.partition, batch.source) == ("engagements", "2024-05-03", "a.csv")
    assert (batch.rows, batch.rejected) == (2, 0)
    assert (batch.landed_at, batch.seen_at) == (NOW - 60 * SECOND, NOW)
    assert batch.last_event - batch.first_event == 3600 * SECOND
    assert batch.path.name == f"{batch.digest[:16]}.parquet"
    assert landed_batches(storage, "engagements") == [batch]
    assert read_batch(batch.path)["user_id"].to_pylist() == ["u1", "u2"]
    assert read_batch(batch.path).schema.metadata is None


def test_only_the_partitions_asked_for_and_so_many_files(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    for number in range(1, 6):
        drop(storage, f"{number}.csv", day(number), age=90 - number)
    few = take_in(
        storage, partitions=["2024-05-02", "2024-05-04", "2024-05-05"], config=FreshnessConfig(files_per_run=2)
    )
    assert [batch.partition for batch in few.batches] == ["2024-05-02", "2024-05-04"]
    assert [batch.partition for batch in landed_batches(storage, "engagements", ["2024-05-04", "2024-05-05"])] == [
        "2024-05-04"
    ]


def test_an_empty_file_is_a_batch_without_rows(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    drop(storage, "a.csv", HEADER)
    (batch,) = take_in(storage).batches
    assert (batch.rows, batch.first_event, batch.last_event) == (0, None, None)
    assert landed_batches(storage, "engagements") == [batch]


def test_rows_set_aside_are_kept_beside_the_quarantine(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    drop(storage, "a.csv", day(3) + "u,i,soon\n")
    (batch,) = take_in(storage, config=FreshnessConfig(max_quarantine_share=0.5)).batches
    assert (batch.rows, batch.rejected) == (2, 1)
    (rows,) = (storage.landing / "quarantine").glob("*--a.csv.rows.parquet")
    assert read_batch(rows)["reason"].to_pylist() == ["unparsable_timestamp"]


@pytest.mark.parametrize("name", ["a**b.csv", "a[1].csv", os.fsdecode(b"\xff.csv")])
def test_rows_set_aside_of_a_file_of_any_name(tmp_path: Path, name: str) -> None:
    storage = storage_in(tmp_path)
    drop(storage, name, day(3) + "u,i,soon\n", age=90)
    drop(storage, "good.csv", day(4), age=80)
    found = take_in(storage, config=FreshnessConfig(max_quarantine_share=0.5))
    assert [(batch.rows, batch.rejected) for batch in found.batches] == [(2, 1), (2, 0)]
    assert len(tree(storage.landing / "quarantine")) == 1


def test_a_bad_file_is_refused_and_the_others_land(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    drop(storage, "bad.csv", csv(("u", "i", "2024-05-03"), ("u", "i", "soon")), age=90)
    drop(storage, "good.csv", day(3), age=80)
    drop(storage, "items.csv", "item_id,slice\nx,y\n", "items", age=70)
    found = take_in(storage)
    assert [batch.source for batch in found.batches] == ["good.csv"]
    assert sorted(found.refused) == ["bad.csv", "items.csv"]
    assert all(reason.startswith(f"{name}: ") for name, reason in found.refused.items())  # not the claimed file's name
    assert len(tree(storage.landing / "quarantine")) == 4
    assert [file.name for files in claimed(storage).values() for file in files] == ["good.csv"]


def test_what_a_library_raises_is_the_files_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = storage_in(tmp_path)
    drop(storage, "strange.csv", day(3), age=90)
    drop(storage, "good.csv", day(3, ("u3",)), age=80)
    original = intake_module.read_engagements

    def fail(path: Path, *rest: object):
        if "strange" in path.name:
            raise TypeError("strange content")
        return original(path, *rest)

    monkeypatch.setattr(intake_module, "read_engagements", fail)
    found = take_in(storage)
    assert found.refused == {"strange.csv": "strange.csv: reading it failed with TypeError: strange content"}
    assert len(found.batches) == 1


def test_a_file_that_another_run_moved_away_is_nobodys_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = storage_in(tmp_path)
    drop(storage, "a.csv", day(3))
    original = intake_module.read_engagements

    def late(path: Path, *rest: object):
        path.unlink()
        return original(path, *rest)

    monkeypatch.setattr(intake_module, "read_engagements", late)
    assert take_in(storage) == Intake()
    assert not (storage.landing / "quarantine").exists()


@pytest.mark.parametrize("error", [MemoryError, OSError])
def test_what_the_machine_lacks_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type) -> None:
    storage = storage_in(tmp_path)
    drop(storage, "a.csv", day(3))

    def fail(*_: object):
        raise error("none left")

    monkeypatch.setattr(intake_module, "read_engagements", fail)
    with pytest.raises(error):
        take_in(storage)
    assert len(claimed(storage)["2024-05-03"]) == 1


def test_a_file_that_ends_every_process_is_refused_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = storage_in(tmp_path)
    drop(storage, "deadly.csv", day(3), age=90)
    drop(storage, "good.csv", day(3, ("u3",)), age=80)
    for _ in range(DEATHS):
        process = os.fork()
        if process == 0:
            monkeypatch.setattr(intake_module, "_read", lambda *_: os._exit(9))
            take_in(storage)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 9
    found = take_in(storage)
    assert "3 processes ended while they read this file" in found.refused["deadly.csv"]
    assert [batch.source for batch in found.batches] == ["good.csv"]
    assert not list((storage.landing / "reading").iterdir())


def test_landing_again_changes_nothing(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    drop(storage, "a.csv", day(3))
    first = take_in(storage).batches
    before = first[0].path.stat()
    assert take_in(storage).batches == first
    assert first[0].path.stat().st_ino == before.st_ino
    drop(storage, "copy.csv", day(3))
    again = take_in(storage, NOW + SECOND).batches
    assert [batch.source for batch in again] == ["a.csv", "a.csv"], "one content is one batch"
    assert len(batch_paths(storage, "engagements")) == 1


def test_item_files_are_ordered_by_arrival_even_with_one_content(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    for at, title in enumerate(["One", "Two", "One"]):
        drop(storage, "items.csv", f"item_id,title\nx,{title}\n", "items")
        take_in(storage, NOW + at * SECOND)
    titles = [read_batch(batch.path)["title"].to_pylist() for batch in landed_batches(storage, "items")]
    assert titles == [["One"], ["Two"], ["One"]]


def test_files_leave_when_their_content_was_applied(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    for number in (1, 2):
        drop(storage, f"{number}.csv", day(number))
    drop(storage, "items.csv", "item_id\nx\n", "items")
    batches = take_in(storage).batches
    known = {batch.digest for batch in batches if batch.source != "1.csv"}
    done = finish_applied(storage, None, lambda digests: known & set(digests))
    assert sorted(file.name for file in done) == ["2.csv", "items.csv"]
    assert list(claimed(storage)) == ["2024-05-01"]
    assert len(tree(storage.landing / "done")) == 2
    folders = [path.name for path in (storage.landing / "claimed").iterdir()]
    assert folders == ["2024-05-01"], "an empty folder is looked at for ever"


def test_a_file_that_grew_after_it_was_read_is_read_again(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    drop(storage, "a.csv", day(3))
    (batch,) = take_in(storage).batches
    (file,) = claimed(storage)["2024-05-03"]
    with file.path.open("a") as handle:
        handle.write("u9,i9,2024-05-03\n")
    assert finish_applied(storage, None, lambda digests: {batch.digest} & set(digests)) == []
    (longer,) = take_in(storage).batches
    assert longer.rows == 3


def test_a_batch_that_cannot_be_applied_goes_to_the_quarantine_with_its_file(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    drop(storage, "a.csv", day(3))
    (batch,) = take_in(storage).batches
    refuse_batch(storage, batch, "because")
    assert landed_batches(storage, "engagements") == []
    assert claimed(storage) == {}
    names = tree(storage.landing / "quarantine")
    assert len(names) == 4
    assert sum(name.endswith(".reason.txt") for name in names) == 2


def test_a_foreign_parquet_file_among_the_batches_is_named(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    drop(storage, "a.csv", day(3))
    (batch,) = take_in(storage).batches
    batch.path.write_bytes(b"no parquet")
    with pytest.raises(ValueError, match=rf"{batch.path.name}: not a landed batch"):
        landed_batches(storage, "engagements")
    with pytest.raises(ValueError, match="not a landed batch"):
        read_info(batch.path)


def test_temporary_files_are_no_batches(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    drop(storage, "a.csv", day(3))
    (batch,) = take_in(storage).batches
    batch.path.with_name(f"{batch.path.stem}.partial-1-ab.parquet").write_bytes(b"")
    assert landed_batches(storage, "engagements") == [batch]
    assert short_digest(batch.path) == batch.digest[:16]


def test_source_rows_are_those_of_the_content(tmp_path: Path) -> None:
    """The order of equal timestamps is the same whichever file, and whichever order of files, a row came in."""
    storage = storage_in(tmp_path)
    rows = [("u", f"i{at}", "2024-05-03") for at in range(6)]
    drop(storage, "a.csv", csv(*rows))
    drop(storage, "b.csv", csv(*rows[3:], *rows[:3]))
    tables = [read_batch(batch.path) for batch in take_in(storage).batches]
    found = [dict(zip(table["item_id"].to_pylist(), table["source_row"].to_pylist(), strict=True)) for table in tables]
    assert found[0] == found[1]
    assert len(set(found[0].values())) == 6
    assert all(table.schema.field("source_row").type == pa.int64() for table in tables)


KILLED = """
import os, sys
from pathlib import Path
from assets.config import FreshnessConfig
from assets.ingestion.landing.claims import claim
from assets.ingestion.landing.batches import landed_batches
from assets.ingestion.landing.intake import finish_applied, ingest_claimed
from tests.assets.ingestion.landing.drops import NOW, SECOND, csv, day, drop, storage_in, tree

CONFIG = FreshnessConfig(max_quarantine_share=0.4)

def prepare(root):
    storage = storage_in(root)
    drop(storage, "a.csv", day(1), age=90)
    drop(storage, "rows.csv", day(2) + "u,i,soon\\n", age=80)
    drop(storage, "bad.csv", csv(("u", "i", "soon")), age=70)
    drop(storage, "worse.txt", "", age=60)
    drop(storage, "items.csv", "item_id,title\\nx,y\\n", "items", age=50)
    return storage

def work(storage, now):
    claim(storage, CONFIG, now, 60.0)
    ingest_claimed(storage, CONFIG, None, now)
    known = {batch.digest for kind in ("engagements", "items") for batch in landed_batches(storage, kind)}
    finish_applied(storage, None, lambda digests: known & set(digests))

def child(action):
    process = os.fork()
    if process == 0:
        action()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])

def killed_at(storage, step):
    left = [step]
    def dying(original):
        def move(self, target):
            if left[0] == 0:
                os._exit(9)
            left[0] -= 1
            return original(self, target)
        return move
    Path.rename, Path.replace = dying(Path.rename), dying(Path.replace)
    work(storage, NOW)

def outcome(storage):
    # Stamps say when a file was seen, which a kill may put off; of a write that was killed a partial file may be left.
    names = [name for name in tree(storage.landing) if ".partial-" not in name and name != "claim.stamp"]
    unstamped = [name.split("--", 1)[-1] if "--" in name else name for name in names]
    landed = [name for name in tree(storage.live) if "items" not in name]
    return sorted(unstamped), landed, len(tree(storage.live))

root = Path(sys.argv[1])
calm = prepare(root / "calm")
assert child(lambda: work(calm, NOW)) == 0
steps = 0
while True:
    storage = prepare(root / str(steps))
    code = child(lambda: killed_at(storage, steps))
    assert child(lambda: work(storage, NOW + SECOND)) == 0
    found, expected = outcome(storage), outcome(calm)
    extra = [name for name in found[0] if name not in expected[0]]
    assert found[1:] == expected[1:], (steps, found, expected)
    assert set(expected[0]) == set(found[0]), (steps, extra, found, expected)
    doubled = [name for name in found[0] if not name.endswith(".reason.txt")]
    assert len(doubled) == len(set(doubled)), (steps, doubled)
    if code == 0:
        break
    assert code == 9
    steps += 1
print(steps)
"""


def test_a_kill_between_any_two_renames_changes_nothing(tmp_path: Path) -> None:
    """Files are renamed when claimed, written, refused or finished: the process dies before each of these."""
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 12
