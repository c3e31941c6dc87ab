import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.retrieval import (
    retrieval_hit_rate,
    retrieval_normalized_dcg,
    retrieval_reciprocal_rank,
)

from assets import metrics
from assets.metrics import bootstrap, bootstrap_means, hit_rate, ndcg, percentile_interval, reciprocal_rank


def counts(*pairs: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    above, tied = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return above, tied


def test_hit_rate_by_hand():
    # First; last inside; first outside; three tied places 1, 2, 3 of which one is inside; eleven tied from the top.
    got = hit_rate(*counts((0, 0), (1, 0), (2, 0), (1, 2), (0, 10)), k=2)
    np.testing.assert_allclose(got, [1, 1, 0, 1 / 3, 2 / 11])


def test_ndcg_by_hand():
    second, third = 1 / np.log2(3), 1 / np.log2(4)
    got = ndcg(*counts((0, 0), (1, 0), (3, 0), (1, 2), (0, 3)), k=3)
    np.testing.assert_allclose(got, [1, second, 0, (second + third + 0) / 3, (1 + second + third + 0) / 4])


def test_reciprocal_rank_by_hand():
    got = reciprocal_rank(*counts((0, 0), (4, 0), (1, 2)))
    np.testing.assert_allclose(got, [1, 1 / 5, (1 / 2 + 1 / 3 + 1 / 4) / 3])


def test_constant_scores_get_what_random_order_gets():
    above, tied = counts((0, 99))
    assert hit_rate(above, tied, 10)[0] == pytest.approx(10 / 100)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 25))
def test_tied_expectation_is_the_average_over_places(above: int, tied: int, k: int):
    places = np.arange(above, above + tied + 1)
    alone = np.zeros_like(places)
    pair = counts((above, tied))
    assert hit_rate(*pair, k)[0] == pytest.approx(hit_rate(places, alone, k).mean())
    assert ndcg(*pair, k)[0] == pytest.approx(ndcg(places, alone, k).mean())
    assert reciprocal_rank(*pair)[0] == pytest.approx(reciprocal_rank(places, alone).mean())


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.sampled_from([1, 3, 10]))
def test_agrees_with_torchmetrics_where_nothing_is_tied(seed: int, k: int):
    generator = np.random.default_rng(seed)
    # Above 0: that library counts a target scored 0 or less as missed.
    scores, target = torch.from_numpy((generator.permutation(20) + 1) / 20), int(generator.integers(20))
    relevant = torch.zeros(20, dtype=torch.bool)
    relevant[target] = True
    pair = counts((int((scores > scores[target]).sum()), 0))
    assert hit_rate(*pair, k)[0] == pytest.approx(retrieval_hit_rate(scores, relevant, top_k=k).item())
    assert ndcg(*pair, k)[0] == pytest.approx(retrieval_normalized_dcg(scores, relevant, top_k=k).item(), abs=1e-6)
    assert reciprocal_rank(*pair)[0] == pytest.approx(retrieval_reciprocal_rank(scores, relevant).item())


def test_untied_values_are_exact_far_down():
    assert reciprocal_rank(*counts((999_999, 0)))[0] == 1 / 1_000_000


def test_no_cases():
    empty = np.zeros(0, np.int64)
    assert len(hit_rate(empty, empty, 5)) == len(ndcg(empty, empty, 5)) == len(reciprocal_rank(empty, empty)) == 0


@pytest.mark.parametrize(("pair", "k"), [((0, 0), 0), ((-1, 0), 5), ((0, -1), 5)])
def test_bad_counts_are_refused(pair: tuple[int, int], k: int):
    for metric in (hit_rate, ndcg):
        with pytest.raises(ValueError, match="must"):
            metric(*counts(pair), k)


def test_bootstrap_agrees_with_a_slow_loop():
    generator = np.random.default_rng(3)
    users = generator.integers(0, 7, size=40)
    values = generator.random((40, 2))
    groups = [np.arange(40), np.flatnonzero(users < 2)]
    got = bootstrap_means(values, users, groups, samples=25, seed=11)

    replay = np.random.default_rng(11)
    distinct = sorted(set(users.tolist()))
    for sample in range(25):
        drawn = [distinct[index] for index in replay.integers(len(distinct), size=len(distinct))]
        for group, rows in enumerate(groups):
            held = [values[row] for user in drawn for row in rows if users[row] == user]
            expected = np.mean(held, axis=0) if held else [np.nan, np.nan]
            np.testing.assert_allclose(got[group, sample], expected)


def test_undefined_values_count_for_the_other_metrics_only():
    generator = np.random.default_rng(4)
    users, values = generator.integers(0, 9, size=60), generator.random((60, 3))
    holes = values.copy()
    holes[::3, 1] = np.nan
    defined = [np.arange(60), np.flatnonzero(~np.isnan(holes[:, 1]))]
    got = bootstrap_means(holes, users, [np.arange(60)], 20, seed=1)[0]
    whole, part = bootstrap_means(values, users, defined, 20, seed=1)
    np.testing.assert_allclose(got[:, [0, 2]], whole[:, [0, 2]])
    np.testing.assert_allclose(got[:, 1], part[:, 1])


def test_draws_that_say_nothing_are_left_out():
    draws = np.array([[[1.0, np.nan], [2.0, 5.0], [3.0, 7.0]], [[np.nan, 0.0], [np.nan, 1.0], [np.nan, 2.0]]])
    low, high = percentile_interval(draws, level=1.0)
    np.testing.assert_array_equal(low, [[1, 5], [np.nan, 0]])
    np.testing.assert_array_equal(high, [[3, 7], [np.nan, 2]])


def test_bootstrap_does_not_depend_on_chunks(monkeypatch: pytest.MonkeyPatch):
    users, values = np.arange(30) % 11, np.random.default_rng(0).random((30, 1))
    whole = bootstrap(values, users, [np.arange(30)], 50, seed=2)
    monkeypatch.setattr(metrics, "WEIGHTS_PER_CHUNK", 40)
    np.testing.assert_array_equal(whole, bootstrap(values, users, [np.arange(30)], 50, seed=2))


@pytest.mark.parametrize("size", [1, 2, 3])
def test_intervals_do_not_depend_on_how_many_groups_are_held(monkeypatch: pytest.MonkeyPatch, size: int):
    values, users = np.random.default_rng(1).random((40, 2)), np.arange(40) % 7
    groups = [np.arange(40), np.arange(5), np.arange(10, 30)]
    whole = bootstrap(values, users, groups, 30, seed=3)
    monkeypatch.setattr(metrics, "GROUPS_PER_PART", size)
    np.testing.assert_array_equal(bootstrap(values, users, groups, 30, seed=3), whole)
    assert bootstrap(values, users, [], 30, seed=3)[0].shape == (0, 2)


def test_ends_of_draws_of_which_some_are_infinite():
    draws = np.array([[1.0], [2.0], [3.0], [np.inf], [np.nan]])[None]
    low, high = percentile_interval(draws)
    assert low[0, 0] == pytest.approx(1.075)  # between the first two of the four that say something
    assert high[0, 0] == np.inf


def test_interval_covers_the_truth_about_as_often_as_it_says():
    """Users differ and their cases are alike, so an interval over cases alone would be far too narrow."""
    generator = np.random.default_rng(0)
    covered = by_case = 0
    for trial in range(200):
        rates = generator.beta(2, 3, size=80)
        users = np.repeat(np.arange(80), generator.integers(5, 15, size=80))
        values = (generator.random(len(users)) < rates[users]).astype(np.float64)[:, None]
        everything = [np.arange(len(users))]
        low, high = bootstrap(values, users, everything, samples=200, seed=trial)
        covered += low[0, 0] <= 0.4 <= high[0, 0]
        low, high = bootstrap(values, np.arange(len(users)), everything, samples=50, seed=trial)
        by_case += low[0, 0] <= 0.4 <= high[0, 0]
    assert 0.90 <= covered / 200 <= 0.985
    assert by_case / 200 < 0.85


def test_intervals_hold_the_mean_and_follow_the_seed():
    users, values = np.arange(60) // 3, np.random.default_rng(1).random((60, 3))
    rows = [np.arange(60), np.arange(0, 60, 2)]
    low, high = bootstrap(values, users, rows, samples=300, seed=0)
    for group, column in itertools.product(range(2), range(3)):
        assert low[group, column] < values[rows[group], column].mean() < high[group, column]
    again, other = bootstrap(values, users, rows, 300, seed=0), bootstrap(values, users, rows, 300, seed=1)
    assert (again[0] == low).all()
    assert (other[0] != low).any()


def test_a_group_without_cases_has_no_interval():
    low, high = bootstrap(np.ones((4, 1)), np.arange(4), [np.zeros(0, np.int64)], samples=5, seed=0)
    assert np.isnan(low).all()
    assert np.isnan(high).all()
