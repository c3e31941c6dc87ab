"""Every index against brute force written out here."""

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.serving import ivf_index
from assets.serving.exact_index import ExactIndex
from assets.serving.ivf_index import IvfIndex, cells
from assets.serving.vector_index import VectorIndex
from tests.assets.serving import index_contract as contract
from tests.assets.serving.index_contract import DIMENSION, ITEMS, STEPS, VECTOR, Vectors, filled

KINDS: list[type[VectorIndex]] = [ExactIndex, IvfIndex]


@pytest.mark.parametrize("kind", KINDS)
@given(start=st.dictionaries(ITEMS, VECTOR), steps=STEPS, data=st.data())
@settings(max_examples=60)
def test_any_sequence_of_changes_leaves_the_answers_of_brute_force(
    kind: type[VectorIndex], start: Vectors, steps: list, data: st.DataObject
) -> None:
    with patch.object(ivf_index, "POINTS_PER_LIST", 2):  # several cells for a handful of items
        index = filled(kind, start)
    contract.changes_leave_the_answers_of_brute_force(index, start, steps, data)


def many(count: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    vectors = np.random.default_rng(seed).integers(-9, 10, (count, DIMENSION)).astype(np.float32)
    return [f"i{number}" for number in range(count)], vectors


def test_several_cells_probed_all_agree_with_exact_search_through_upserts_and_removals() -> None:
    ids, vectors = many(2000)
    approximate, exact = IvfIndex(DIMENSION), ExactIndex(DIMENSION)
    replaced, replacement = [*ids[50:90], "new 1", "new 2"], many(42, seed=1)[1]
    for index in (approximate, exact):
        index.build(ids, vectors)
        assert index.remove([*ids[:30], "never there"]) == 30
        assert index.upsert(replaced, replacement) == 2
    assert approximate.nlist > 1
    queries = many(20, seed=2)[1]
    exclude = [ids[row * 7 : row * 40] for row in range(20)]
    found, expected = approximate.search(queries, 25, exclude), exact.search(queries, 25, exclude)
    np.testing.assert_array_equal(found.scores, expected.scores)
    for row, query in enumerate(queries):
        assert len(set(found.ids[row])) == 25
        assert set(found.ids[row]).isdisjoint({*exclude[row], *ids[:30]})
        np.testing.assert_array_equal(exact.vectors(found.ids[row].tolist()) @ query, found.scores[row])


def test_a_query_whose_probed_cells_hold_only_excluded_items_looks_further() -> None:
    ids, vectors = many(2000)
    index = IvfIndex(DIMENSION)
    index.build(ids, vectors)
    index.nprobe = 1
    query = vectors[:1]
    nearest = [item for item in index.search(query, 400).ids[0] if item is not None]
    found = index.search(query, 10, [nearest])
    assert len(nearest) == 400
    assert None not in found.ids[0]
    assert set(found.ids[0]).isdisjoint(nearest)


def test_asking_for_everything_returns_everything() -> None:
    ids, vectors = many(500)
    index = IvfIndex(DIMENSION)
    index.build(ids, vectors)
    index.nprobe = 1
    assert set(index.search(vectors[:1], 500).ids[0]) == set(ids)


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_index_finds_nothing_and_grows(kind: type[VectorIndex]) -> None:
    contract.an_empty_index_finds_nothing_and_grows(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_vector_of_an_id_given_twice_wins(kind: type[VectorIndex]) -> None:
    contract.the_last_vector_of_an_id_given_twice_wins(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_building_replaces_what_was_there(kind: type[VectorIndex]) -> None:
    contract.building_replaces_what_was_there(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_bad_input_is_named_and_changes_nothing(kind: type[VectorIndex]) -> None:
    contract.bad_input_is_named_and_changes_nothing(kind)


@pytest.mark.parametrize(("items", "expected"), [(0, 1), (1, 1), (77, 1), (78, 2), (1682, 43), (100_000, 632)])
def test_the_number_of_cells_follows_the_catalog(items: int, expected: int) -> None:
    assert cells(items) == expected


def clustered(count: int, dimension: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    centers = np.random.default_rng(99).normal(size=(30, dimension))
    return (centers[random.integers(0, 30, count)] + 0.3 * random.normal(size=(count, dimension))).astype(np.float32)


def test_tuning_finds_few_cells_that_reach_the_target_and_warns_of_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    index = IvfIndex(16)
    index.build([f"i{number}" for number in range(3000)], clustered(3000, 16, 0))
    assert index.nprobe == index.nlist
    reached = index.tune(clustered(100, 16, 1), target=0.95)
    assert reached >= 0.95
    assert 1 <= index.nprobe < index.nlist / 2
    assert capfd.readouterr().err == ""


def test_tuning_without_queries_or_towards_the_impossible_probes_everything() -> None:
    index = IvfIndex(16)
    index.build([f"i{number}" for number in range(3000)], clustered(3000, 16, 0))
    assert index.tune(np.zeros((0, 16), np.float32)) == 1.0
    assert index.nprobe == index.nlist
    index.tune(np.random.default_rng(0).normal(size=(50, 16)).astype(np.float32), target=1.1)
    assert index.nprobe == index.nlist


def test_one_dimension_as_counting_models_have_works() -> None:
    values = np.log(np.arange(1, 401, dtype=np.float32))[:, None]
    index = IvfIndex(1)
    index.build([f"i{number}" for number in range(400)], values)
    index.tune(np.ones((5, 1), np.float32))
    assert index.search(np.ones((1, 1), np.float32), 3).ids.tolist() == [["i399", "i398", "i397"]]
