"""What an engagement log is like, in figures that can stand beside another's: popularity, activity, pauses, ages.

Everything is aggregated in DuckDB over the raw Parquet files; nothing but counts per user and item comes to memory.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assets.ingestion.errors import IngestionError
from assets.transforms.sql import identifier, quoted

WARM_UP_DAYS: Final = 30
"""The log's first days, in which every item looks new: ages are of engagements after them."""

SESSION_PAUSE_SECONDS: Final = 1800
FIRST_RANK, LEAST_COUNT, FIT_POINTS = 10, 10, 60
"""The slope is fitted from this rank to the last item with so many engagements, at so many ranks even in logarithm."""

NO_SPREAD: Final = 1e-9
CURVE_POINTS: Final = 120
YOUNG_DAYS: Final = (1, 7, 30)
PAUSE_BINS, PAUSE_DECADES = 6, 8
"""Of the curve of pauses: bins a decade, from one second on."""

AGE_BINS, FIRST_AGE, AGE_DECADES = 24, 0.01, 5
"""Of the curve of ages: points a decade, from so many days on."""

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Statistics:
    """One dataset's figures.

    Attributes:
        facts: section, statistic, value (NaN: not known), and unit: count, share, seconds, days or number.
        curves: curve (``popularity``, ``activity``, ``pauses``, ``age``), x, y.
    """

    facts: pd.DataFrame
    curves: pd.DataFrame


def statistics(interactions: str | Path, items: str | Path | None = None) -> Statistics:
    """Figures of a log.

    Args:
        interactions: Parquet file, or a pattern of part files, with user_id, item_id and timestamp.
        items: Parquet file with item_id and created_at, for ages since creation, which leave out items without one.

    Raises:
        IngestionError: when there is no such file or no row in it.
    """
    with duckdb.connect(":memory:") as connection:
        connection.execute("set timezone = 'UTC'")
        try:
            connection.execute(_view("log", interactions))
            connection.execute(_view("catalog", items) if items else _NO_CATALOG)
        except duckdb.Error as error:
            raise IngestionError(f"{interactions}: cannot be read as Parquet: {error}") from error
        facts = pd.DataFrame(
            [(section, *fact) for section, found in _sections(connection) for fact in found],
            columns=["section", "statistic", "value", "unit"],
        )
        return Statistics(facts, _curves(connection))


_NO_CATALOG = "create view catalog as select null::varchar as item_id, null::timestamp as created_at where false"
Fact = tuple[str, float, str]


def _view(name: str, path: str | Path) -> str:
    return f"create view {identifier(name)} as select * from read_parquet({quoted(path)}, hive_partitioning = false)"


def _sections(connection: duckdb.DuckDBPyConnection) -> Iterator[tuple[str, list[Fact]]]:
    row = connection.execute("select count(*), epoch(max(timestamp) - min(timestamp)) / 86400 from log").fetchone()
    rows, days = row or (0, None)
    if not rows:
        raise IngestionError("the log has no rows: nothing to describe")
    items, users = _counts(connection, "item_id"), _counts(connection, "user_id")
    slope, fit, last = popularity_slope(items)
    yield (
        "size",
        [
            ("engagements", rows, "count"),
            ("users", len(users), "count"),
            ("items with an engagement", len(items), "count"),
            ("time from first to last", days, "days"),
        ],
    )
    yield (
        "popularity of items",
        [
            ("slope of log count over log rank", slope, "number"),
            ("R² of that fit", fit, "number"),
            (f"fitted from rank {FIRST_RANK} to rank", last, "count"),
            *_concentration(items, "items"),
        ],
    )
    yield "activity of users", _concentration(users, "users")
    yield "pauses within a user's engagements", _pauses(connection)
    yield "age of items at engagement", _ages(connection)


def _counts(connection: duckdb.DuckDBPyConnection, column: str) -> Counts:
    """Engagements per distinct value, the most first."""
    found = connection.execute(f"select count(*) as n from log group by {column} order by n desc").fetchnumpy()["n"]
    return np.asarray(found, np.int64)


def popularity_slope(counts: Counts) -> tuple[float, float, float]:
    """Least squares of log count over log rank.

    Args:
        counts: [n], descending.

    Returns:
        Slope, R², and the last rank of the fit; NaN where fewer than ten ranks are in its range.
    """
    last = int(np.searchsorted(-counts, -LEAST_COUNT, side="right"))
    if last < FIRST_RANK + 9:
        return float("nan"), float("nan"), float("nan")
    ranks = np.unique(np.geomspace(FIRST_RANK, last, FIT_POINTS).round().astype(int))
    x, y = np.log(ranks), np.log(counts[ranks - 1])
    slope, level = np.polyfit(x, y, 1)
    spread = float(((y - y.mean()) ** 2).sum())
    left = float(((y - level - slope * x) ** 2).sum())
    return float(slope), 1 - left / spread if spread > NO_SPREAD else 1.0, float(last)


def gini(counts: Counts) -> float:
    """0: all have the same; towards 1: one has everything. Of [n] positive counts."""
    ascending = np.sort(counts)
    n = len(ascending)
    return float(2 * (np.arange(1, n + 1) * ascending).sum() / (n * ascending.sum()) - (n + 1) / n)


def _concentration(counts: Counts, whose: str) -> list[Fact]:
    total = counts.sum()
    facts: list[Fact] = [
        (f"engagements, {_ordinal(share)} percentile of {whose}", float(np.quantile(counts, share)), "count")
        for share in (0.1, 0.5, 0.9, 0.99)
    ]
    tops = [
        (
            f"share of the top {share:.0%} of {whose}",
            float(counts[: max(1, round(share * len(counts)))].sum() / total),
            "share",
        )
        for share in (0.01, 0.1)
    ]
    return [*facts, *tops, (f"Gini coefficient of {whose}", gini(counts), "number")]


def _ordinal(share: float) -> str:
    return f"{100 * share:.0f}th"


_PAUSES = f"""
create or replace temp table pauses as
select user_id, pause, sum((pause is null or pause > {SESSION_PAUSE_SECONDS})::int) over (
    partition by user_id order by timestamp rows unbounded preceding) as session
from (
    select user_id, timestamp, epoch(timestamp - lag(timestamp) over (partition by user_id order by timestamp)) as pause
    from log
)
"""


def _pauses(connection: duckdb.DuckDBPyConnection) -> list[Fact]:
    connection.execute(_PAUSES)
    pauses = connection.execute(
        f"""select quantile_cont(pause, 0.1), median(pause), quantile_cont(pause, 0.9),
            avg((pause = 0)::int), avg((pause <= {SESSION_PAUSE_SECONDS})::int) from pauses where pause is not null"""
    ).fetchone()
    sessions = connection.execute(
        """select avg(n), median(n), quantile_cont(n, 0.9), avg((n = 1)::int)
           from (select count(*) as n from pauses group by user_id, session)"""
    ).fetchone()
    minutes = SESSION_PAUSE_SECONDS // 60
    named: Mapping[str, str] = {
        "pause, 10th percentile": "seconds",
        "pause, median": "seconds",
        "pause, 90th percentile": "seconds",
        "pauses of 0 seconds": "share",
        f"pauses of at most {minutes} minutes": "share",
        f"engagements of a session (a pause over {minutes} minutes ends it), mean": "number",
        "engagements of a session, median": "number",
        "engagements of a session, 90th percentile": "number",
        "sessions of one engagement": "share",
    }
    values = (*(pauses or ()), *(sessions or ()))
    return [(name, _number(value), unit) for (name, unit), value in zip(named.items(), values, strict=True)]


_AGED = f"""
create or replace temp table aged as
with item as (select item_id, min(timestamp) as first from log group by item_id),
begun as (select min(timestamp) + interval {WARM_UP_DAYS} day as warm from log)
select
    epoch(log.timestamp - item.first) / 86400 as since_first,
    epoch(log.timestamp - catalog.created_at) / 86400 as since_created
from log join item using (item_id) left join catalog using (item_id), begun where log.timestamp >= begun.warm
"""


def _ages(connection: duckdb.DuckDBPyConnection) -> list[Fact]:
    connection.execute(_AGED)
    facts: list[Fact] = []
    for column, since in (("since_first", "first engagement"), ("since_created", "creation")):
        young = ", ".join(f"avg(({column} < {days})::int)" for days in YOUNG_DAYS)
        row = connection.execute(f"select median({column}), {young} from aged where {column} is not null").fetchone()
        values = [_number(value) for value in row or ()]
        facts.append((f"days since the item's {since}, median", values[0], "days"))
        facts += [
            (f"on items younger than {days} {'day' if days == 1 else 'days'} since {since}", value, "share")
            for days, value in zip(YOUNG_DAYS, values[1:], strict=True)
        ]
    return facts


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _curves(connection: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    """Points of four curves; ages and pauses are of the tables that the facts left behind."""
    items, users = _counts(connection, "item_id"), _counts(connection, "user_id")
    ranks = np.unique(np.geomspace(1, len(items), CURVE_POINTS).round().astype(int))
    levels = np.unique(np.geomspace(1, users[0], CURVE_POINTS).round().astype(int))
    pause = f"floor({PAUSE_BINS} * log10(greatest(pause, 1)))"
    pauses = _binned(connection, "pauses where pause is not null", pause, PAUSE_BINS * PAUSE_DECADES)
    since = f"ceil({AGE_BINS} * log10(greatest(since_first, {FIRST_AGE}) / {FIRST_AGE}))"
    ages = _binned(connection, "aged", since, AGE_BINS * AGE_DECADES)
    drawn = {
        "popularity": (ranks, items[ranks - 1] / items.sum()),
        "activity": (levels, np.searchsorted(-users, -levels, side="right") / len(users)),
        "pauses": (10 ** (np.arange(len(pauses)) / PAUSE_BINS), pauses),
        "age": (FIRST_AGE * 10 ** (np.arange(len(ages)) / AGE_BINS), np.cumsum(ages)),
    }
    return pd.concat([pd.DataFrame({"curve": name, "x": x, "y": y}) for name, (x, y) in drawn.items()])


def _binned(connection: duckdb.DuckDBPyConnection, rows: str, number: str, last: int) -> NDArray[np.float64]:
    """[last + 1] shares of rows by the bin of each; what lies beyond the last bin is in it."""
    found = connection.execute(
        f"select least({number}, {last})::int as bin, count(*) as n from {rows} group by bin"
    ).fetchnumpy()
    shares = np.zeros(last + 1)
    shares[np.asarray(found["bin"], np.int64)] = np.asarray(found["n"], np.float64)
    return shares / max(shares.sum(), 1)
