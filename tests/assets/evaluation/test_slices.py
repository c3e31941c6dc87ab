"""Membership in slices and the tidy metrics, by hand and against a slow loop."""

import numpy as np
import pandas as pd
import pytest

from assets.evaluation.slices import mean_over_seeds, metrics_frame, seed_means_frame, slice_masks
from assets.evaluation.soundness import unsound_rows
from assets.schema import METRIC_COLUMNS, SEED_MEAN_COLUMNS, CaseSlice
from tests.assets.evaluation.toy import over_seeds, random_ranks, ranks_frame

RUN = ("model", "protocol", "user_history", "item_embeddings")
CASES = ranks_frame(
    [
        # user, window, item slice, seen, has history, above, tied
        ("a", 0, "head", 30, True, 0, 0),
        ("a", 0, "tail", 10, True, 7, 0),
        ("b", 0, "cold", 0, True, 100, 0),
        ("c", 0, "cold", 1, False, 0, 0),
        ("b", 1, "cold", 11, True, 4, 1),
    ]
)


def test_membership_by_hand():
    members = {name.value: np.flatnonzero(mask).tolist() for name, mask in slice_masks(CASES).items()}
    assert members == {
        "overall": [0, 1, 2, 4],
        "head": [0],
        "tail": [1],
        "cold": [2, 4],
        "tail_and_cold": [1, 2, 4],
        "no_history": [3],
        "all_users": [0, 1, 2, 3, 4],
        "seen_0": [2],
        "seen_1_10": [1],
        "seen_more": [0, 4],
    }
    assert set(members) == {name.value for name in CaseSlice}


def test_values_by_hand():
    table = metrics_frame(CASES, ks=(5, 10), samples=20, seed=0)
    assert list(table.columns) == list(METRIC_COLUMNS)
    value = table.set_index(["window", "slice", "metric", "k"])["value"]
    assert value["0", "overall", "hr", 5] == pytest.approx(1 / 3)
    assert value["0", "overall", "hr", 10] == pytest.approx(2 / 3)
    assert value["1", "overall", "hr", 5] == pytest.approx(1 / 2)  # places 5 and 6, half of which are inside
    assert value["all", "overall", "hr", 5] == pytest.approx((1 + 0 + 0 + 0.5) / 4)
    assert value["all", "all_users", "ndcg", 10] == pytest.approx(
        (1 + 1 / np.log2(9) + 0 + 1 + (1 / np.log2(6) + 1 / np.log2(7)) / 2) / 5
    )
    assert value["0", "cold", "mrr", 0] == pytest.approx(1 / 101)
    # Likelihoods 1, 1/8 and 1/101.
    assert value["0", "overall", "nll", 0] == pytest.approx(np.log(8 * 101) / 3)
    assert value["0", "overall", "perplexity", 0] == pytest.approx((8 * 101) ** (1 / 3))
    assert value["0", "overall", "recall", 10] == pytest.approx(2 / 3)
    assert value["0", "overall", "precision", 10] == pytest.approx(2 / 30)
    assert table.set_index(["window", "slice"])["n"].groupby(level=[0, 1]).first()["0", "overall"] == 3


def test_slices_without_cases_have_no_row():
    table = metrics_frame(CASES, ks=(10,), samples=5, seed=0)
    assert set(table.loc[table["window"] == "1", "slice"]) == {
        *("overall", "cold", "tail_and_cold", "all_users", "seen_more")
    }
    assert not table.isna().any().any()


def test_types_and_keys():
    table = metrics_frame(pd.concat([random_ranks("m"), random_ranks("other", shift=3)]), (5, 10), 10, 0)
    keys = [column for column in METRIC_COLUMNS if column not in ("value", "ci_low", "ci_high", "n")]
    assert not table.duplicated(keys).any()
    assert set(table["window"]) == {"0", "1", "2", "all"}
    assert table["k"].dtype == table["n"].dtype == np.int64
    assert set(zip(table["metric"], table["k"], strict=True)) == {
        *((metric, k) for metric in ("hr", "ndcg", "recall", "precision") for k in (5, 10)),
        *((metric, 0) for metric in ("mrr", "nll", "perplexity")),
    }
    assert ((table["ci_low"] <= table["value"]) & (table["value"] <= table["ci_high"])).mean() > 0.98


def test_every_run_gets_what_it_would_get_alone():
    both = pd.concat([random_ranks("m"), random_ranks("other", shift=3)])
    together = metrics_frame(both, (10,), 30, seed=4)
    alone = metrics_frame(random_ranks("other", shift=3), (10,), 30, seed=4)
    pd.testing.assert_frame_equal(together[together["model"] == "other"].reset_index(drop=True), alone)


def test_targets_off_the_catalog_count_for_everything_but_the_likelihood():
    cases = CASES.assign(nll=[np.log(4), np.nan, np.log(16), 0.0, np.nan])
    table = metrics_frame(cases, ks=(10,), samples=30, seed=0).set_index(["window", "slice", "metric"])
    assert table.loc[("0", "overall", "perplexity"), "value"] == pytest.approx(8)
    assert table.loc[("0", "overall", "nll"), "n"] == table.loc[("0", "overall", "perplexity"), "n"] == 2
    assert table.loc[("0", "overall", "hr"), "n"] == 3
    assert ("1", "overall", "hr") in table.index
    assert ("1", "overall", "nll") not in table.index  # none of its targets is on the catalog
    assert ("0", "tail", "perplexity") not in table.index
    assert not table.isna().any().any()


def test_perplexity_has_the_interval_of_its_likelihood():
    table = metrics_frame(random_ranks(), (10,), 50, 0).set_index(["metric", "window", "slice"]).sort_index()
    numbers = ["value", "ci_low", "ci_high"]
    pd.testing.assert_frame_equal(np.exp(table.loc["nll", numbers]), table.loc["perplexity", numbers])
    assert (table.loc["nll", "ci_low"] < table.loc["nll", "ci_high"]).mean() > 0.9


def test_values_over_seeds_by_hand():
    second = CASES.assign(above=[5, 50, 0, 0, 4], nll=CASES["nll"] + 1)
    both = over_seeds(CASES, second)
    per_seed = metrics_frame(both, (5,), 25, 0)
    table = seed_means_frame(both, per_seed, (5,), 25, 0)
    assert list(table.columns) == list(SEED_MEAN_COLUMNS)
    assert (table["seeds"] == 2).all()
    row = table.set_index(["window", "slice", "metric"]).loc[("0", "overall", "hr")]
    # Seed 0 hits the first of three cases, seed 1 the third: each is hit by half of the seeds.
    assert row["value"] == pytest.approx(1 / 3)
    assert row["standard_error"] == pytest.approx(0)
    ahead = table.set_index(["window", "slice", "metric"]).loc[("0", "all_users", "nll")]
    assert ahead["standard_error"] == pytest.approx(np.std([0, 1], ddof=1) / np.sqrt(2))
    group = ("0", "head", "perplexity")
    one, other = per_seed.set_index(["seed", "window", "slice", "metric"])["value"].loc[[(0, *group), (1, *group)]]
    assert other == pytest.approx(np.e * one)
    averaged = table.set_index(["window", "slice", "metric"]).loc[group, "value"]
    assert averaged == pytest.approx(np.sqrt(one * other))  # the geometric mean


def test_intervals_over_seeds_are_those_of_the_averaged_cases():
    runs = random_ranks(), random_ranks(shift=5)
    both = over_seeds(*runs)
    table = seed_means_frame(both, metrics_frame(both, (10,), 40, 0), (10,), 40, 0)
    cases, values = mean_over_seeds(both, [("hr", 10)])
    overall = cases["has_history"].to_numpy()
    assert table.set_index(["window", "slice", "metric"]).loc[("all", "overall", "hr"), "value"] == pytest.approx(
        values[overall].mean()
    )
    wide = metrics_frame(runs[0], (10,), 40, 0).merge(table, on=["window", "slice", "metric", "k"])
    assert (wide["ci_low_x"] != wide["ci_low_y"]).any()


def test_one_seed_has_its_own_numbers_and_no_standard_error():
    both = pd.concat([random_ranks("m"), over_seeds(random_ranks("n"), random_ranks("n", shift=1))])
    per_seed = metrics_frame(both, (10,), 20, 3)
    table = seed_means_frame(both, per_seed, (10,), 20, 3)
    alone = table[table["model"] == "m"].reset_index(drop=True)
    numbers = ["window", "slice", "metric", "k", "value", "ci_low", "ci_high", "n"]
    pd.testing.assert_frame_equal(alone[numbers], per_seed[per_seed["model"] == "m"].reset_index(drop=True)[numbers])
    assert alone["standard_error"].isna().all()
    assert table.groupby("model")["seeds"].first().to_dict() == {"m": 1, "n": 2}


def test_seeds_of_other_cases_are_refused():
    with pytest.raises(ValueError, match="not ranked on the same cases"):
        mean_over_seeds(over_seeds(random_ranks(), random_ranks(cases=399)), [("hr", 10)])


def with_lists(ranks: pd.DataFrame, lists: list[list[int]], frequency: list[float], catalog: list[int]) -> pd.DataFrame:
    columns = {f"listed_{place}": [row[place] for row in lists] for place in range(len(lists[0]))}
    return ranks.assign(**columns, list_train_frequency=frequency, catalog=catalog)


LISTS = [[0, 1], [1, 2], [0, 2], [7, 8], [0, -1]]
FREQUENCY = [4.0, 3.0, 2.0, 100.0, 6.0]


def test_coverage_and_train_frequency_by_hand():
    ranks = with_lists(CASES, LISTS, FREQUENCY, [8, 8, 10, 10, 20])
    table = metrics_frame(ranks, (10,), 20, 0).set_index(["metric", "window", "slice"]).sort_index()
    covered = table.loc["coverage"]
    assert set(covered["k"]) == {2}
    # Case 3, of a user without history, is listed by the fallback and counts for all users only.
    assert covered["value"].to_dict() == {
        ("0", "overall"): 3 / 10,
        ("0", "all_users"): 5 / 10,
        ("1", "overall"): 1 / 20,
        ("1", "all_users"): 1 / 20,
        ("all", "overall"): 3 / 20,
        ("all", "all_users"): 5 / 20,
    }
    assert covered[["ci_low", "ci_high"]].isna().all().all()
    assert table.loc[("train_frequency", "0", "overall"), "value"] == 3
    assert table.loc[("train_frequency", "all", "all_users"), "value"] == np.mean(FREQUENCY)
    assert unsound_rows(table.reset_index().assign(dataset="", seed=0, **dict.fromkeys(RUN, ""))).empty


def test_coverage_over_seeds_is_the_mean_of_theirs():
    one = with_lists(CASES, LISTS, FREQUENCY, [20] * 5)
    other = with_lists(CASES, [[0, 0]] * 5, FREQUENCY, [20] * 5)
    both = over_seeds(one, other)
    table = seed_means_frame(both, metrics_frame(both, (10,), 5, 0), (10,), 5, 0)
    row = table.set_index(["metric", "window", "slice"]).loc[("coverage", "all", "overall")]
    assert row["value"] == pytest.approx((3 / 20 + 1 / 20) / 2)
    assert row["standard_error"] == pytest.approx((3 / 20 - 1 / 20) / 2)


def test_runs_without_lists_have_no_metrics_of_them():
    without = with_lists(CASES, [[-1, -1]] * 5, [np.nan] * 5, [20] * 5)
    assert not {"coverage", "train_frequency"} & set(metrics_frame(without, (10,), 5, 0)["metric"])
