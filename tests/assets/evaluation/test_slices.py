"""Membership in slices and the tidy metrics, by hand and against a slow loop."""

import numpy as np
import pandas as pd
import pytest

from assets.evaluation.slices import metrics_frame, slice_masks
from assets.schema import METRIC_COLUMNS, CaseSlice
from tests.assets.evaluation.toy import random_ranks, ranks_frame

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
    assert table.set_index(["window", "slice"])["n"].groupby(level=[0, 1]).first()["0", "overall"] == 3


def test_slices_without_cases_have_no_row():
    table = metrics_frame(CASES, ks=(10,), samples=5, seed=0)
    assert set(table.loc[table["window"] == "1", "slice"]) == {"overall", "cold", "all_users", "seen_more"}
    assert not table.isna().any().any()


def test_types_and_keys():
    table = metrics_frame(pd.concat([random_ranks("m"), random_ranks("other", shift=3)]), (5, 10), 10, 0)
    keys = [column for column in METRIC_COLUMNS if column not in ("value", "ci_low", "ci_high", "n")]
    assert not table.duplicated(keys).any()
    assert set(table["window"]) == {"0", "1", "2", "all"}
    assert table["k"].dtype == table["n"].dtype == np.int64
    assert set(zip(table["metric"], table["k"], strict=True)) == {
        *(("hr", k) for k in (5, 10)),
        *(("ndcg", k) for k in (5, 10)),
        ("mrr", 0),
    }
    assert ((table["ci_low"] <= table["value"]) & (table["value"] <= table["ci_high"])).mean() > 0.98


def test_every_run_gets_what_it_would_get_alone():
    both = pd.concat([random_ranks("m"), random_ranks("other", shift=3)])
    together = metrics_frame(both, (10,), 30, seed=4)
    alone = metrics_frame(random_ranks("other", shift=3), (10,), 30, seed=4)
    pd.testing.assert_frame_equal(together[together["model"] == "other"].reset_index(drop=True), alone)
