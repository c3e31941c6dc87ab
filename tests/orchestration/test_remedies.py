"""Troubles of the machine are told with a way out; troubles of the data are not."""

import errno
import io
import os
import sqlite3
from pathlib import Path

import pytest
from rich.console import Console
from sqlalchemy.exc import OperationalError

from assets.config import Settings
from orchestration.remedies import TROUBLE, explain, remedy
from orchestration.runner import Outcome
from orchestration.summary import print_failure


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(dataset="toy", home=tmp_path)


@pytest.mark.parametrize(
    ("message", "way"),
    [
        (str(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a.parquet")), "Free space where"),
        ("IO Error: Could not write file: No space left on device", "Free space where"),
        (str(OSError(errno.EROFS, os.strerror(errno.EROFS), "a.parquet")), "Make it writable"),
        (str(OSError(errno.EACCES, os.strerror(errno.EACCES), "a.parquet")), "Make it writable"),
        ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes", "smaller batch_size"),
        ("s/store: the store cannot be opened (s/store: Cannot allocate memory): `thaw run`", "ulimit -v unlimited"),
        ("Unable to allocate 3.7 GiB for an array", "smaller batch_size"),
        ('IO Error: Could not set lock on file "w.duckdb": Conflicting lock is held', "Another process holds"),
        ("(sqlite3.DatabaseError) database disk image is malformed", "Move"),
        ("(sqlite3.OperationalError) disk I/O error", "Free space where"),
    ],
)
def test_what_to_do(settings: Settings, message: str, way: str) -> None:
    assert way in (remedy(message, settings) or "")


@pytest.mark.parametrize("message", ["column item_id is missing", "check failed", "", "3 of 4 rows are not valid"])
def test_troubles_of_the_data_speak_for_themselves(settings: Settings, message: str) -> None:
    assert remedy(message, settings) is None


def test_dagsters_own_database_on_a_full_disk(settings: Settings) -> None:
    error = OperationalError("insert", {}, sqlite3.OperationalError("database or disk is full"))
    assert isinstance(error, TROUBLE)
    said = explain(error, settings)
    assert "database or disk is full" in said
    assert str(settings.home) in said


def test_a_failed_step_is_told_with_its_way_out(settings: Settings) -> None:
    console = Console(file=io.StringIO(), width=200)
    failed = {"training__sasrec": "OSError: [Errno 28] No space left on device: 'weights'", "ingest": "no such column"}
    print_failure(settings, Outcome("run", False, frozenset(), failed, []), console)
    assert console.file.getvalue().count("What to do") == 1  # type: ignore[attr-defined]
