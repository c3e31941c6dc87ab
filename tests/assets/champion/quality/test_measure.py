"""Landed partitions measured with frozen weights: cases, ranks, tables, and nothing from the future."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from assets.champion.quality import files
from assets.champion.quality.contenders import CHAMPION, FLOOR, draw_cases, open_contest, rank
from assets.champion.quality.measure import headline, measure_partitions, measure_span
from assets.champion.quality.spans import span_of
from assets.config import AlertConfig, QualityConfig, RetrainingConfig
from assets.evaluation.slices import metric_values
from assets.schema import Columns
from assets.serving.live.build import renew
from tests.assets.serving.live.conftest import NOW, Live

LANDED = "2024-03-07"
ROWS = [
    ("u01", "i03", "2024-03-07T01:00:00"),
    ("u01", "brand new", "2024-03-07T02:00:00"),
    ("u02", "brand new", "2024-03-07T03:00:00"),
    ("u02", "brand new", "2024-03-07T04:00:00"),
    ("stranger", "i05", "2024-03-07T05:00:00"),
]
IN_BASE = ["2024-03-04", "2024-03-05", "2024-03-06"]


def landed(live: Live) -> Live:
    live.land(ROWS)
    live.process()
    return live


def contest_of(live: Live):
    with live.opened() as opened:
        return open_contest(opened, live.settings)


def checkpoint_of(live: Live) -> str:
    with live.opened() as opened:
        return opened.model.digest


def test_a_landed_partition_and_the_reference_days_are_measured(live: Live) -> None:
    measured = measure_partitions(landed(live).storage, live.settings, [LANDED])
    assert [account.partition for account in measured.accounts] == [*IN_BASE, LANDED]
    new = measured.accounts[-1]
    # u01's i03 is a repeat if u01 had it before; the second "brand new" of u02 is one.
    contest = contest_of(live)
    expected = contest.cases[contest.cases[Columns.TIMESTAMP] >= "2024-03-07"]
    assert new.cases == new.ranked == len(expected)
    assert list(expected[Columns.ITEM]).count("brand new") == 2
    held = files.read_table(live.storage, "quality")
    assert set(held["partition"]) == {*IN_BASE, LANDED}
    assert set(held["contender"]) == {CHAMPION, FLOOR}
    assert list(held.columns) == list(files.QUALITY_COLUMNS)
    assert held["starts_at"].is_monotonic_increasing
    assert set(held["metric"]) == {"hr", "ndcg", "mrr", "perplexity", "coverage", "train_frequency"}
    cold = held[(held["partition"] == LANDED) & (held["slice"] == "no_history") & (held["metric"] == "hr")]
    assert list(cold["n"]) == [1, 1]  # the stranger's


def test_values_are_those_of_the_ranks(live: Live) -> None:
    measured = measure_partitions(landed(live).storage, live.settings, [LANDED])
    ranks = files.read_ranks(live.storage, measured.checkpoint, "2024-03-05")
    table = files.read_table(live.storage, "quality")
    for contender in (CHAMPION, FLOOR):
        known = ranks[(ranks["contender"] == contender) & ranks["has_history"]]
        row = table[
            (table["partition"] == "2024-03-05")
            & (table["contender"] == contender)
            & (table["metric"] == "ndcg")
            & (table["slice"] == "overall")
        ].iloc[0]
        assert row["value"] == pytest.approx(metric_values(known, [("ndcg", 10)]).mean(), abs=1e-12)
        assert row["ci_low"] <= row["value"] <= row["ci_high"]
        assert row["n"] == len(known)
    numbers = headline(measured, "2024-03-05")
    assert {"champion_ndcg@10", "floor_hr@10", "coverage", "mean_distance"} <= set(numbers)


def test_lists_are_ids_with_ages(live: Live) -> None:
    measured = measure_partitions(landed(live).storage, live.settings, [LANDED])
    ranks = files.read_ranks(live.storage, measured.checkpoint, LANDED)
    contest = contest_of(live)
    available = dict(zip(contest.tables.catalog.item_ids, contest.tables.catalog.available_at, strict=True))
    for row in ranks.itertuples():
        assert len(set(row.list_items)) == len(row.list_items) == 10
        assert set(row.list_items) <= set(available)
        expected = [(row.timestamp - pd.Timestamp(available[item])).total_seconds() / 86400 for item in row.list_items]
        np.testing.assert_allclose(row.list_age_days, expected, rtol=1e-5, atol=1e-5)
        hit = row.item_id in set(row.list_items)
        assert hit == (row.above + row.tied < 10) or row.tied > 0
    assert contest.checkpoint == measured.checkpoint


def test_measuring_again_replaces_and_measures_nothing_else(live: Live) -> None:
    first = measure_partitions(landed(live).storage, live.settings, [LANDED])
    before = {table: files.read_table(live.storage, table) for table in files.TABLES}
    again = measure_partitions(live.storage, live.settings, [LANDED])
    assert [account.partition for account in again.accounts] == [LANDED]
    assert again.accounts[0] == first.accounts[-1]
    for table in files.TABLES:
        pd.testing.assert_frame_equal(files.read_table(live.storage, table), before[table])


def test_a_day_of_the_alert_that_got_other_cases_is_measured_again(live: Live) -> None:
    measure_partitions(landed(live).storage, live.settings, [LANDED])
    live.land([("late", "i05", "2024-03-05T12:00:00")])
    live.process()
    again = measure_partitions(live.storage, live.settings, [LANDED])
    assert [account.partition for account in again.accounts] == ["2024-03-05", LANDED]
    ranks = files.read_ranks(live.storage, again.checkpoint, "2024-03-05")
    assert "late" in set(ranks[Columns.USER])


def test_hours_are_measured_by_hours(live: Live) -> None:
    freshness = live.settings.freshness.model_copy(update={"partition": "hour"})
    one_day = RetrainingConfig(alert=AlertConfig(reference_days=1, recent_days=0.5))
    hourly = live.settings.model_copy(update={"freshness": freshness, "retraining": one_day})
    measured = measure_partitions(landed(live).storage, hourly, ["2024-03-07-02"])
    names = [account.partition for account in measured.accounts]
    assert "2024-03-07-02" in names
    assert all(len(name) == len("2024-03-07-02") for name in names)
    days = measure_partitions(live.storage, live.settings, IN_BASE)
    of_hours = sum(account.cases for account in measured.accounts if account.partition < "2024-03-05")
    assert of_hours == days.accounts[0].cases
    assert days.accounts[0].partition == "2024-03-04"


def test_a_partition_before_the_cutoff_or_without_engagements_has_no_rows(live: Live) -> None:
    measured = measure_partitions(landed(live).storage, live.settings, ["2024-03-02", "2024-03-20"])
    assert measured.without_cases == ["2024-03-02", "2024-03-20"]
    for table in files.TABLES:
        assert not set(files.read_table(live.storage, table)["partition"]) & {"2024-03-02", "2024-03-20"}
    assert headline(measured, "2024-03-02") == {}


def test_at_most_so_many_cases_are_drawn_the_same_every_time(live: Live) -> None:
    few = live.settings.model_copy(update={"quality": QualityConfig(max_cases=7, lists=5, items=4)})
    measured = measure_partitions(landed(live).storage, few, [LANDED])
    account = next(one for one in measured.accounts if one.partition == "2024-03-05")
    assert account.ranked == 7 < account.cases
    contest = contest_of(live)
    draws = [draw_cases(contest, span_of("2024-03-05"), 7, seed).labels for seed in (0, 0, 1)]
    pd.testing.assert_frame_equal(draws[0], draws[1])
    assert not draws[0].equals(draws[2])
    row = measured.predictions.set_index("partition").loc["2024-03-05"]
    assert row["lists"] <= 5
    assert measured.embeddings.set_index("partition").loc["2024-03-05", "items"] == 4


def test_nothing_after_a_case_changes_its_rank(live: Live) -> None:
    """With everything after a day removed, or another future in its place, the day's ranks stay as they are."""
    contest = contest_of(landed(live))
    day = span_of("2024-03-05")
    expected = rank(contest, draw_cases(contest, day, 1000, 0))
    live.land([(f"u{at % 15:02d}", f"i{at % 9:02d}", f"2024-03-07T1{at % 10}:30:00") for at in range(60)])
    live.process()
    other = contest_of(live)
    assert len(other.cases) > len(contest.cases)
    found = rank(other, draw_cases(other, day, 1000, 0))
    for contender, frame in expected.items():
        compared = ["above", "tied", "has_history", "catalog", Columns.USER, Columns.ITEM]
        pd.testing.assert_frame_equal(found[contender][compared], frame[compared])
        np.testing.assert_allclose(found[contender]["nll"], frame["nll"], atol=1e-4)


def test_what_happened_before_a_case_does_change_ranks(live: Live) -> None:
    """The other way round, so that the test above can fail."""
    contest = contest_of(landed(live))
    day = span_of("2024-03-06")
    expected = rank(contest, draw_cases(contest, day, 1000, 0))
    live.land([(f"new{at}", "i05", "2024-03-05T12:00:00") for at in range(40)])
    live.process()
    other = contest_of(live)
    found = rank(other, draw_cases(other, day, 1000, 0))
    assert not found[FLOOR]["above"].equals(expected[FLOOR]["above"])


def test_removed_users_are_measured_no_more(live: Live) -> None:
    measure_partitions(landed(live).storage, live.settings, [LANDED])
    gone = {"users": ["u02", "stranger"], "items": []}
    (live.storage.live / "removed.json").write_text(json.dumps(gone))
    live.process()
    again = measure_partitions(live.storage, live.settings, [LANDED])
    for account in again.accounts:
        ranks = files.read_ranks(live.storage, again.checkpoint, account.partition)
        assert not set(ranks[Columns.USER]) & {"u02", "stranger"}
    assert LANDED in {account.partition for account in again.accounts}


def test_when_all_of_a_partition_is_gone_so_are_its_rows(live: Live) -> None:
    live.land([("solo", "i05", "2024-03-09T05:00:00")])
    live.process()
    first = measure_partitions(live.storage, live.settings, ["2024-03-09"])
    assert first.accounts[-1].partition == "2024-03-09"
    assert files.ranks_path(live.storage, first.checkpoint, "2024-03-09").exists()
    (live.storage.live / "removed.json").write_text(json.dumps({"users": ["solo"], "items": []}))
    live.process()
    again = measure_partitions(live.storage, live.settings, ["2024-03-09"])
    assert again.without_cases == ["2024-03-09"]
    assert not files.ranks_path(live.storage, first.checkpoint, "2024-03-09").exists()
    assert "2024-03-09" not in set(files.read_table(live.storage, "quality")["partition"])


def test_one_user_has_intervals_without_width_and_no_list_of_the_model(live: Live) -> None:
    live.land([("solo", "i05", "2024-03-09T05:00:00")])
    live.process()
    measured = measure_partitions(live.storage, live.settings, ["2024-03-09"])
    rows = measured.quality[measured.quality["partition"] == "2024-03-09"]
    assert set(rows["slice"]) == {"no_history", "all_users"}  # nothing is known of the user
    hits = rows[rows["metric"] == "hr"]
    assert (hits["ci_low"] == hits["value"]).all()
    assert (hits["ci_high"] == hits["value"]).all()
    assert "2024-03-09" not in set(measured.predictions["partition"])
    assert "2024-03-09" in set(measured.embeddings["partition"])


def test_a_counting_champion_is_measured_and_has_no_embeddings(unbuilt: Live) -> None:
    renew(unbuilt.storage, unbuilt.settings, unbuilt.tables, "decayed_popularity", 0, NOW)
    measured = measure_partitions(landed(unbuilt).storage, unbuilt.settings, [LANDED])
    assert measured.model == "decayed_popularity"
    assert len(measured.quality)
    assert len(measured.predictions)
    assert measured.embeddings.empty
    assert files.read_table(unbuilt.storage, "embeddings").empty


def test_scores_are_the_models_own(live: Live) -> None:
    contest = contest_of(landed(live))
    part = measure_span(contest, live.settings, span_of("2024-03-05"))
    assert part is not None
    row = part.predictions[0]
    assert row["score_p10"] <= row["score_p50"] <= row["score_p90"]
    assert len(row["scores"]) == 10 * row["lists"]
    # A champion whose item vectors are twice as long scores twice as high.
    doubled = replace(contest, champion=Doubled(contest.champion))
    twice = measure_span(doubled, live.settings, span_of("2024-03-05"))
    assert twice is not None
    assert twice.predictions[0]["score_p50"] == pytest.approx(2 * row["score_p50"], rel=1e-4)
    assert twice.predictions[0]["coverage"] == row["coverage"]


def test_coverage_and_popularity_of_lists(live: Live) -> None:
    contest = contest_of(landed(live))
    part = measure_span(contest, live.settings, span_of("2024-03-05"))
    assert part is not None
    shown = part.ranks[(part.ranks["contender"] == CHAMPION) & part.ranks["has_history"]]
    listed = [item for items in shown["list_items"] for item in items]
    trained = contest.tables.catalog.frame.set_index(Columns.ITEM)[Columns.TRAIN_COUNT]
    row = part.predictions[0]
    assert row["coverage"] == pytest.approx(len(set(listed)) / shown["catalog"].max())
    assert row["mean_popularity"] == pytest.approx(np.log1p(trained.loc[listed]).mean())


class Doubled:
    """A recommender with item vectors of twice the length."""

    def __init__(self, inner) -> None:
        self.inner = inner
        self.history_length = inner.history_length

    def at(self, instant):
        return 2 * self.inner.at(instant)

    def item_vectors(self, known, instant):
        return 2 * self.inner.item_vectors(known, instant)

    def user_vectors(self, queries, items):
        return self.inner.user_vectors(queries, items / 2)


def test_ranks_of_champions_that_cannot_come_back_are_removed(live: Live) -> None:
    measure_partitions(landed(live).storage, live.settings, [LANDED])
    former = checkpoint_of(live)
    stray = live.storage.champion / "ranks" / "0123456789ab" / f"{LANDED}.parquet"
    stray.parent.mkdir()
    stray.touch()
    renew(live.storage, live.settings, live.tables, "decayed_popularity", 0, NOW + 10)
    measured = measure_partitions(live.storage, live.settings, [LANDED])
    folders = {path.name for path in (live.storage.champion / "ranks").iterdir()}
    assert folders == {former[: files.SHORT], measured.checkpoint[: files.SHORT]}  # the former one may come back
    assert set(files.read_table(live.storage, "quality")["checkpoint"]) == folders
