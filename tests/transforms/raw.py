"""Raw tables and dbt runs for the tests of the transforms."""

import json
import os
import random
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from assets.config import Settings
from assets.storage import Storage, write_json, write_parquet
from assets.transforms.project import DBT, PROJECT_DIR, dbt_environment
from assets.transforms.variables import dbt_vars
from tests.support import Row, interactions_frame


def random_rows(seed: int, n: int = 160, users: int = 9, items: int = 14, hours: int = 60) -> list[Row]:
    """Engagements over a few days, with ties and repeats (there are fewer instants than engagements)."""
    draw = random.Random(seed)
    start = pd.Timestamp("2020-03-01 06:00:00")
    return [
        (
            f"u{draw.randrange(users)}",
            f"i{draw.randrange(items)}",
            str(start + pd.Timedelta(draw.randrange(hours), "h")),
        )
        for _ in range(n)
    ]


def write_raw(
    storage: Storage,
    interactions: pd.DataFrame,
    items: Mapping[str, Iterable[str]] | None = None,
    users: Iterable[str] | None = None,
    data_version: str = "v1",
) -> Storage:
    """Write raw tables; ``items`` maps ids to genres; by default, the items and users of ``interactions``."""
    items = dict.fromkeys(sorted(set(interactions["item_id"])), ("g",)) if items is None else items
    users = sorted(set(interactions["user_id"])) if users is None else list(users)
    item_frame = pd.DataFrame(
        {
            "item_id": list(items),
            "title": None,
            "created_at": pd.NaT,
            "genre": [list(genres) for genres in items.values()],
        }
    ).astype({"created_at": "datetime64[us]", "title": "string"})
    user_frame = pd.DataFrame({"user_id": users, "gender": [["F"] for _ in users]})
    for name, frame in {"interactions": interactions, "items": item_frame, "users": user_frame}.items():
        write_parquet(storage.raw_table(name), frame)
    write_json(storage.raw / "ingestion.json", {"data_version": data_version})
    return storage


def small_raw(storage: Storage, seed: int = 0) -> Storage:
    """A random dataset with an item and a user that nobody and nothing engaged with."""
    frame = interactions_frame(random_rows(seed))
    items = {f"i{n}": ("g",) for n in range(15)}
    return write_raw(storage, frame, items=items, users=[f"u{n}" for n in range(10)])


def dbt(storage: Storage, settings: Settings, *arguments: str) -> dict[str, str]:
    """Run dbt on ``storage``; the status of every node by name."""
    target = storage.base / "dbt"
    storage.base.mkdir(parents=True, exist_ok=True)
    output = subprocess.run(
        [str(DBT), *arguments, "--profiles-dir", str(PROJECT_DIR), "--vars", json.dumps(dbt_vars(settings))],
        cwd=PROJECT_DIR,
        env={**os.environ, **dbt_environment(storage), "DBT_TARGET_PATH": str(target), "DBT_LOG_PATH": str(target)},
        capture_output=True,
        text=True,
        check=False,
    )
    results: Path = target / "run_results.json"
    assert results.exists(), output.stdout + output.stderr
    nodes: list[dict[str, Any]] = json.loads(results.read_text())["results"]
    return {".".join(node["unique_id"].split(".")[2:]): node["status"] for node in nodes}
