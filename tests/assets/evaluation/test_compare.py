"""Paired differences and windows against the first."""

import numpy as np
import pytest

from assets.evaluation.compare import paired_difference, relative_to_first_window
from tests.assets.evaluation.toy import over_seeds, random_ranks, ranks_frame

HR = ("hr", 10)


def test_a_model_that_is_always_a_little_better_beats():
    better, worse = random_ranks("a", shift=0), random_ranks("b", shift=2)
    assert paired_difference(better, worse, HR, 200, 0).verdict == "beats"
    assert paired_difference(worse, better, HR, 200, 0).verdict == "loses to"


def test_a_model_against_itself_is_not_distinguishable():
    difference = paired_difference(random_ranks("a"), random_ranks("b"), HR, 50, 0)
    assert (difference.value, difference.ci_low, difference.ci_high) == (0, 0, 0)
    assert difference.verdict == "not distinguishable from"


def test_noise_is_not_distinguishable():
    left = random_ranks("a")
    right = left.assign(above=np.random.default_rng(1).permutation(left["above"]))
    difference = paired_difference(left, right, HR, 200, 0)
    assert difference.ci_low < 0 < difference.ci_high
    assert difference.verdict == "not distinguishable from"


def test_value_is_the_difference_of_means_over_users_with_history():
    left = ranks_frame(
        [("a", 0, "head", 1, True, 0, 0), ("b", 0, "head", 1, True, 99, 0), ("c", 0, "head", 1, False, 0, 0)]
    )
    right = left.assign(above=[99, 99, 99])
    assert paired_difference(left, right, HR, 20, 0).value == pytest.approx(1 / 2)


def test_order_of_rows_does_not_matter():
    left, right = random_ranks("a"), random_ranks("b", shift=1)
    expected = paired_difference(left, right, HR, 30, 0)
    assert paired_difference(left.sample(frac=1, random_state=1), right, HR, 30, 0) == expected


def test_other_cases_are_refused():
    with pytest.raises(ValueError, match="same cases"):
        paired_difference(random_ranks("a"), random_ranks("b", cases=399), HR, 10, 0)


def test_windows_against_the_first_by_hand():
    cases = [(f"u{user}", 0, "head", 1, True, 0 if user < 8 else 50, 0) for user in range(10)]
    cases += [(f"u{user}", 1, "head", 1, True, 0 if user < 4 else 50, 0) for user in range(10)]
    cases += [("none", 1, "head", 1, False, 0, 0)]
    table = relative_to_first_window(ranks_frame(cases), [HR], 200, 0).set_index(["slice", "window"]).loc["overall"]
    assert table["ratio"].tolist() == [1, pytest.approx(0.5)]
    assert (table.loc["0", ["ci_low", "ci_high"]] == 1).all()
    assert table.loc["1", "ci_low"] < 0.5 < table.loc["1", "ci_high"] <= 1


def test_a_metric_that_starts_at_zero_has_no_ratio():
    cases = [("a", 0, "head", 1, True, 50, 0), ("a", 1, "head", 1, True, 0, 0)]
    table = relative_to_first_window(ranks_frame(cases), [HR, ("mrr", 0)], 5, 0)
    assert set(table["metric"]) == {"mrr"}


def test_every_slice_is_related_to_its_own_first_window():
    cases = [("a", 0, "head", 1, True, 0, 0), ("a", 0, "head", 1, True, 0, 0)]
    cases += [("a", 1, "head", 1, True, 0, 0), ("a", 1, "cold", 1, True, 0, 0), ("b", 1, "cold", 1, True, 99, 0)]
    cases += [("b", 2, "head", 1, True, 99, 0), ("a", 2, "cold", 1, True, 99, 0), ("b", 2, "cold", 1, True, 99, 0)]
    table = relative_to_first_window(ranks_frame(cases), [HR], 20, 0).set_index(["slice", "window"])
    assert table["ratio"].to_dict() == {
        ("overall", "0"): 1,
        ("overall", "1"): pytest.approx(2 / 3),
        ("overall", "2"): 0,
        ("head", "0"): 1,
        ("head", "1"): 1,
        ("head", "2"): 0,
        ("cold", "1"): 1,
        ("cold", "2"): 0,
        ("tail_and_cold", "1"): 1,
        ("tail_and_cold", "2"): 0,
        ("all_users", "0"): 1,
        ("all_users", "1"): pytest.approx(2 / 3),
        ("all_users", "2"): 0,
    }
    assert table.loc[("overall", "1"), "n"] == 3


def test_a_model_of_several_seeds_counts_with_its_means():
    left = ranks_frame([("a", 0, "head", 1, True, 0, 0), ("b", 0, "head", 1, True, 0, 0)])
    seeds = over_seeds(left, left.assign(above=[0, 99]))
    assert paired_difference(seeds, left, HR, 20, 0).value == pytest.approx(-1 / 4)
    assert paired_difference(left, seeds, HR, 20, 0).value == pytest.approx(1 / 4)


def test_a_lower_likelihood_loss_beats():
    better, worse = random_ranks("a", shift=0), random_ranks("b", shift=2)
    difference = paired_difference(better, worse, ("nll", 0), 100, 0)
    assert difference.value < 0
    assert difference.verdict == "beats"


def test_no_user_with_history_is_refused():
    strangers = ranks_frame([("a", 0, "head", 1, False, 0, 0)])
    with pytest.raises(ValueError, match="nothing to compare"):
        paired_difference(strangers, strangers, HR, 5, 0)
