"""What was applied so far, read from the files by pandas: the rows that :mod:`.batch` computes with.

Nothing here is shared with the incremental path but the files.
"""

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from assets.config import EngagementRule
from assets.schema import Columns
from assets.serving.live.generation import OpenGeneration
from assets.serving.store.interface import Table
from assets.storage import read_parquet

SAME: Final = [Columns.USER, Columns.ITEM, Columns.TIMESTAMP, Columns.EVENT_TYPE, Columns.VALUE]
"""What two rows agree in that are one engagement."""


class BatchError(RuntimeError):
    """A file that the ledger names is not there; the message names it."""


def engagements(opened: OpenGeneration) -> pd.DataFrame:
    """Every engagement applied, once, in order of (timestamp, source_row), without those of what was removed."""
    rule = opened.record.engagement
    files = _applied(opened, "engagements")
    landed = [_accepted(_frame(path), entry["oldest_accepted"], rule) for path, entry in files]
    base = read_parquet(opened.generation.base("interactions"))
    rows = pd.concat([base, *(part for part in landed if len(part))], ignore_index=True)
    removed = _removed(opened)
    kept = rows[~rows[Columns.USER].isin(removed["users"]) & ~rows[Columns.ITEM].isin(removed["items"])]
    once = kept.drop_duplicates(SAME)  # the base comes first: its source rows count
    return once.sort_values([Columns.TIMESTAMP, Columns.SOURCE_ROW], kind="stable", ignore_index=True)


def items(opened: OpenGeneration, rows: pd.DataFrame, watermark: np.datetime64) -> pd.DataFrame:
    """Every item as the row says that was seen last, ``available`` as of the watermark.

    It is available from the earliest instant that any row gives; without created_at that is when the row landed.

    Items that only engagements name come last, without features.
    """
    base = read_parquet(opened.generation.base("items")).assign(on_arrival=False)
    landed = [_frame(path) for path, _ in _applied(opened, "items")]
    versions = [part.assign(on_arrival=part[Columns.CREATED_AT].isna()) for part in landed if len(part)]
    every = pd.concat([base, *versions], ignore_index=True)
    every = every[~every[Columns.ITEM].isin(_removed(opened)["items"])]
    latest = every.drop_duplicates(Columns.ITEM, keep="last").set_index(Columns.ITEM)
    of_item = every.groupby(Columns.ITEM)
    latest[Columns.TRAIN_COUNT] = of_item[Columns.TRAIN_COUNT].max()  # only the base says it
    latest[Columns.CREATED_AT] = of_item[Columns.CREATED_AT].min()
    latest["on_arrival"] = of_item["on_arrival"].any()
    engaged = pd.Index(rows[Columns.ITEM].unique())
    known = latest.reindex(latest.index.append(engaged.difference(latest.index)))
    created = known[Columns.CREATED_AT].astype("datetime64[us]")
    known[Columns.TRAIN_COUNT] = known[Columns.TRAIN_COUNT].fillna(0).astype("int64")
    known["available"] = (created <= watermark) | known["on_arrival"].eq(True) | known.index.isin(engaged)
    return known.drop(columns="on_arrival").rename_axis(Columns.ITEM).reset_index()


def users(opened: OpenGeneration, rows: pd.DataFrame) -> pd.DataFrame:
    """Every user with features; users that only landed engagements name come last, without."""
    base = read_parquet(opened.generation.base("users")).set_index(Columns.USER)
    known = base[~base.index.isin(_removed(opened)["users"])]
    engaged = pd.Index(rows[Columns.USER].unique())
    return known.reindex(known.index.append(engaged.difference(known.index))).rename_axis(Columns.USER).reset_index()


def _frame(path: Path) -> pd.DataFrame:
    frame: pd.DataFrame = pq.read_table(path, partitioning=None).to_pandas()
    return frame


def _accepted(rows: pd.DataFrame, oldest: int, rule: EngagementRule) -> pd.DataFrame:
    """The rows not older than ``oldest`` (microseconds) that are engagements."""
    counts = rows[Columns.TIMESTAMP].astype("datetime64[us]").astype("int64") >= oldest
    if rule.minimum_value is not None:
        counts &= rows[Columns.VALUE] >= rule.minimum_value
    if rule.event_types:
        counts &= rows[Columns.EVENT_TYPE].isin(rule.event_types)
    return rows[counts]


def _applied(opened: OpenGeneration, kind: str) -> list[tuple[Path, dict[str, Any]]]:
    """Files and ledger entries of the batches applied, in the order in which they were seen."""
    with opened.store.read() as reader:
        entries = [json.loads(value) for _, value in reader.scan(Table.LEDGER)]
    folder = opened.storage.live / "landed" / kind
    paths = {path.stem.rpartition("-")[2]: path for path in folder.glob("*/*.parquet")}
    chosen = [entry for entry in entries if entry["kind"] == kind]
    if missing := [entry for entry in chosen if entry["digest"][:16] not in paths]:
        raise BatchError(
            f"{folder}: batch {missing[0]['digest'][:16]} ({missing[0]['source']}, partition"
            f" {missing[0]['partition']}) was applied and its file is gone: put it back, or build a generation anew"
        )
    ordered = sorted(chosen, key=lambda entry: (entry["seen_at"], entry["landed_at"], entry["digest"]))
    return [(paths[entry["digest"][:16]], entry) for entry in ordered]


def _removed(opened: OpenGeneration) -> dict[str, list[str]]:
    path = opened.storage.live / "removed.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"users": [], "items": []}
