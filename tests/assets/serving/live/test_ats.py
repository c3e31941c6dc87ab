"""Action-to-serving latency: percentiles over engagements, hops that add up, first times that stay."""

import numpy as np
import pandas as pd
import pytest

from assets.serving.live import ats

SECOND = 1_000_000
T = 1_577_836_800 * SECOND  # 2020-01-01, microseconds


def batch(digest: str, partition: str, engagements: int, *stations: float, kind: str = "engagements") -> dict:
    """A batch whose stations were reached so many seconds after T; those not named were not reached."""
    reached = [T + second * SECOND for second in stations] + [np.nan] * (len(ats.STATIONS) - len(stations))
    return {
        "digest": digest,
        "partition": partition,
        "kind": kind,
        "engagements": engagements,
        **dict(zip(ats.STATIONS, reached, strict=True)),
    }


def seconds(*values: float) -> np.ndarray:
    return np.array([T + value * SECOND for value in values], np.int64)


def test_hops_of_a_batch_by_hand() -> None:
    batches = pd.DataFrame([batch("a", "2020-01-01", 4, 10, 11, 13, 16, 20, 25)])
    found = ats.samples(batches, {"a": seconds(2, 6)}, from_landing=False)
    assert found["weight"].tolist() == [2, 2]
    assert found["produced"].tolist() == [8, 4]
    for hop, expected in {"seen": 1, "features": 2, "embedded": 3, "indexed": 4, "queried": 5}.items():
        assert found[hop].tolist() == [expected, expected], hop
    assert found["searchable"].tolist() == [18, 14]
    assert found["served"].tolist() == [23, 19]


def test_hops_add_up_to_the_totals() -> None:
    batches = pd.DataFrame([batch("a", "p", 3, 10, 11, 13, 16, 20, 25), batch("b", "p", 7, 1, 3, 4, 4, 5, 5)])
    for from_landing in (False, True):
        found = ats.samples(batches, {"a": seconds(2, 6), "b": seconds(0)}, from_landing=from_landing).fillna(0.0)
        hops = list(ats.HOPS)
        np.testing.assert_allclose(found[hops].sum(axis=1), found["served"])
        np.testing.assert_allclose(found[hops[:-1]].sum(axis=1), found["searchable"])


def test_a_replay_starts_with_the_landing() -> None:
    batches = pd.DataFrame([batch("a", "p", 2, 10, 11, 13, 16, 20)])
    found = ats.samples(batches, {"a": seconds(-9e8)}, from_landing=True)
    assert found["searchable"].tolist() == [10]
    assert found["produced"].isna().all()


def test_quantiles_are_those_of_every_engagement_listed() -> None:
    generator = np.random.default_rng(0)
    batches, listed = [], []
    for number in range(40):
        count, wait = int(generator.integers(1, 30)), float(generator.integers(1, 1000))
        batches.append(batch(f"d{number}", "p", count, 0, 0, 0, 0, wait))
        listed += [wait] * count
    table = ats.report(ats.samples(pd.DataFrame(batches), {}, from_landing=False))
    for name, level in ats.QUANTILES.items():
        assert ats.value(table, "p", "searchable", name) == np.quantile(listed, level, method="inverted_cdf")
    assert ats.value(table, "p", "searchable", "mean") == pytest.approx(np.mean(listed))
    assert ats.value(table, "p", "searchable", "engagements") == len(listed)


def test_a_large_batch_outweighs_many_small_ones() -> None:
    small = [batch(f"s{number}", "p", 1, 0, 0, 0, 0, 1) for number in range(9)]
    batches = pd.DataFrame([*small, batch("large", "p", 1000, 0, 0, 0, 0, 50)])
    table = ats.report(ats.samples(batches, {}, from_landing=True))
    assert ats.value(table, "p", "searchable", "p50") == 50


def test_what_is_not_there_yet_waits_and_is_in_no_quantile() -> None:
    batches = pd.DataFrame([batch("a", "p", 3, 0, 1, 2, 3, 4), batch("b", "p", 5, 0, 1, 2)])
    table = ats.report(ats.samples(batches, {}, from_landing=True))
    assert ats.value(table, "p", "searchable", "engagements") == 3
    assert ats.value(table, "p", "searchable", "waiting") == 5
    assert ats.value(table, "p", "searchable", "p99") == 4
    assert ats.value(table, "p", "features", "engagements") == 8
    assert np.isnan(ats.value(table, "p", "served", "p50"))
    assert ats.value(table, "p", "served", "waiting") == 8


def test_groups_are_partitions_in_order_all_and_new_items() -> None:
    batches = pd.DataFrame(
        [
            batch("c", "2020-01-02", 1, 0, 0, 0, 0, 7),
            batch("i", "2020-01-02", 9, 0, 0, 0, 0, 99, kind="items"),
            batch("a", "2020-01-01", 1, 0, 0, 0, 0, 3),
        ]
    )
    table = ats.report(ats.samples(batches, {}, from_landing=True))
    assert list(dict.fromkeys(table["group"])) == ["2020-01-01", "2020-01-02", ats.ALL, ats.NEW_ITEMS]
    assert ats.value(table, ats.ALL, "searchable", "p99") == 7
    assert ats.value(table, ats.NEW_ITEMS, "searchable", "p50") == 99


def test_a_batch_that_applied_nothing_counts_for_nothing() -> None:
    batches = pd.DataFrame([batch("a", "p", 0, 0, 0, 0, 0, 1000), batch("b", "p", 1, 0, 0, 0, 0, 1)])
    table = ats.report(ats.samples(batches, {}, from_landing=True))
    assert ats.value(table, "p", "searchable", "p99") == 1
    assert ats.report(ats.samples(pd.DataFrame(batches.iloc[:1]), {}, from_landing=True)).empty


def test_nothing_landed() -> None:
    empty = pd.DataFrame([batch("a", "p", 1, 0)]).iloc[:0]
    table = ats.report(ats.samples(empty, {}, from_landing=True))
    assert table.empty
    assert ats.markdown(table) == "nothing landed yet"
    assert np.isnan(ats.value(table, ats.ALL, "searchable", "p95"))


def test_first_query_is_the_first_one_of_any_service_that_had_the_delta_or_a_later_one() -> None:
    queries = pd.DataFrame({"seq": [4.0, 2.0, 3.0, 5.0], "first_query_at": [40.0, 70.0, 90.0, np.nan]})
    sequence = np.array([1.0, 2.0, 3.0, 4.0, 5.0, np.nan])
    np.testing.assert_array_equal(ats.first_queries(sequence, queries), [40, 40, 40, 40, np.nan, np.nan])
    none = pd.DataFrame({"seq": [], "first_query_at": []}, dtype=np.float64)
    assert np.isnan(ats.first_queries(sequence, none)).all()


def test_first_times_are_kept_when_a_batch_is_applied_again() -> None:
    known = pd.DataFrame([batch("a", "p", 3, 0, 1, 2, 3, 4), batch("gone", "p", 1, 0)])
    again = pd.DataFrame([batch("a", "p", 3, 0, 1, 900, 901, 902, 950), batch("b", "p", 1, 5, 6, 7)])
    found = ats.first_times(again, known).set_index("digest")
    assert found.index.tolist() == ["a", "b"]
    kept = [T + value * SECOND for value in (0, 1, 2, 3, 4, 950)]
    assert found.loc["a", list(ats.STATIONS)].tolist() == kept
    assert found.loc["b", "features_at"] == T + 7 * SECOND
    assert np.isnan(found.loc["b", "indexed_at"])


def test_the_same_file_landed_anew_is_another_landing() -> None:
    known = pd.DataFrame([batch("a", "p", 3, 0, 1, 2, 3, 4)])
    later = pd.DataFrame([batch("a", "p", 3, 100, 101, 102)])
    assert ats.first_times(later, known)["features_at"].tolist() == [T + 102 * SECOND]


def test_the_table_names_partitions_totals_and_hops() -> None:
    batches = pd.DataFrame([batch("a", "2020-01-01", 3, 0, 1, 2, 3, 4.5)])
    text = ats.markdown(ats.report(ats.samples(batches, {}, from_landing=True)))
    assert "2020-01-01" in text
    assert "searchable p95" in text
    assert "4.50" in text
    assert "| -" in text  # no query yet
