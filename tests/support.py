"""Small data for tests: the warehouse's exported tables built by slow, obvious pandas, independent of the SQL."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from assets.schema import ItemSlice, Split
from assets.storage import Storage, file_digest, write_json, write_parquet
from assets.transforms.export import TableRecord, manifest_path, tables_version

Row = tuple[str, str, str]
"""(user_id, item_id, ISO timestamp)."""


def interactions_frame(rows: Sequence[Row], value: float = 1.0) -> pd.DataFrame:
    """Canonical interactions; ``source_row`` is the position in ``rows``."""
    return pd.DataFrame(
        {
            "user_id": [row[0] for row in rows],
            "item_id": [row[1] for row in rows],
            "timestamp": pd.to_datetime([row[2] for row in rows]).astype("datetime64[us]"),
            "event_type": "engagement",
            "value": value,
            "source_row": range(len(rows)),
        }
    )


def write_tables(
    root: Path,
    interactions: pd.DataFrame,
    cutoff: str,
    validation_start: str,
    windows: int = 2,
    item_features: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
    user_features: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
    tail_max_count: int = 10,
    dataset: str = "toy",
    *,
    item_content: Mapping[str, Sequence[float]] | None = None,
) -> Storage:
    """Write every exported table for ``interactions``, with the export's manifest, and return where.

    Args:
        item_features: feature name -> item id -> values.
        user_features: feature name -> user id -> values.
        item_content: item id -> content; items without an entry have none.
    """
    storage = Storage(root / "data", dataset)
    frame = interactions.sort_values(["timestamp", "source_row"], ignore_index=True)
    bounds = split_bounds(frame, pd.Timestamp(cutoff), pd.Timestamp(validation_start), windows)
    place = _places(bounds, frame["timestamp"])
    frame["source_timestamp"] = frame["timestamp"]
    frame["split"] = bounds["split"].to_numpy()[place]
    frame["window"] = bounds["window"].array[place]
    items = _items(frame, tail_max_count)
    users = _users(frame)
    for table, features in ((items, item_features), (users, user_features)):
        for name, values in (features or {}).items():
            table[name] = [list(values.get(key, ())) for key in table.iloc[:, 0]]
    if item_content is not None:
        items["content"] = [_floats(item_content.get(item)) for item in items["item_id"]]
    tables = {
        "interactions": frame,
        "split_bounds": bounds,
        "items": items,
        "users": users,
        "test_cases": _test_cases(frame, items),
    }
    for name, table in tables.items():
        write_parquet(storage.table(name), table)
    write_manifest(storage)
    return storage


def _floats(content: Sequence[float] | None) -> np.ndarray | None:
    return None if content is None else np.array(content, np.float32)


def write_manifest(storage: Storage) -> None:
    """Call the tables as they lie there one export; a test that rewrites one calls this again."""
    records = {
        path.stem: TableRecord(rows=len(pd.read_parquet(path)), sha256=file_digest(path))
        for path in sorted(storage.tables.glob("*.parquet"))
    }
    manifest = {"data_version": "test", "vars": {}, "tables": records, "version": tables_version(records)}
    write_json(manifest_path(storage), manifest)


def split_bounds(
    frame: pd.DataFrame, cutoff: pd.Timestamp, validation_start: pd.Timestamp, windows: int
) -> pd.DataFrame:
    first = frame["timestamp"].min()
    end = frame["timestamp"].max() + pd.Timedelta(1, "us")
    step = (end - cutoff) / windows
    edges = [cutoff + step * index for index in range(windows)] + [end]
    rows = [
        (Split.TRAIN.value, None, first, validation_start),
        (Split.VALIDATION.value, None, validation_start, cutoff),
    ]
    rows += [(Split.TEST.value, index, edges[index], edges[index + 1]) for index in range(windows)]
    bounds = pd.DataFrame(rows, columns=["split", "window", "starts_at", "ends_at"])
    bounds["window"] = bounds["window"].astype("Int32")
    for column in ("starts_at", "ends_at"):
        bounds[column] = bounds[column].astype("datetime64[us]")
    bounds["engagements"] = [
        int(((frame["timestamp"] >= row.starts_at) & (frame["timestamp"] < row.ends_at)).sum())
        for row in bounds.itertuples()
    ]
    return bounds


def _places(bounds: pd.DataFrame, instants: pd.Series) -> np.ndarray:
    """Row of ``bounds`` of each instant."""
    place = np.searchsorted(bounds["starts_at"].to_numpy(), instants.to_numpy(), side="right") - 1
    late = place < 0, instants.to_numpy() >= bounds["ends_at"].to_numpy()[place]
    assert not np.logical_or(*late).any(), "an instant lies in no split"
    return place


def _items(frame: pd.DataFrame, tail_max_count: int) -> pd.DataFrame:
    rows = []
    for item, group in frame.groupby("item_id"):
        count = int((group["split"] != Split.TEST).sum())
        name = ItemSlice.COLD if count == 0 else ItemSlice.TAIL if count <= tail_max_count else ItemSlice.HEAD
        first = group["timestamp"].min()
        rows.append((item, f"title of {item}", pd.NaT, first, first, count, name.value))
    items = pd.DataFrame(
        rows, columns=["item_id", "title", "created_at", "available_at", "first_engaged_at", "train_count", "slice"]
    )
    items["created_at"] = pd.to_datetime(items["created_at"]).astype("datetime64[us]")
    return items


def _users(frame: pd.DataFrame) -> pd.DataFrame:
    rows = [(user, int((group["split"] != Split.TEST).sum())) for user, group in frame.groupby("user_id")]
    return pd.DataFrame(rows, columns=["user_id", "train_count"])


def _test_cases(frame: pd.DataFrame, items: pd.DataFrame) -> pd.DataFrame:
    cases = frame[frame["split"] == Split.TEST]
    of_item = items.set_index("item_id").loc[cases["item_id"]]
    times = {item: group.to_numpy() for item, group in frame.groupby("item_id")["timestamp"]}
    first_of_pair = frame.groupby(["user_id", "item_id"])["timestamp"].min()
    in_train = set(frame.loc[frame["split"] != Split.TEST, "user_id"])
    asked = list(zip(cases["item_id"], cases["timestamp"].to_numpy(), strict=True))
    pairs = pd.MultiIndex.from_frame(cases[["user_id", "item_id"]])
    refresh_at = cases["timestamp"].dt.floor("D").to_numpy()
    return pd.DataFrame(
        {
            "user_id": cases["user_id"].to_numpy(),
            "item_id": cases["item_id"].to_numpy(),
            "timestamp": cases["timestamp"].to_numpy(),
            "source_row": cases["source_row"].to_numpy(),
            "window": cases["window"].to_numpy(np.int64),
            "slice": of_item["slice"].to_numpy(),
            "refresh_at": refresh_at,
            "on_catalog": of_item["available_at"].to_numpy() <= refresh_at,
            "engagements_seen": [int(np.searchsorted(times[item], instant)) for item, instant in asked],
            "is_repeat": first_of_pair.loc[pairs].to_numpy() < cases["timestamp"].to_numpy(),
            "user_in_train": [user in in_train for user in cases["user_id"]],
        }
    )
