"""What the asset of landed files tells about a run."""

from pathlib import Path

from assets.ingestion.landing.assets import partition_metadata
from assets.ingestion.landing.claims import claim
from assets.ingestion.landing.intake import ingest_claimed
from tests.assets.ingestion.landing.drops import CONFIG, NOW, day, drop, storage_in


def test_a_file_that_landed_twice_counts_once(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    drop(storage, "a.csv", day(3), age=60)
    drop(storage, "again.csv", day(3), age=50)
    drop(storage, "b.csv", day(3, ("u9",)), age=40)
    claim(storage, CONFIG, NOW, 60.0)
    told = partition_metadata(ingest_claimed(storage, CONFIG, None, NOW), "2024-05-03")
    assert {name: told[name].value for name in ("dagster/row_count", "files", "sources")} == {
        "dagster/row_count": 3,
        "files": 3,
        "sources": "a.csv, b.csv",
    }
