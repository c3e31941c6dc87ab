"""Tables of the champion's quality: what is put, what it takes the place of, and the order that rows are left in."""

from pathlib import Path

import pandas as pd
import pytest

from assets.champion.quality import files
from assets.storage import Storage

NEWER, OLDER = "0" * files.SHORT, "f" * files.SHORT
"""The checkpoint that is measured later has the smaller digest."""


def rows_of(checkpoint: str, partition: str, value: float) -> pd.DataFrame:
    at = pd.Timestamp(partition)
    told = {"checkpoint": checkpoint, "model": "sasrec", "partition": partition, "slice": "overall", "metric": "ndcg"}
    rows = [
        {**told, "contender": contender, "starts_at": at, "ends_at": at + pd.Timedelta(1, "D"), "k": 10, "value": value}
        for contender in ("champion", "floor")
    ]
    numbers = {"ci_low": 0.0, "ci_high": 1.0, "n": 9, "cases": 9, "ranked": 9}
    return pd.DataFrame(rows).assign(**numbers)[list(files.QUALITY_COLUMNS)]


def put(storage: Storage, checkpoint: str, partition: str, value: float = 0.5) -> None:
    files.upsert(storage, "quality", rows_of(checkpoint, partition, value), [(checkpoint, partition)])


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(root=tmp_path, dataset="toy")


def test_partitions_are_in_time_order_and_checkpoints_in_the_order_of_measuring(storage: Storage) -> None:
    put(storage, OLDER, "2024-03-02")
    put(storage, OLDER, "2024-03-01")
    put(storage, NEWER, "2024-03-01")
    table = files.read_table(storage, "quality")
    assert list(zip(table["partition"], table["checkpoint"], strict=True))[::2] == [
        ("2024-03-01", OLDER),
        ("2024-03-01", NEWER),
        ("2024-03-02", OLDER),
    ]
    assert table["contender"].tolist() == ["champion", "floor"] * 3


def test_what_is_measured_again_is_last(storage: Storage) -> None:
    put(storage, OLDER, "2024-03-01")
    put(storage, NEWER, "2024-03-01")
    put(storage, OLDER, "2024-03-01", 0.7)
    table = files.read_table(storage, "quality")
    assert table["checkpoint"].tolist() == [NEWER, NEWER, OLDER, OLDER]
    assert table["value"].tolist() == [0.5, 0.5, 0.7, 0.7]
