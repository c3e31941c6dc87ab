"""A landed partition against the champion's reference: volumes by aggregates, drift on a drawn sample."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from assets.config import Settings
from assets.ingestion.landing.partitions import bounds
from assets.monitoring.partitions.reference import CHAMPION_SLICE, Reference, drawn_rows, load_reference
from assets.monitoring.partitions.source import Source, open_source
from assets.monitoring.tables import Verdict
from assets.schema import ItemSlice
from assets.storage import Storage
from assets.transforms.sql import quoted
from dashboards.partition_drift import SCORE_COLUMNS, Calibration, judge, reason_of
from dashboards.partition_features import partition_features

SHARES: Final = ("unknown_user_share", "cold_share", "tail_share")


@dataclass(frozen=True)
class Measured:
    """A partition's verdict with the two samples behind it; ``current`` is ``None`` where nothing was compared."""

    verdict: Verdict
    reference: Reference
    current: pd.DataFrame | None


def measure_partitions(storage: Storage, settings: Settings, partitions: Sequence[str]) -> Iterator[Measured]:
    """Compare each of ``partitions`` (keys) with the reference of the champion that serves, in order.

    Rows are drawn with ``settings.training.seed``.

    Raises:
        assets.serving.live.generation.NoIndexError: when nothing serves yet.
        ValueError: for a key that is none, or when nothing lies before the champion's cutoff.
    """
    with open_source(storage) as source:
        reference = load_reference(source, settings)
        calibration = Calibration(reference.features, settings.training.seed)
        source.connection.register("items", reference.items)
        for name in partitions:
            yield _measure(source, settings, reference, calibration, name)


def _measure(source: Source, settings: Settings, reference: Reference, calibration: Calibration, name: str) -> Measured:
    low, high = (np.datetime64(instant, "us") for instant in bounds(name))
    volumes = _volumes(source, reference, low, high)
    unjudged = _unjudged(reference, settings, low, volumes["engagements"])
    current = None if unjudged else _sample(source, settings, reference, low, high)
    scores = pd.DataFrame(columns=list(SCORE_COLUMNS)) if current is None else judge(current, calibration)
    verdict = Verdict(
        kind="partition",
        name=name,
        starts_at=pd.Timestamp(low),
        ends_at=pd.Timestamp(high),
        rows=0 if current is None else len(current),
        reference_rows=len(reference.features),
        alarm=bool(scores["drifted"].any()),
        reason=unjudged or reason_of(scores),
        judged=unjudged is None,
        volumes=volumes,
        scores=scores,
    )
    return Measured(verdict, reference, current)


def _unjudged(reference: Reference, settings: Settings, low: np.datetime64, engagements: float) -> str | None:
    """Why nothing is said of a partition; ``None`` where something is."""
    if low < reference.cutoff:
        return f"not judged: it begins before the champion's cutoff {reference.cutoff}"
    if engagements < settings.drift.minimum_rows:
        least = settings.drift.minimum_rows
        return f"not judged: {engagements:,.0f} engagements, fewer than drift.minimum_rows ({least})"
    return None


def _volumes(source: Source, reference: Reference, low: np.datetime64, high: np.datetime64) -> dict[str, float]:
    """Counts and shares of all engagements of a partition, by items and by users, never row by row."""
    span = "timestamp >= ? AND timestamp < ?"
    engagements, items, cold, tail = source.row(
        f"""WITH counted AS (SELECT item_id, count(*) AS n FROM engagements WHERE {span} GROUP BY 1)
        SELECT coalesce(sum(n), 0), count(*),
            coalesce(sum(n) FILTER (coalesce(i.{CHAMPION_SLICE}, '{ItemSlice.COLD}') = '{ItemSlice.COLD}'), 0),
            coalesce(sum(n) FILTER (i.{CHAMPION_SLICE} = '{ItemSlice.TAIL}'), 0)
        FROM counted LEFT JOIN items i USING (item_id)""",
        [low, high],
    )
    users, unknown = source.row(
        f"""WITH counted AS (SELECT user_id, count(*) AS n FROM engagements WHERE {span} GROUP BY 1)
        SELECT count(*), coalesce(sum(n) FILTER (u.user_id IS NULL), 0)
        FROM counted LEFT JOIN read_parquet({quoted(reference.users)}) u USING (user_id)""",
        [low, high],
    )
    every, hours = float(engagements), float((high - low) / np.timedelta64(1, "h"))
    shares = [float(part) / every if every else float("nan") for part in (unknown, cold, tail)]
    return {
        "engagements": every,
        "users": float(users),
        "items": float(items),
        **dict(zip(SHARES, shares, strict=True)),
        "events_per_hour": every / hours,
    }


def _sample(
    source: Source, settings: Settings, reference: Reference, low: np.datetime64, high: np.datetime64
) -> pd.DataFrame:
    """At most ``drift.sample_rows`` rows, those of the smallest hashes, as features."""
    order = f"hash(user_id, item_id, timestamp, value, {settings.training.seed}), user_id, item_id"
    query = f"""SELECT user_id, item_id, timestamp, value FROM engagements
        WHERE timestamp >= TIMESTAMP '{low}' AND timestamp < TIMESTAMP '{high}'
        ORDER BY {order} LIMIT {settings.drift.sample_rows}"""
    rows = drawn_rows(source, query, reference.users, settings.freshness.partition)
    return partition_features(rows, reference.items)
