import subprocess
import sys
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from assets.config import PROJECT_ROOT
from assets.ingestion.datasets.simulated import DATASET
from assets.ingestion.digest import content_digest
from assets.ingestion.errors import IngestionError
from assets.ingestion.simulation.days import simulate
from assets.ingestion.simulation.options import SimulatedOptions
from assets.ingestion.simulation.world import make_world
from assets.ingestion.tables import RawTables
from tests.assets.ingestion.layouts import NOW

SMALL = SimulatedOptions(users=60, items=80, days=20, engagements=900)
DIGEST = """
from datetime import datetime
from pathlib import Path
from assets.ingestion.datasets.simulated import SimulatedOptions, read
from assets.ingestion.digest import content_digest
options = SimulatedOptions(users=60, items=80, days=20, engagements=900)
print(content_digest(read(Path(), options, datetime(2025, 1, 1)).named))
"""


def _read(options: SimulatedOptions) -> RawTables:
    return DATASET.read(Path(), options, NOW)


@pytest.fixture(scope="module")
def default() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    raw = _read(SimulatedOptions())
    return raw.interactions.to_pandas(), raw.items.to_pandas(), raw.users.to_pandas()


def test_two_processes_give_the_same_content() -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", DIGEST], check=True, capture_output=True, text=True, cwd=PROJECT_ROOT
        ).stdout.strip()
        for _ in range(2)
    }
    assert digests == {content_digest(_read(SMALL).named)}


def test_another_seed_gives_another_stream() -> None:
    other = SMALL.model_copy(update={"seed": 1})
    assert content_digest(_read(SMALL).named) != content_digest(_read(other).named)


def test_a_prefix_of_days_does_not_depend_on_the_rest() -> None:
    scale = SMALL.scale
    world = make_world(scale)
    whole, stream = list(simulate(scale, world)), simulate(scale, world)
    for expected in whole[:3]:
        np.testing.assert_array_equal(next(stream).items, expected.items)


def test_default_size(default: tuple[pd.DataFrame, ...]) -> None:
    interactions, items, users = default
    assert 58_000 <= len(interactions) <= 60_000
    assert (len(items), len(users)) == (2_500, 3_000)
    assert (interactions["timestamp"].max() - interactions["timestamp"].min()).days == 119


def test_nobody_engages_before_an_items_birth(default: tuple[pd.DataFrame, ...]) -> None:
    interactions, items, _ = default
    born = interactions["item_id"].map(items.set_index("item_id")["created_at"])
    assert (interactions["timestamp"] >= born).all()
    same_day = interactions["timestamp"].dt.normalize() == born.dt.normalize()
    assert same_day.any(), "some items are engaged with on the day they are born"


def test_births_go_on_over_the_whole_time(default: tuple[pd.DataFrame, ...]) -> None:
    created = default[1]["created_at"]
    new = created[created >= pd.Timestamp("2024-01-01")]
    per_quarter = new.groupby((new - pd.Timestamp("2024-01-01")).dt.days // 30).size()
    assert 0.25 <= len(new) / len(created) <= 0.35
    assert (per_quarter > 100).all()
    assert len(per_quarter) == 4


def test_popularity_has_a_long_tail(default: tuple[pd.DataFrame, ...]) -> None:
    counts = default[0]["item_id"].value_counts()
    assert 0.3 <= counts.head(len(counts) // 20).sum() / counts.sum() <= 0.6, "top 5 % of the items"
    assert counts.median() < counts.mean() / 1.5


def test_popularity_rises_and_fades(default: tuple[pd.DataFrame, ...]) -> None:
    interactions, items, _ = default
    born = interactions["item_id"].map(items.set_index("item_id")["created_at"])
    new = (born >= pd.Timestamp("2024-01-01")) & (born < pd.Timestamp("2024-02-01"))
    age = (interactions["timestamp"] - born).dt.days[new]
    first, second, last = (int(age.between(start, start + 9).sum()) for start in (0, 15, 75))
    assert first < second > 1.3 * last


def test_new_and_rare_items_matter_in_the_second_half(default: tuple[pd.DataFrame, ...]) -> None:
    interactions = default[0]
    cutoff = interactions["timestamp"].sort_values().iloc[(len(interactions) - 1) // 2]
    train = interactions.loc[interactions["timestamp"] < cutoff, "item_id"].value_counts()
    test_counts = interactions.loc[interactions["timestamp"] >= cutoff, "item_id"].map(train).fillna(0)
    assert 0.2 <= (test_counts <= 10).mean() <= 0.45
    assert (test_counts == 0).mean() >= 0.1


def test_no_user_repeats_an_item(default: tuple[pd.DataFrame, ...]) -> None:
    assert not default[0].duplicated(["user_id", "item_id"]).any()


def test_rows_are_in_order_of_time(default: tuple[pd.DataFrame, ...]) -> None:
    interactions = default[0]
    assert interactions["timestamp"].is_monotonic_increasing
    assert (interactions["source_row"] == np.arange(1, len(interactions) + 1)).all()


def test_a_taste_group_shows_in_its_features(default: tuple[pd.DataFrame, ...]) -> None:
    interactions, items, users = default
    genre = interactions["item_id"].map(items.set_index("item_id")["genre"].str[0])
    age = interactions["user_id"].map(users.set_index("user_id")["age"].str[0])
    shares = pd.crosstab(age, genre, normalize="index")
    assert (shares.max() / shares.min()).max() > 1.5, "some genre is liked by one age much more than by another"


def test_drift_changes_what_is_liked() -> None:
    still, moving = (
        _genre_change(SMALL.model_copy(update={"drift": drift, "engagements": 6_000, "users": 600, "items": 400}))
        for drift in (0.0, 0.5)
    )
    assert moving > 1.5 * still


def _genre_change(options: SimulatedOptions) -> float:
    raw = _read(options)
    genre = raw.items.to_pandas().set_index("item_id")["genre"].str[0]
    liked = raw.interactions.to_pandas()["item_id"].map(genre)
    third = len(liked) // 3
    first, last = (part.value_counts(normalize=True) for part in (liked[:third], liked[-third:]))
    return float(first.sub(last, fill_value=0).abs().sum())


def test_a_user_who_has_seen_everything_gets_nothing_more() -> None:
    options = SimulatedOptions(users=2, items=3, days=4, engagements=100, topics=1, authors=1)
    pairs = _read(options).interactions.to_pandas()[["user_id", "item_id"]]
    assert not pairs.duplicated().any()
    assert len(pairs) <= 6


def test_the_future_is_refused() -> None:
    with pytest.raises(IngestionError, match="ends on 2025-05-01, in the future; set an earlier start"):
        _read(SimulatedOptions(start=date(2025, 1, 1)))


def test_unknown_options_are_rejected() -> None:
    with pytest.raises(ValidationError, match="user_count"):
        SimulatedOptions(user_count=3)  # type: ignore[call-arg]


def test_start_is_the_first_day() -> None:
    first = _read(SMALL.model_copy(update={"start": date(2020, 2, 3)})).interactions["timestamp"][0].as_py()
    assert datetime(2020, 2, 3) <= first < datetime(2020, 2, 4)


def test_a_shift_changes_nothing_before_its_day_and_what_is_popular_after_it() -> None:
    calm = SimulatedOptions(
        users=400, items=200, days=40, engagements=16_000, drift=0.0, catalog_share=1.0, lifetime_days=1e6
    )
    shaken = calm.model_copy(update={"shift_day": 20, "shift_size": 1.0})
    one, other = (_read(options).interactions.to_pandas() for options in (calm, shaken))
    shift = pd.Timestamp(calm.start) + pd.Timedelta(20, "D")
    pd.testing.assert_frame_equal(
        one[one["timestamp"] < shift].reset_index(drop=True), other[other["timestamp"] < shift].reset_index(drop=True)
    )

    def rank_correlation(rows: pd.DataFrame) -> float:
        early, late = (
            rows[mask]["item_id"].value_counts() for mask in (rows["timestamp"] < shift, rows["timestamp"] >= shift)
        )
        return (
            early.reindex(late.index.union(early.index), fill_value=0)
            .rank()
            .corr(late.reindex(late.index.union(early.index), fill_value=0).rank())
        )

    assert rank_correlation(one) > 0.8
    assert rank_correlation(other) < 0.4


def test_a_shift_after_the_end_is_refused() -> None:
    with pytest.raises(ValidationError, match="shift_day 20 is not among the 20 days"):
        SimulatedOptions(days=20, shift_day=20)


def test_everybody_may_be_there_from_the_first_day() -> None:
    joined = [make_world(SMALL.model_copy(update={"joined_share": share}).scale).joined for share in (0.0, 0.5, 1.0)]
    assert [float((days == 0).mean()) < limit for days, limit in zip(joined, (0.3, 0.9, 2.0), strict=True)] == [
        True
    ] * 3
    assert not joined[2].any()
