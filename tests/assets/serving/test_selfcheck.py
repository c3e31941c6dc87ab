import numpy as np
import pytest

from assets.serving.exact_index import ExactIndex
from assets.serving.ivf_index import IvfIndex
from assets.serving.selfcheck import latencies_ms, measure, recall, self_check
from assets.serving.snapshot import UserSample

VECTORS = np.array([[5, 0], [4, 0], [3, 0], [3, 0], [1, 0], [0, 9]], np.float32)
IDS = ["five", "four", "three", "also three", "one", "aside"]
QUERY = np.array([[1, 0]], np.float32)


def exact(ids: list[str], vectors: np.ndarray) -> ExactIndex:
    index = ExactIndex(2)
    index.build(ids, vectors)
    return index


ORACLE = exact(IDS, VECTORS)


def test_exact_search_has_recall_one() -> None:
    assert recall(ORACLE, ORACLE, QUERY, 3) == 1.0


def test_what_is_missing_counts_against_recall() -> None:
    assert recall(exact(IDS[1:], VECTORS[1:]), ORACLE, QUERY, 2) == 0.5
    assert recall(ExactIndex(2), ORACLE, QUERY, 2) == 0.0


def test_either_of_two_ties_counts() -> None:
    for left_out in (2, 3):
        kept = [row for row in range(6) if row != left_out]
        assert recall(exact([IDS[row] for row in kept], VECTORS[kept]), ORACLE, QUERY, 3) == 1.0


def test_right_scores_under_wrong_ids_are_misses() -> None:
    mixed_up = exact(["aside", "one", *IDS[2:4], "four", "five"], VECTORS)
    assert recall(mixed_up, ORACLE, QUERY, 2) == 0.0


def test_excluded_items_are_neither_expected_nor_accepted() -> None:
    assert recall(exact(IDS[1:], VECTORS[1:]), ORACLE, QUERY, 2, [["five"]]) == 1.0


def test_a_catalog_smaller_than_k_and_queries_with_nothing_left_are_no_misses() -> None:
    assert recall(ORACLE, ORACLE, QUERY, 10) == 1.0
    assert recall(ORACLE, ORACLE, QUERY, 10, [IDS]) == 1.0


def test_the_mean_is_over_queries() -> None:
    without_five = exact(IDS[1:], VECTORS[1:])
    queries = np.array([[1, 0], [0, 1]], np.float32)
    assert recall(without_five, ORACLE, queries, 1) == 0.5


def test_too_few_probes_show() -> None:
    vectors = np.random.default_rng(0).normal(size=(4000, 16)).astype(np.float32)
    ids = [f"i{number}" for number in range(4000)]
    index, oracle = IvfIndex(16), ExactIndex(16)
    for one in (index, oracle):
        one.build(ids, vectors)
    queries = np.random.default_rng(1).normal(size=(50, 16)).astype(np.float32)
    assert recall(index, oracle, queries) == 1.0
    index.nprobe = 1
    assert recall(index, oracle, queries) < 0.5


def test_a_self_check_reports_what_it_measured() -> None:
    queries = np.repeat(QUERY, 20, axis=0)
    result = self_check(ORACLE, ORACLE, queries, 3, [["one"]] * 20)
    assert (result.recall, result.k, result.queries, result.items) == (1.0, 3, 20, 6)
    assert 0 < result.p50_ms <= result.p99_ms
    assert result.as_dict()["recall"] == 1.0


def test_no_queries_give_no_latency() -> None:
    assert all(np.isnan(latencies_ms(ORACLE, QUERY[:0])))
    assert self_check(ORACLE, ORACLE, QUERY[:0]).recall == pytest.approx(1.0)


def test_measuring_builds_its_own_oracle_and_leaves_out_what_users_saw() -> None:
    sample = UserSample(["somebody"], QUERY, [["five"]])
    index = exact(IDS, VECTORS)
    result = measure(index, sample, 2)
    assert (result.recall, result.k, result.queries, result.items) == (1.0, 2, 1, 6)

    class Forgetful(ExactIndex):
        """Finds what was asked to be left out."""

        def _search(self, queries: np.ndarray, k: int, excluded: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
            return super()._search(queries, k, [hidden[:0] for hidden in excluded])

    forgetful = Forgetful(2)
    forgetful.build(IDS, VECTORS)
    assert measure(forgetful, sample, 2).recall == 0.5
