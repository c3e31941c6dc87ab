"""Traps in the drop zone: refused with their reason, the files behind them read, nothing outside touched."""

import os
import pickle
import signal
import time
from pathlib import Path
from threading import Thread

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.config import LimitsConfig
from assets.ingestion.landing.batches import batch_paths
from assets.ingestion.landing.claims import claim, claimed
from assets.ingestion.landing.intake import Intake, ingest_claimed
from assets.ingestion.landing.marks import DEATHS
from assets.ingestion.landing.places import landed_folder, quarantine_folder
from assets.ingestion.limits import within
from assets.storage import Storage
from tests.assets.ingestion.landing.drops import CONFIG, NOW, day, drop, storage_in, written

BOMB = 128 << 20


def taken(storage: Storage) -> tuple[dict[str, str], Intake]:
    claims = claim(storage, CONFIG, NOW, 60.0)
    return claims.quarantined, ingest_claimed(storage, CONFIG, None, NOW)


def reasons(storage: Storage) -> str:
    return "\n".join(path.read_text() for path in quarantine_folder(storage).glob("*.reason.txt"))


def test_a_link_is_refused_unread_and_the_next_file_is_taken(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    secret = tmp_path / "secret.csv"
    secret.write_text("password\nhunter2\n")
    drop(storage, "good.csv", day(1))
    (storage.landing / "engagements" / "a.csv").symlink_to(secret)
    (storage.landing / "engagements" / "b.parquet").symlink_to("/dev/zero")
    quarantined, intake = taken(storage)
    assert set(quarantined) == {"a.csv"}  # a link to a device is no file and is passed over
    assert [batch.source for batch in intake.batches] == ["good.csv"]
    assert "a.csv: is a link; land the file itself" in reasons(storage)
    assert "hunter2" not in reasons(storage)
    assert secret.read_text() == "password\nhunter2\n"


def test_a_link_that_takes_a_claimed_files_place_is_refused(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    drop(storage, "a.csv", day(1))
    claim(storage, CONFIG, NOW, 60.0)
    ((file,),) = claimed(storage).values()
    (tmp_path / "other.csv").write_text(day(2))
    file.path.unlink()
    file.path.symlink_to(tmp_path / "other.csv")
    intake = ingest_claimed(storage, CONFIG, None, NOW)
    assert (len(intake.batches), list(intake.refused)) == (0, ["a.csv"])


def test_a_vast_file_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    path = drop(storage, "a.csv", day(1))
    with path.open("r+b") as handle:
        handle.truncate(5 << 30)
    written(path, 60)
    drop(storage, "good.csv", day(1))
    quarantined, intake = taken(storage)
    assert "limits.landed_bytes allows" in quarantined["a.csv"]
    assert [batch.source for batch in intake.batches] == ["good.csv"]


@pytest.mark.parametrize("column", ["timestamp", "user_id"])
def test_a_dictionary_bomb_ends_neither_the_sensor_nor_the_run(tmp_path: Path, column: str) -> None:
    """The sensor's look reads timestamps alone, the run reads all."""
    storage, rows = storage_in(tmp_path), 20_000
    table = {name: pa.array(["2024-05-01T00:00:00Z"] * rows) for name in ("user_id", "item_id", "timestamp")}
    table[column] = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(["1" * 1_000_000]))
    drop(storage, "a.parquet", b"")
    path = storage.landing / "engagements" / "a.parquet"
    pq.write_table(pa.table(table), path, compression="zstd", store_schema=False)
    written(path, 60)
    quarantined, intake = taken(storage)
    assert path.name in (quarantined if column == "timestamp" else intake.refused)
    assert "limits.table_bytes allows" in reasons(storage)
    assert intake.batches == []


def test_a_page_that_fills_the_memory_of_the_look_is_taken_away(tmp_path: Path) -> None:
    """A footer does not tell what one page of a column unpacks to; here a process of more than so much is killed."""
    storage = storage_in(tmp_path)
    path = drop(storage, "a.parquet", b"")
    table = pa.table({"user_id": ["u"], "item_id": ["i"], "timestamp": pa.array(["2" * BOMB])})
    pq.write_table(table, path, compression="zstd", use_dictionary=False, write_statistics=False)
    written(path, 90)
    del table
    pa.default_memory_pool().release_unused()  # else a look would find room in what this process keeps
    drop(storage, "good.csv", day(1))
    for _ in range(DEATHS):
        assert _ends_at(storage, BOMB // 2) == -signal.SIGKILL
    quarantined, intake = taken(storage)
    assert "3 processes ended while they read this file" in quarantined["a.parquet"]
    assert [batch.source for batch in intake.batches] == ["good.csv"]


def _ends_at(storage: Storage, more: int) -> int:
    """How a look ends in a process that may hold ``more`` bytes more than at its start, as in a container."""
    process = os.fork()
    if process == 0:
        most = _resident() + more
        Thread(target=_kill_above, args=(most,), daemon=True).start()
        claim(storage, CONFIG, NOW, 60.0)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def _kill_above(most: int) -> None:
    while _resident() < most:
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGKILL)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_the_limits_of_the_settings_count(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    drop(storage, "a.csv", day(1))
    with within(LimitsConfig(landed_bytes=10)):
        quarantined, _ = taken(storage)
    assert "limits.landed_bytes allows 10" in quarantined["a.csv"]


def test_a_pickle_under_a_known_name_is_refused(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    drop(storage, "a.parquet", pickle.dumps({"user_id": [1]}) + b"PAR1")
    drop(storage, "b.npy", b"\x93NUMPY")
    quarantined, intake = taken(storage)
    assert set(quarantined) == {"a.parquet", "b.npy"}
    assert intake.batches == []


@pytest.mark.parametrize(
    "name", ["x..%2f..%2fy.csv", "a\nb.csv", "-rf.csv", "$(touch run).csv", "'; drop table x;--.csv"]
)
def test_a_name_is_only_a_name(tmp_path: Path, name: str) -> None:
    storage = storage_in(tmp_path)
    drop(storage, name, day(1))
    before = {path for path in tmp_path.rglob("*") if not path.is_relative_to(storage.base)}
    _, intake = taken(storage)
    assert len(intake.batches) == 1
    assert {path for path in tmp_path.rglob("*") if not path.is_relative_to(storage.base)} == before
    assert not os.path.lexists("run")


@pytest.mark.parametrize("partition", ["../../outside", "..", "2024-05-01/../../../outside", "/tmp"])
def test_a_partition_cannot_be_a_path(tmp_path: Path, partition: str) -> None:
    storage = storage_in(tmp_path)
    drop(storage, "a.csv", day(1))
    _, intake = taken(storage)
    root = landed_folder(storage, "engagements")
    outside = root.parent.parent / "outside"
    outside.mkdir()
    intake.batches[0].path.rename(outside / intake.batches[0].path.name)
    assert batch_paths(storage, "engagements", [partition]) == []
    assert ingest_claimed(storage, CONFIG, [partition], NOW).batches == []
