"""The official files themselves: counts that their publishers state."""

import os
import time
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest

from assets.config import load_settings
from assets.ingestion.ingest import ingest
from tests.assets.ingestion.layouts import NOW

pytestmark = pytest.mark.skipif(
    not os.environ.get("THAW_DATA_DIR"), reason="THAW_DATA_DIR names no folder with the official files"
)
SHAPES = {
    "ml-100k": (100_000, 943, 1_682, datetime(1997, 9, 20, 3, 5, 10), datetime(1998, 4, 22, 23, 10, 38)),
    "movietweetings-100k": (
        100_000,
        16_554,
        10_506,
        datetime(2013, 2, 28, 14, 38, 27),
        datetime(2013, 9, 1, 20, 27, 45),
    ),
}


@pytest.mark.parametrize("dataset", SHAPES)
def test_official_files(tmp_path: Path, dataset: str) -> None:
    count, users, items, first, last = SHAPES[dataset]
    settings = load_settings(dataset=dataset, home=tmp_path)
    started = time.process_time()
    report = ingest(settings, settings.storage, NOW)
    seconds = time.process_time() - started
    interactions = settings.storage.read_raw("interactions")
    assert len(interactions) == count
    assert (interactions["user_id"].nunique(), interactions["item_id"].nunique()) == (users, items)
    assert (interactions["timestamp"].min(), interactions["timestamp"].max()) == (
        pd.Timestamp(first),
        pd.Timestamp(last),
    )
    assert report.rows == {"interactions": count, "items": items, "users": users}
    assert report.warnings == ()
    assert all(not reasons for reasons in report.quarantined.values())
    assert seconds < 10, "a row-by-row reader would take longer"


def test_movielens_titles_survive_their_encoding(tmp_path: Path) -> None:
    settings = load_settings(dataset="ml-100k", home=tmp_path)
    ingest(settings, settings.storage, NOW)
    items = settings.storage.read_raw("items")
    assert items["title"].str.contains("Misérables, Les").any()
    assert items["created_at"].isna().sum() == 1, "item 267, called unknown"
