"""Action-to-serving latency: how long an engagement took to become searchable, hop by hop. Pure: frames in, frames out.

Every batch carries the wall clock (microseconds) of each hop; its engagements carry instants of their own. A quantile
is over engagements, not over batches: a batch counts as often as it has engagements.

Columns of a frame of batches: digest, partition, kind (``engagements`` or ``items``), engagements (rows applied) and
one per :data:`STATIONS`, float64, NaN where a batch is not there yet. (Microseconds of our time fit a float64 exactly.)
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assets.stream import Int

Float = NDArray[np.float64]

STATIONS: Final = ("landed_at", "seen_at", "features_at", "embedded_at", "indexed_at", "queried_at")
"""The way of a batch: file complete, seen by the sensor, features written, items embedded, in the index, first query
that could return them."""

HOPS: Final = {
    "produced": ("event", "landed_at"),
    "seen": ("landed_at", "seen_at"),
    "features": ("seen_at", "features_at"),
    "embedded": ("features_at", "embedded_at"),
    "indexed": ("embedded_at", "indexed_at"),
    "queried": ("indexed_at", "queried_at"),
}
TOTALS: Final = {"searchable": ("start", "indexed_at"), "served": ("start", "queried_at")}
"""What the hops add up to: until the index holds it, and until a query has seen it."""

QUANTILES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
ALL: Final = "all"
NEW_ITEMS: Final = "new items"
"""Names of groups beside the partitions: every engagement, and every landed item."""

SECOND: Final = 1e6
KEY: Final = ["digest", "landed_at"]


def first_times(batches: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """``batches`` with, where ``known`` has the same landing of a batch, the earlier instant of every station.

    A model switch applies every landed batch again; what its engagements waited for is the first time.
    """
    earlier = known.set_index(KEY)[list(STATIONS[1:])]
    first = batches.set_index(KEY)
    for station in STATIONS[1:]:
        first[station] = np.fmin(first[station], earlier[station].reindex(first.index))
    return first.reset_index()[list(batches.columns)]


def first_queries(sequence: Float, queries: pd.DataFrame) -> Float:
    """Instant of the first query that was answered with the delta ``sequence`` [n] applied, or a later one.

    Args:
        sequence: NaN for a batch without a delta yet.
        queries: seq and first_query_at (microseconds) of every delta that some service reported.

    Returns:
        [n], NaN where no query came yet.
    """
    ordered = queries.dropna().sort_values("seq")
    # Reversed, a running minimum says for each sequence number when a query first saw it or any later one.
    earliest = np.minimum.accumulate(ordered["first_query_at"].to_numpy(np.float64)[::-1])[::-1]
    at = np.searchsorted(ordered["seq"].to_numpy(np.float64), sequence)
    return np.append(earliest, np.nan)[np.where(np.isnan(sequence), len(earliest), at)]


def samples(batches: pd.DataFrame, events: Mapping[str, Int], from_landing: bool) -> pd.DataFrame:
    """Seconds of every hop and total, a row per batch and instant of ``events``.

    Args:
        batches: see the module.
        events: per digest instants of its engagements, or evenly spaced quantiles of them; a batch without any (items,
            or a file that is gone) starts with its landing.
        from_landing: let every engagement start with the landing of its batch: the clock of a replay.

    Returns:
        digest, partition, kind, weight (engagements the row stands for) and a column per hop and total. Batches that
        applied nothing have no row.
    """
    applied = batches[batches["engagements"] > 0]
    instants = [np.asarray(events.get(digest, ()), np.float64) for digest in applied["digest"]]
    counts = np.array([max(1, len(each)) for each in instants], np.int64)
    rows = applied.loc[applied.index.repeat(counts)].reset_index(drop=True)
    rows["weight"] = rows["engagements"] / np.repeat(counts, counts)
    rows["event"] = np.concatenate([each if len(each) else [np.nan] for each in instants] or [[]])
    rows["start"] = rows["landed_at"] if from_landing else rows["event"].fillna(rows["landed_at"])
    found = rows[["digest", "partition", "kind", "weight"]].copy()
    for name, (start, end) in (HOPS | TOTALS).items():
        found[name] = (rows[end] - rows[start]) / SECOND
    if from_landing:
        found["produced"] = np.nan
    return found


def report(measured: pd.DataFrame) -> pd.DataFrame:
    """Quantiles per group and hop: group, hop, engagements (measured), waiting (not there yet), mean, p50, p95, p99.

    Groups are the partitions, in order, then :data:`ALL` and, where items landed, :data:`NEW_ITEMS`; seconds.
    """
    engaged = measured[measured["kind"] == "engagements"]
    groups = [(str(name), group) for name, group in engaged.groupby("partition", sort=True)]
    groups += [(ALL, engaged)] if len(engaged) else []
    items = measured[measured["kind"] == "items"]
    groups += [(NEW_ITEMS, items)] if len(items) else []
    rows = [
        {"group": name, "hop": hop, **_summary(group[hop].to_numpy(), group["weight"].to_numpy())}
        for name, group in groups
        for hop in (*TOTALS, *HOPS)
    ]
    return pd.DataFrame(rows, columns=["group", "hop", "engagements", "waiting", "mean", *QUANTILES])


def _summary(seconds: Float, weights: Float) -> dict[str, float]:
    there = np.isfinite(seconds)
    waiting = float(weights[~there].sum())
    seconds, weights = seconds[there], weights[there]
    if not len(seconds):
        return {"engagements": 0.0, "waiting": waiting}
    levels = np.quantile(seconds, list(QUANTILES.values()), weights=weights, method="inverted_cdf")
    return {
        "engagements": float(weights.sum()),
        "waiting": waiting,
        "mean": float(np.average(seconds, weights=weights)),
        **dict(zip(QUANTILES, levels.tolist(), strict=True)),
    }


def value(table: pd.DataFrame, group: str, hop: str, name: str) -> float:
    """One number of a :func:`report`; NaN where the group or hop has none."""
    found = table.loc[(table["group"] == group) & (table["hop"] == hop), name]
    return float(found.iloc[0]) if len(found) else float("nan")


def markdown(table: pd.DataFrame) -> str:
    """Rows of a :func:`report` to read: one per group with its totals, then the median of every hop, in seconds."""
    if table.empty:
        return "nothing landed yet"
    shown = [(total, name) for total in TOTALS for name in QUANTILES] + [(hop, "p50") for hop in HOPS]
    rows = []
    for group in dict.fromkeys(table["group"]):
        there, waiting = (value(table, group, "searchable", name) for name in ("engagements", "waiting"))
        cells = {f"{hop} {name}": _cell(value(table, group, hop, name)) for hop, name in shown}
        rows.append({"partition": group, "engagements": f"{there + waiting:.0f}", "waiting": f"{waiting:.0f}", **cells})
    return pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)


def _cell(seconds: float) -> str:
    return f"{seconds:.2f}" if np.isfinite(seconds) else "-"
