"""Metrics of several relevant items: worked out by hand, by all orders of tied items, and by scikit-learn."""

from itertools import permutations
from math import log2

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from assets.evaluation.studies.relevance import TIE_TOLERANCE, Ranking

Numbers = tuple[float, float, float]
"""(MRR, P@k, NDCG@k)."""


def of(scores: list[float], relevant: list[int], k: int) -> Numbers:
    """The metrics of one row whose ``relevant`` items are named by position."""
    flags = np.isin(np.arange(len(scores)), relevant)[None]
    ranking = Ranking(np.array([scores]), flags)
    return float(ranking.reciprocal_rank()[0]), float(ranking.precision(k)[0]), float(ranking.ndcg(k)[0])


def naive(order: tuple[int, ...], relevant: list[int], k: int) -> Numbers:
    """The textbook's, of one order without ties."""
    hits = [item in relevant for item in order]
    ideal = sum(1 / log2(place + 2) for place in range(min(k, len(relevant))))
    gained = sum(1 / log2(place + 2) for place, hit in enumerate(hits[:k]) if hit)
    return 1 / (1 + hits.index(True)), sum(hits[:k]) / k, gained / ideal


def test_by_hand() -> None:
    """Order 2, 0, 3, 1; items 0 and 1 are relevant: places 2 and 4."""
    mrr, precision, ndcg = of([0.7, 0.1, 0.9, 0.4], [0, 1], 3)
    assert mrr == pytest.approx(1 / 2)
    assert precision == pytest.approx(1 / 3)
    assert ndcg == pytest.approx((1 / log2(3)) / (1 + 1 / log2(3)))  # two relevant items fit into three places


def test_the_ideal_is_cut_at_k() -> None:
    """Three relevant items, two places: the best there is has both of them relevant."""
    assert of([4.0, 3.0, 2.0, 1.0], [0, 1, 2], 2)[1:] == pytest.approx((1.0, 1.0))
    assert of([4.0, 3.0, 2.0, 1.0], [1, 2, 3], 2)[2] == pytest.approx((1 / log2(3)) / (1 + 1 / log2(3)))


def test_a_list_shorter_than_k() -> None:
    mrr, precision, ndcg = of([2.0, 1.0], [1], 5)
    assert (mrr, precision, ndcg) == pytest.approx((1 / 2, 1 / 5, 1 / log2(3)))


def test_ties_by_hand() -> None:
    """Items 1, 2 and 3 tie behind item 0; 2 and 3 are relevant. Place 2 has one with chance 2/3, else place 3 has."""
    mrr, precision, ndcg = of([0.9, 0.5, 0.5, 0.5], [2, 3], 2)
    assert mrr == pytest.approx(2 / 3 * 1 / 2 + 1 / 3 * 1 / 3)
    assert precision == pytest.approx(2 / 3 / 2)
    assert ndcg == pytest.approx(2 / 3 / log2(3) / (1 + 1 / log2(3)))


@pytest.mark.parametrize("seed", range(12))
def test_ties_are_the_mean_over_every_order(seed: int) -> None:
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, 3, 6).astype(float)
    relevant = sorted(generator.choice(6, int(generator.integers(1, 6)), replace=False).tolist())
    k = int(generator.integers(1, 8))
    orders = [order for order in permutations(range(6)) if (np.diff(scores[list(order)]) <= 0).all()]
    expected = np.mean([naive(order, relevant, k) for order in orders], axis=0)
    assert of(scores.tolist(), relevant, k) == pytest.approx(tuple(expected))


def test_rows_do_not_touch_each_other() -> None:
    """A row's last scores may equal the next one's first."""
    generator = np.random.default_rng(0)
    scores = generator.integers(0, 3, (30, 9)).astype(float)
    relevant = generator.random((30, 9)) < 0.4
    relevant[:, 0] = True
    together = Ranking(scores, relevant)
    for row in range(30):
        alone = Ranking(scores[[row]], relevant[[row]])
        assert together.reciprocal_rank()[row] == pytest.approx(alone.reciprocal_rank()[0])
        assert together.precision(4)[row] == pytest.approx(alone.precision(4)[0])
        assert together.ndcg(4)[row] == pytest.approx(alone.ndcg(4)[0])


@pytest.mark.parametrize("k", [1, 5, 25])
def test_ndcg_is_scikit_learns(k: int) -> None:
    generator = np.random.default_rng(k)
    scores = generator.integers(0, 12, (40, 30)).astype(float)
    relevant = generator.random((40, 30)) < 0.2
    relevant[:, 3] = True
    assert Ranking(scores, relevant).ndcg(k).mean() == pytest.approx(ndcg_score(relevant, scores, k=k))


def test_equal_scores_are_random_choice() -> None:
    """Against 20,000 shuffles of 3 relevant items of 12."""
    relevant = np.zeros((20_000, 12), np.bool_)
    relevant[:, :3] = True
    shuffled = Ranking(np.random.default_rng(0).random(relevant.shape), relevant)
    mrr, precision, ndcg = of([0.0] * 12, [0, 1, 2], 5)
    assert precision == pytest.approx(3 / 12)
    assert mrr == pytest.approx(shuffled.reciprocal_rank().mean(), abs=0.01)
    assert ndcg == pytest.approx(shuffled.ndcg(5).mean(), abs=0.01)


def test_rounding_ties_and_more_does_not() -> None:
    """Relative to the largest score of the row."""
    close, apart = 100 * TIE_TOLERANCE / 2, 100 * TIE_TOLERANCE * 2
    assert of([100.0, 50.0 + close, 50.0], [2], 1)[0] == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert of([100.0, 50.0 + apart, 50.0], [2], 1)[0] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("scores", "relevant", "words"),
    [
        (np.zeros((2, 3)), np.ones((2, 2), np.bool_), "not of one shape"),
        (np.array([[np.nan, 1.0]]), np.ones((1, 2), np.bool_), "not finite"),
        (np.zeros((2, 2)), np.array([[True, False], [False, False]]), "row 1 has no relevant item"),
    ],
)
def test_what_cannot_be_ranked(scores: np.ndarray, relevant: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Ranking(scores, relevant)
