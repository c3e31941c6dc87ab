"""What there is to show in Evidently's workspace: a moment per evaluation window and per landed partition."""

from collections.abc import Callable, Hashable, Iterator
from datetime import UTC
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from assets.champion.quality.files import SHORT, read_table
from assets.config import Settings
from assets.evaluation.protocol import of_protocol
from assets.ingestion.landing.partitions import bounds, is_partition
from assets.monitoring.tables import drift_path, verdicts_path
from assets.schema import ALL_WINDOWS, CaseSlice, Columns
from assets.serving.live.freshness import report_path as ats_report_path
from assets.serving.live.generation import current
from assets.storage import Storage, read_parquet
from dashboards.headline import measured_k
from dashboards.workspace_scalars import Moment, Scalar

SLICES: Final = (CaseSlice.OVERALL, CaseSlice.HEAD, CaseSlice.TAIL, CaseSlice.COLD)
METRICS: Final = {"ndcg": "NDCG", "hr": "HR"}
"""Of each the headline k is shown."""
SHARES: Final = ("cold_share", "tail_share", "unknown_user_share", "events_per_hour")
EMBEDDINGS: Final = {
    "mean_distance": "embedding distance",
    "p95_distance": "embedding distance p95",
    "from_cutoff": "embedding distance from cutoff",
    "moved_share": "items moved",
}
PREDICTIONS: Final = {
    "score_p10": "score p10",
    "score_p50": "score p50",
    "score_p90": "score p90",
    "coverage": "coverage",
    "mean_popularity": "mean popularity",
}

Key = tuple[str, str]
"""Kind and name."""
Numbers = dict[Key, list[Scalar]]


def collect_moments(storage: Storage, settings: Settings) -> list[Moment]:
    """Every moment of which a file says a finite number, in order of time; whatever is missing is left out."""
    spans: dict[Key, pd.Timestamp] = {}
    numbers: Numbers = {}
    readers: tuple[Callable[[Storage, Settings, dict[Key, pd.Timestamp]], Iterator[tuple[Key, Scalar]]], ...] = (
        _volumes,
        _drift,
        _windows,
        _quality,
        _models,
        _ats,
    )
    for read in readers:
        for key, scalar in read(storage, settings, spans):
            if np.isfinite(scalar.value):
                numbers.setdefault(key, []).append(scalar)
    moments = [
        Moment(kind, name, at.to_pydatetime().replace(tzinfo=UTC), tuple(numbers[kind, name]))
        for (kind, name), at in spans.items()
        if (kind, name) in numbers
    ]
    return sorted(moments, key=lambda moment: (moment.at, moment.kind, moment.name))


def _volumes(storage: Storage, _: Settings, spans: dict[Key, pd.Timestamp]) -> Iterator[tuple[Key, Scalar]]:
    for row in _rows(verdicts_path(storage)):
        key = (row["kind"], row["name"])
        spans[key] = row[Columns.STARTS_AT]
        for name in SHARES:
            yield key, Scalar(name.replace("_", " "), row[name])
        if row["judged"]:
            yield key, Scalar("drifted columns", float(len(row["drifted"])), test="below", threshold=1.0)


def _drift(storage: Storage, _: Settings, spans: dict[Key, pd.Timestamp]) -> Iterator[tuple[Key, Scalar]]:
    for row in _rows(drift_path(storage)):
        key = (row["kind"], row["name"])
        if key in spans:
            yield key, Scalar("drift", row["score"], row["column"], "below", row["threshold"])


def _windows(storage: Storage, settings: Settings, spans: dict[Key, pd.Timestamp]) -> Iterator[tuple[Key, Scalar]]:
    """Metrics of evaluation windows, the headline protocol and k alone."""
    if not (storage.metrics.exists() and storage.table("split_bounds").exists()):
        return
    bounds_of = storage.read_table("split_bounds").dropna(subset=[Columns.WINDOW])
    starts = {str(int(row[Columns.WINDOW])): row[Columns.STARTS_AT] for row in bounds_of.to_dict("records")}
    table = of_protocol(read_parquet(storage.metrics), settings.evaluation.headline)
    k = measured_k(table)
    chosen = table[
        table[Columns.SLICE].isin(SLICES)
        & table["metric"].isin(METRICS)
        & (table["k"] == k)
        & (table[Columns.WINDOW].astype(str) != str(ALL_WINDOWS))
    ]
    keys = [Columns.WINDOW, "metric", Columns.SLICE, "model"]
    for row in chosen.groupby(keys, sort=True)["value"].mean().reset_index().to_dict("records"):
        name = str(row[Columns.WINDOW])
        if name in starts:
            spans.setdefault(("window", name), pd.Timestamp(starts[name]))
            of = f"{row[Columns.SLICE]}, {row['model']}"
            yield ("window", name), Scalar(f"{METRICS[row['metric']]}@{k}", float(row["value"]), of)


def _quality(storage: Storage, _: Settings, spans: dict[Key, pd.Timestamp]) -> Iterator[tuple[Key, Scalar]]:
    """The champion and the floor on landed partitions; overall, the champion is tested against the floor."""
    table = _latest(storage, "quality")
    k = measured_k(table)
    table = table[table[Columns.SLICE].isin(SLICES) & table["metric"].isin(METRICS) & (table["k"] == k)]
    keys = ["partition", "metric", Columns.SLICE]
    floors = table[table["contender"] == "floor"].set_index(keys)["value"].to_dict()
    for row in table.to_dict("records"):
        part, floor = row[Columns.SLICE], float(floors.get(tuple(row[name] for name in keys), np.nan))
        tested = row["contender"] == "champion" and part == CaseSlice.OVERALL
        of = f"{part}, floor" if row["contender"] == "floor" else f"{part}, {row['model']}"
        key = _seen(spans, row["partition"])
        test = "at least" if tested and np.isfinite(floor) else None
        yield key, Scalar(f"{METRICS[row['metric']]}@{k}", row["value"], of, test, floor if test else 0.0)


def _models(storage: Storage, _: Settings, spans: dict[Key, pd.Timestamp]) -> Iterator[tuple[Key, Scalar]]:
    """Embeddings and predictions per model."""
    for table, named in (("embeddings", EMBEDDINGS), ("predictions", PREDICTIONS)):
        for row in _latest(storage, table).to_dict("records"):
            key = _seen(spans, row["partition"])
            for column, name in named.items():
                yield key, Scalar(name, float(row[column]), row["model"])


def _ats(storage: Storage, settings: Settings, spans: dict[Key, pd.Timestamp]) -> Iterator[tuple[Key, Scalar]]:
    for row in _rows(ats_report_path(storage)):
        if row["hop"] == "searchable" and is_partition(row["group"]):
            key, bound = _seen(spans, row["group"]), settings.freshness.ats_p95_seconds
            yield key, Scalar("ATS p50", row["p50"])
            yield key, Scalar("ATS p95", row["p95"], test="at most", threshold=bound)


def _latest(storage: Storage, name: str) -> pd.DataFrame:
    """Of several checkpoints on one partition (and of one model, where rows are not held to a floor) the rows of one.

    That is the checkpoint that serves, else the one that was measured last, as the tables have it.
    """
    table = read_table(storage, name)
    if table.empty:
        return table
    generation = current(storage)
    serves = None if generation is None else generation.record().checkpoint[:SHORT]
    ahead = table.assign(serves=table["checkpoint"] == serves).sort_values("serves", kind="stable")
    last = ahead.groupby(["partition", "model"] if "contender" not in table else ["partition"])["checkpoint"]
    return table[table["checkpoint"] == last.transform("last").reindex(table.index)]


def _seen(spans: dict[Key, pd.Timestamp], partition: str) -> Key:
    """The key of a partition, whose span is noted."""
    key = ("partition", partition)
    spans.setdefault(key, pd.Timestamp(bounds(partition)[0], unit="us"))
    return key


def _rows(path: Path) -> list[dict[Hashable, Any]]:
    return read_parquet(path).to_dict("records") if path.exists() else []
