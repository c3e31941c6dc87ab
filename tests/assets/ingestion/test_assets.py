from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from assets import keys
from assets.ingestion.assets import ASSETS, preview
from assets.storage import write_parquet
from tests.assets.ingestion.layouts import ML_DATA, ml_100k, settings

KEYS = [dg.AssetKey(key) for key in (keys.RAW_INTERACTIONS, keys.RAW_ITEMS, keys.RAW_USERS)]


def test_every_asset_is_described() -> None:
    specs = {spec.key: spec for asset in ASSETS for spec in asset.specs}
    assert set(specs) == set(KEYS)
    for spec in specs.values():
        assert spec.group_name == "ingestion"
        assert spec.owners == [keys.OWNER]
        assert spec.description
        assert spec.kinds == {"python", "parquet"}


def test_materialization_writes_the_tables_and_says_what_it_did(tmp_path: Path) -> None:
    ml_100k(tmp_path / "local" / "ml-100k", data=ML_DATA + ML_DATA + "1\t2\n")
    chosen = settings(tmp_path, "ml-100k", max_quarantine_share=0.2)
    result = dg.materialize(ASSETS, resources={"storage": chosen.storage, "settings": chosen})
    assert result.success
    events = {
        event.asset_key: event.step_materialization_data.materialization
        for event in result.get_asset_materialization_events()
    }
    assert set(events) == set(KEYS)
    metadata: dict[str, Any] = {name: value.value for name, value in events[KEYS[0]].metadata.items()}
    assert metadata["dagster/row_count"] == 4
    assert metadata["duplicates_dropped"] == 4
    assert metadata["quarantined"]["u.data"] == {"ragged_line": 1}
    assert metadata["first_engagement"] == "1997-11-07T07:18:36"
    assert metadata["source"] == "local copy"
    assert "u.data: differs from the published file" in metadata["warnings"]
    assert "GroupLens" in metadata["licence"]
    assert metadata["preview"].startswith("| user_id   | item_id")
    versions = {(event.tags or {})["dagster/data_version"] for event in events.values()}
    assert versions == {metadata["data_version"]}
    assert "Toy Story" in str(events[KEYS[1]].metadata["preview"].value)
    assert len(chosen.storage.read_raw("quarantine")) == 1


def test_preview_keeps_leading_zeros_and_takes_an_empty_table(tmp_path: Path) -> None:
    write_parquet(tmp_path / "one.parquet", pa.table({"item_id": ["0002844"], "genre": [["Crime", "Drama"]]}))
    assert "| 0002844   | ['Crime' 'Drama'] |" in preview(tmp_path / "one.parquet")
    write_parquet(tmp_path / "none.parquet", pa.table({"item_id": pa.array([], pa.string())}))
    assert "item_id" in preview(tmp_path / "none.parquet")


def test_bad_input_fails_the_run_and_writes_nothing(tmp_path: Path) -> None:
    ml_100k(tmp_path / "local" / "ml-100k", data="")
    chosen = settings(tmp_path, "ml-100k")
    with pytest.raises(ValueError, match=r"u\.data: the file is empty"):
        dg.materialize(ASSETS, resources={"storage": chosen.storage, "settings": chosen})
    assert not chosen.storage.raw.exists()
