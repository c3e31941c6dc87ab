"""The reference that landed partitions are held to: rows before the champion's cutoff, drawn once and kept.

    |------------ ruler -------------|------- reference -------|  partitions
    first engagement                 begins_at            cutoff

The reference is ``drift.reference_days`` long, and at most the later half of what lies before the cutoff. What both
sides are measured by (popularity of items, which users are known) is what lay before it: the ruler.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from assets.champion.history import item_slices
from assets.config import Settings
from assets.ingestion.landing.partitions import Span
from assets.monitoring.partitions.source import Source
from assets.schema import Columns
from assets.storage import read_parquet, write_json, write_parquet
from assets.transforms.sql import quoted
from dashboards.drift_features import OTHER, TOP_CATEGORIES, category_feature
from dashboards.partition_features import (
    ACTIVITY_DAYS,
    CATEGORY,
    COUNT,
    ENGAGED_BEFORE,
    KNOWN,
    PARTITION,
    SLICE,
    UNIT,
    partition_features,
)

FORMAT: Final = 1
CHAMPION_SLICE: Final = "champion_slice"
"""Of an item: its slice as of the champion's cutoff, as the generation's base says."""
MOST_ROWS: Final = 1.5
"""A few heavy users may carry the draw of the reference beyond ``drift.sample_rows``, by at most this factor."""


@dataclass(frozen=True)
class Reference:
    """What partitions are compared with.

    Attributes:
        features: what :func:`dashboards.partition_features.partition_features` gives, of the rows drawn.
        items: item_id, ruler_count, available_at, category, item_slice, champion_slice.
        users: Parquet of everybody who engaged before the cutoff, and whether before the reference too.
        begins_at, cutoff: of the reference.
        total: engagements in it, of which ``len(features)`` were drawn.
        category: name of the item feature that categories come from.
    """

    features: pd.DataFrame
    items: pd.DataFrame
    users: Path
    begins_at: np.datetime64
    cutoff: np.datetime64
    total: int
    category: str | None


def load_reference(source: Source, settings: Settings) -> Reference:
    """The reference of the champion that serves, made where it is not kept yet; those of others are removed."""
    folder = source.storage.monitoring / "reference"
    name = _name(source, settings)
    facts = folder / f"{name}.json"
    if not facts.exists():
        _make(source, settings, folder, name)
    for path in folder.iterdir():
        if not path.name.startswith(name):  # may hold rows of users who were removed since
            path.unlink(missing_ok=True)
    known: dict[str, Any] = json.loads(facts.read_text(encoding="utf-8"))
    return Reference(
        features=read_parquet(folder / f"{name}-rows.parquet"),
        items=read_parquet(folder / f"{name}-items.parquet"),
        users=folder / f"{name}-users.parquet",
        begins_at=np.datetime64(known["begins_at"], "us"),
        cutoff=source.cutoff,
        total=known["total"],
        category=known["category"],
    )


def drawn_rows(source: Source, query: str, users: Path, span: Span) -> pd.DataFrame:
    """Rows of ``query`` (user_id, item_id, timestamp, value) with what :func:`partition_features` asks of a row.

    ``engaged_before`` is counted up to the partition's beginning: a row does not see its own day.
    """
    source.connection.execute(f"CREATE OR REPLACE TEMP TABLE drawn AS {query}")
    rows = f"SELECT *, date_trunc('{span}', timestamp) AS {PARTITION} FROM drawn"
    days = f"INTERVAL {ACTIVITY_DAYS} DAY"
    return source.frame(
        f"""
        WITH marked AS ({rows}), bounds AS (SELECT min({PARTITION}) AS low, max({PARTITION}) AS high FROM marked),
        asked AS (SELECT DISTINCT user_id, {PARTITION} FROM marked),
        counted AS (
            SELECT user_id, date_trunc('{span}', timestamp) AS part, count(*) AS rows
            FROM engagements, bounds
            WHERE timestamp >= (SELECT low FROM bounds) - {days} AND timestamp < (SELECT high FROM bounds)
                AND user_id IN (SELECT user_id FROM drawn)
            GROUP BY ALL
        ),
        before AS (
            SELECT a.user_id, a.{PARTITION}, sum(c.rows) AS {ENGAGED_BEFORE} FROM asked a
            JOIN counted c ON c.user_id = a.user_id AND c.part < a.{PARTITION} AND c.part >= a.{PARTITION} - {days}
            GROUP BY ALL
        )
        SELECT m.user_id, m.item_id, m.timestamp, m.value, m.{PARTITION}, coalesce(b.{ENGAGED_BEFORE}, 0)::BIGINT
            AS {ENGAGED_BEFORE}, u.user_id IS NOT NULL AS {KNOWN},
            dense_rank() OVER (ORDER BY m.{PARTITION}, m.user_id) AS {UNIT}
        FROM marked m LEFT JOIN before b ON b.user_id = m.user_id AND b.{PARTITION} = m.{PARTITION}
        LEFT JOIN (SELECT user_id FROM read_parquet({quoted(users)}) WHERE before_reference) u ON u.user_id = m.user_id
        ORDER BY m.timestamp, m.user_id, m.item_id
        """
    )


def _name(source: Source, settings: Settings) -> str:
    named = {
        "format": FORMAT,
        "generation": source.generation.name,
        "cutoff": str(source.cutoff),
        "days": settings.drift.reference_days,
        "rows": settings.drift.sample_rows,
        "seed": settings.training.seed,
        "span": settings.freshness.partition,
        "split": settings.split.model_dump(mode="json"),
        "removed": {"users": sorted(source.removed.users), "items": sorted(source.removed.items)},
    }
    return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()[:16]


def _make(source: Source, settings: Settings, folder: Path, name: str) -> None:
    cutoff, span = source.cutoff, settings.freshness.partition
    (first,) = source.row("SELECT min(timestamp) FROM engagements")
    if first is None or np.datetime64(first, "us") >= cutoff:
        raise ValueError(f"no engagement before the champion's cutoff {cutoff}: there is nothing to compare with")
    earliest = np.datetime64(first, "us")
    length = np.timedelta64(round(settings.drift.reference_days * 86_400_000_000), "us")
    begins_at = max(cutoff - length, earliest + (cutoff - earliest) / 2)
    items, category = _items(source, settings, begins_at)
    users = write_parquet(folder / f"{name}-users.parquet", _users(source, begins_at))
    inside = "timestamp >= ? AND timestamp < ?"
    (total,) = source.row(f"SELECT count(*) FROM engagements WHERE {inside}", [begins_at, cutoff])
    query = _draw(begins_at, cutoff, min(1.0, settings.drift.sample_rows / max(total, 1)), settings)
    rows = drawn_rows(source, query, users, span)
    rows[PARTITION] = _whole(rows[PARTITION], begins_at, cutoff, span)
    write_parquet(folder / f"{name}-items.parquet", items)
    write_parquet(folder / f"{name}-rows.parquet", partition_features(rows, items))
    facts = {"begins_at": str(begins_at), "total": int(total), "category": category}
    write_json(folder / f"{name}.json", facts)  # last: without it the others are not read


def _draw(begins_at: np.datetime64, cutoff: np.datetime64, share: float, settings: Settings) -> str:
    """Whole units, by a hash of user and partition: a session is there or not."""
    unit = f"hash(user_id, date_trunc('{settings.freshness.partition}', timestamp), {settings.training.seed})"
    chosen = "true" if share >= 1 else f"{unit} % 1000000 < {round(share * 1_000_000)}"
    most = round(settings.drift.sample_rows * MOST_ROWS)
    return f"""SELECT user_id, item_id, timestamp, value FROM engagements
        WHERE timestamp >= TIMESTAMP '{begins_at}' AND timestamp < TIMESTAMP '{cutoff}' AND {chosen}
        ORDER BY {unit}, timestamp, item_id LIMIT {most}"""


def _users(source: Source, begins_at: np.datetime64) -> pd.DataFrame:
    return source.frame(
        """SELECT user_id, bool_or(timestamp < ?) AS before_reference
        FROM engagements WHERE timestamp < ? GROUP BY user_id ORDER BY user_id""",
        [begins_at, source.cutoff],
    )


def _items(source: Source, settings: Settings, begins_at: np.datetime64) -> tuple[pd.DataFrame, str | None]:
    """Items of the base and of landed files: the earliest instant, the latest features, counts before the reference."""
    every = pd.concat([read_parquet(path) for path in source.items], ignore_index=True)
    category = category_feature(every)
    latest = every.drop_duplicates(Columns.ITEM, keep="last", ignore_index=True)
    counted = source.frame(
        """SELECT item_id, count(*) FILTER (timestamp < ?) AS earlier, count(*) AS trained, min(timestamp) AS first
        FROM engagements WHERE timestamp < ? GROUP BY item_id""",
        [begins_at, source.cutoff],
    ).set_index(Columns.ITEM)
    created = every.groupby(Columns.ITEM)[Columns.CREATED_AT].min()
    known = latest[Columns.ITEM]
    instants = [known.map(each).astype("datetime64[us]") for each in (created, counted["first"])]
    table = pd.DataFrame({Columns.ITEM: known, Columns.AVAILABLE_AT: pd.concat(instants, axis=1).min(axis=1)})
    for name, count, at in ((CHAMPION_SLICE, "trained", source.cutoff), (SLICE, "earlier", begins_at)):
        table[Columns.TRAIN_COUNT] = known.map(counted[count]).fillna(0).astype(np.int64)
        table[name] = item_slices(table, at, settings.split)
    first = latest[category].str[0] if category else pd.Series(None, index=latest.index, dtype=object)
    frequent = table[Columns.TRAIN_COUNT].groupby(first).sum().sort_values(ascending=False, kind="stable").index
    table[CATEGORY] = first.where(first.isin(frequent[:TOP_CATEGORIES]) | first.isna(), OTHER)
    return table.rename(columns={Columns.TRAIN_COUNT: COUNT}), category


def _whole(partitions: pd.Series, begins_at: np.datetime64, cutoff: np.datetime64, span: Span) -> pd.Series:
    """Partitions that lie wholly in the reference; missing for the others."""
    length = np.timedelta64(1, "D" if span == "day" else "h")
    starts = partitions.to_numpy("datetime64[us]")
    return partitions.where((starts >= begins_at) & (starts + length <= cutoff))
