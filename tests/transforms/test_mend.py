"""A warehouse that cannot be opened is made anew; one that is open elsewhere is waited for."""

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from assets.storage import Storage
from assets.transforms.mend import make_usable
from assets.transforms.stamp import WarehouseError

HOLD = "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    made = Storage(tmp_path, "toy")
    made.base.mkdir()
    with duckdb.connect(made.warehouse) as connection:
        connection.execute("create table numbers as select * from range(100000)")
    made.warehouse.with_suffix(".json").write_text("{}")
    return made


def test_a_whole_warehouse_is_left_alone(storage: Storage) -> None:
    before = storage.warehouse.read_bytes()
    assert make_usable(storage) is None
    assert storage.warehouse.read_bytes() == before
    assert storage.warehouse.with_suffix(".json").exists()


@pytest.mark.parametrize("content", [b"not what it was\n" * 600, None], ids=["other content", "cut short"])
def test_a_damaged_one_is_removed_with_its_stamp(storage: Storage, content: bytes | None) -> None:
    whole = storage.warehouse.read_bytes()
    storage.warehouse.write_bytes(content or whole[: len(whole) // 2])
    assert "is made anew" in (make_usable(storage) or "")
    assert not storage.warehouse.exists()
    assert not storage.warehouse.with_suffix(".json").exists()


def test_what_belonged_to_a_removed_one_goes_too(storage: Storage) -> None:
    log = storage.warehouse.with_name("warehouse.duckdb.wal")
    log.write_bytes(b"of the file that is gone")
    storage.warehouse.unlink()
    assert make_usable(storage) is None
    assert not log.exists()
    assert not storage.warehouse.with_suffix(".json").exists()


def test_one_that_is_open_elsewhere_is_waited_for(storage: Storage) -> None:
    command = [sys.executable, "-c", HOLD, str(storage.warehouse)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        holder.stdout.readline()
        with pytest.raises(WarehouseError, match=f"PID {holder.pid}"):
            make_usable(storage, wait_seconds=0.3)
        holder.stdin.close()
        assert make_usable(storage, wait_seconds=30) is None
    assert storage.warehouse.exists()
