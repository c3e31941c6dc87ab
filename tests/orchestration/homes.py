"""A home with raw and exported tables, as if the graph had made them."""

import pandas as pd

from assets.config import Settings
from assets.storage import file_digest, write_json, write_parquet
from assets.transforms.variables import dbt_vars
from tests.assets.evaluation.toy import toy_rows
from tests.support import interactions_frame, write_tables


def write_home(settings: Settings) -> None:
    """Write the toy's tables where ``settings`` look for them."""
    rows = interactions_frame(toy_rows())
    storage = write_tables(settings.home, rows, "2020-01-07", "2020-01-06", dataset=settings.dataset)
    write_parquet(storage.table("dataset_profile"), pd.DataFrame({"name": ["users"], "value": [25.0]}))
    for name in ("interactions", "items", "users"):
        write_parquet(storage.raw_table(name), rows)
    write_json(storage.raw / "ingestion.json", {"data_version": "d"})
    held = {path.stem: {"rows": 0, "sha256": file_digest(path)} for path in storage.tables.glob("*.parquet")}
    manifest = {"version": "t", "data_version": "d", "vars": dbt_vars(settings), "tables": held}
    write_json(storage.tables / "manifest.json", manifest)
