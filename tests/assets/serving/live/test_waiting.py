"""How many items wait, and for how long."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from assets.serving.live.waiting import Waiting, waiting
from assets.serving.store.interface import Table
from assets.serving.store.lmdb_store import LmdbStore
from assets.serving.store.records import PENDING, number_keys, pack

SECOND = 1_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LmdbStore]:
    with LmdbStore(tmp_path / "store") as store:
        yield store


def test_nothing_pending(store: LmdbStore) -> None:
    with store.read() as reader:
        assert waiting(reader, 5 * SECOND) == Waiting(0, 0, 0.0, 0)


def test_due_items_and_the_oldest_of_them(store: LmdbStore) -> None:
    records = np.zeros(4, PENDING)
    records["due_at"] = np.array([9, 3, 10, 11]) * SECOND
    with store.write() as writer:
        writer.put_many(Table.PENDING, zip(number_keys(range(4)), pack(records), strict=True))
        writer.put(Table.AWAITING, b"digest", b"")
    with store.read() as reader:
        assert waiting(reader, 10 * SECOND) == Waiting(items=4, due=3, overdue_seconds=7.0, batches=1)
        assert waiting(reader, 2 * SECOND) == Waiting(items=4, due=0, overdue_seconds=0.0, batches=1)
