from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from assets.ingestion.errors import IngestionError
from assets.ingestion.statistics import Statistics, gini, popularity_slope, statistics
from assets.storage import write_parquet

START = pd.Timestamp("2024-01-01")


def _log(rows: list[tuple[str, str, float]]) -> pd.DataFrame:
    """Rows of user, item and days since the start."""
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "days"])
    instants = START + pd.to_timedelta(frame["days"] * 86_400, unit="s").dt.round("s")
    return frame.drop(columns="days").assign(timestamp=instants.astype("datetime64[us]"))


def _random(rows: int = 4_000, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    days = np.sort(rng.uniform(0, 60, rows))
    return _log(list(zip(rng.zipf(1.5, rows).astype(str), rng.zipf(1.4, rows).astype(str), days, strict=True)))


def _described(tmp_path: Path, log: pd.DataFrame, items: pd.DataFrame | None = None) -> Statistics:
    catalog = None if items is None else write_parquet(tmp_path / "items.parquet", items)
    return statistics(write_parquet(tmp_path / "log's.parquet", log), catalog)


def _value(found: Statistics, statistic: str) -> float:
    rows = found.facts[found.facts["statistic"] == statistic]
    assert len(rows) == 1, statistic
    return float(rows["value"].iloc[0])


def test_a_power_law_has_its_exponent_for_a_slope() -> None:
    counts = np.round(1e6 * np.arange(1.0, 2_001) ** -0.8).astype(np.int64)
    slope, fit, last = popularity_slope(counts)
    assert slope == pytest.approx(-0.8, abs=0.001)
    assert fit == pytest.approx(1, abs=1e-4)
    assert last == 2_000


def test_items_with_few_engagements_are_left_out_of_the_slope() -> None:
    counts = np.round(1e3 * np.arange(1.0, 2_001) ** -1.0).astype(np.int64)
    assert popularity_slope(counts)[2] == (counts >= 10).sum()
    assert np.isnan(popularity_slope(np.full(50, 9))).all()
    assert popularity_slope(np.full(50, 10))[:2] == (pytest.approx(0, abs=1e-9), 1.0)


def test_gini_is_0_of_equals_and_near_1_of_one_who_has_all() -> None:
    assert gini(np.full(10, 7)) == pytest.approx(0)
    assert gini(np.array([1, 1, 1, 1_000_000])) == pytest.approx(0.75, abs=1e-3)
    assert gini(np.array([1, 3])) == pytest.approx(0.25)


def test_pauses_and_sessions_by_hand(tmp_path: Path) -> None:
    minute = 1 / 1440
    rows = [("a", str(n), at * minute) for n, at in enumerate([0, 10, 40, 71])]  # 31 minutes end a session
    found = _described(tmp_path, _log([*rows, ("b", "0", 0.0), ("b", "1", 0.0)]))
    assert _value(found, "pause, median") == 20 * 60
    assert _value(found, "pauses of 0 seconds") == 0.25
    assert _value(found, "pauses of at most 30 minutes") == 0.75
    sessions = [name for name in found.facts["statistic"] if name.startswith("engagements of a session (")]
    assert _value(found, sessions[0]) == pytest.approx((3 + 1 + 2) / 3)
    assert _value(found, "sessions of one engagement") == pytest.approx(1 / 3)


def test_ages_by_hand(tmp_path: Path) -> None:
    log = _log([("a", "old", 0.0), ("b", "old", 35.0), ("c", "new", 40.0), ("d", "new", 45.0), ("e", "early", 29.0)])
    items = pd.DataFrame({"item_id": ["old", "new"], "created_at": [pd.NaT, START + pd.Timedelta(39, "D")]})
    found = _described(tmp_path, log, items)
    assert _value(found, "days since the item's first engagement, median") == 5  # of 35, 0 and 5
    assert _value(found, "on items younger than 1 day since first engagement") == pytest.approx(1 / 3)
    assert _value(found, "on items younger than 7 days since first engagement") == pytest.approx(2 / 3)
    assert _value(found, "on items younger than 7 days since creation") == 1
    assert _value(found, "on items younger than 1 day since creation") == 0


def test_what_is_not_known_is_said_so(tmp_path: Path) -> None:
    found = _described(tmp_path, _log([("a", "x", 0.0), ("b", "y", 1.0)]))
    unknown = ["slope of log count over log rank", "pause, median", "days since the item's first engagement, median"]
    assert all(np.isnan(_value(found, name)) for name in unknown)


def test_everything_agrees_with_a_slow_reference(tmp_path: Path) -> None:
    log = _random()
    found = _described(tmp_path, log)
    counts = log["item_id"].value_counts()
    assert _value(found, "engagements, 99th percentile of items") == pytest.approx(counts.quantile(0.99))
    assert _value(found, "share of the top 10% of users") == pytest.approx(
        log["user_id"].value_counts().iloc[: round(0.1 * log["user_id"].nunique())].sum() / len(log)
    )
    pauses = log.sort_values("timestamp").groupby("user_id")["timestamp"].diff().dt.total_seconds().dropna()
    assert _value(found, "pause, 90th percentile") == pytest.approx(pauses.quantile(0.9))
    first = log.groupby("item_id")["timestamp"].transform("min")
    late = log["timestamp"] >= log["timestamp"].min() + pd.Timedelta(30, "D")
    ages = (log["timestamp"] - first)[late].dt.total_seconds() / 86_400
    assert _value(found, "on items younger than 7 days since first engagement") == pytest.approx((ages < 7).mean())
    curves = found.curves.set_index("curve")
    at = curves.loc["age"].iloc[60]
    assert at["y"] == pytest.approx((ages <= at["x"] + 1e-9).mean())
    assert curves.loc["pauses", "y"].sum() == pytest.approx(1)
    assert curves.loc["pauses", "y"].iloc[0] == pytest.approx((pauses < 10 ** (1 / 6)).mean())
    assert curves.loc["activity", "y"].iloc[0] == 1
    assert curves.loc["popularity", "y"].iloc[0] == pytest.approx(counts.iloc[0] / len(log))


def test_part_files_are_one_log(tmp_path: Path) -> None:
    log = _random(500)
    for part in range(2):
        write_parquet(tmp_path / f"part-{part}.parquet", log.iloc[part::2])
    parts = statistics(tmp_path / "part-*.parquet").facts
    pd.testing.assert_frame_equal(parts, _described(tmp_path, log).facts)


def test_nothing_to_describe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IngestionError, match="cannot be read as Parquet"):
        statistics(tmp_path / "absent.parquet")
    with pytest.raises(IngestionError, match="no rows"):
        _described(tmp_path, _log([("a", "x", 0.0)]).iloc[:0])
