"""What every index has to do, whatever stands behind it: integer vectors against brute force written out here.

A kind is called with the dimension and makes an empty index.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st

from assets.serving.vector_index import SearchResult, VectorIndex

DIMENSION = 3
WIDE = 4
Kind = Callable[[int], VectorIndex]
Load = Callable[[Path], VectorIndex]
Vectors = dict[str, tuple[float, ...]]


def filled(kind: Kind, vectors: Vectors) -> VectorIndex:
    index = kind(DIMENSION)
    index.build(list(vectors), np.array(list(vectors.values()), np.float32).reshape(-1, DIMENSION))
    return index


def assert_answers(
    result: SearchResult, vectors: Vectors, queries: np.ndarray, k: int, exclude: Sequence[Sequence[str]]
) -> None:
    """Integer vectors have exact scores; which of several ties is returned is free."""
    for row, query in enumerate(queries):
        allowed = {item: float(np.dot(vector, query)) for item, vector in vectors.items() if item not in exclude[row]}
        best = sorted(allowed.values(), reverse=True)[:k]
        count = len(best)
        assert result.scores[row, :count].tolist() == best
        assert [allowed[item] for item in result.ids[row, :count]] == best
        assert len(set(result.ids[row, :count])) == count
        assert result.ids[row, count:].tolist() == [None] * (k - count)
        assert np.isneginf(result.scores[row, count:]).all()


ITEMS = st.sampled_from([f"item {number}" for number in range(12)])
VECTOR = st.tuples(*[st.integers(-3, 3).map(float)] * DIMENSION)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("upsert"), st.lists(st.tuples(ITEMS, VECTOR), max_size=6)),
        st.tuples(st.just("remove"), st.lists(ITEMS, max_size=6)),
    ),
    max_size=12,
)


def changes_leave_the_answers_of_brute_force(
    index: VectorIndex, start: Vectors, steps: list, data: st.DataObject
) -> None:
    """``index`` holds ``start``."""
    model = dict(start)
    for name, argument in steps:
        if name == "upsert":
            new = len({item for item, _ in argument} - set(model))
            rows = np.array([vector for _, vector in argument], np.float32).reshape(-1, DIMENSION)
            assert index.upsert([item for item, _ in argument], rows) == new
            model.update(argument)
        else:
            known = set(argument) & set(model)
            assert index.remove(argument) == len(known)
            model = {item: vector for item, vector in model.items() if item not in known}
        assert index.size == len(model)
        queries = np.array(data.draw(st.lists(VECTOR, min_size=1, max_size=3)), np.float32)
        k = data.draw(st.integers(1, 14))
        exclude = [data.draw(st.lists(ITEMS, max_size=5)) for _ in queries]
        assert_answers(index.search(queries, k, exclude), model, queries, k, exclude)
        assert_answers(index.search(queries, k), model, queries, k, [[]] * len(queries))


def an_empty_index_finds_nothing_and_grows(kind: Kind) -> None:
    index = kind(DIMENSION)
    result = index.search(np.ones((2, DIMENSION), np.float32), 4, [["a"], []])
    assert result.ids.tolist() == [[None] * 4] * 2
    assert np.isneginf(result.scores).all()
    assert index.remove(["a"]) == 0
    assert index.upsert(["a"], np.ones((1, DIMENSION), np.float32)) == 1
    assert index.search(np.ones((1, DIMENSION), np.float32), 1).ids.tolist() == [["a"]]
    assert index.search(np.ones((0, DIMENSION), np.float32), 1).ids.shape == (0, 1)


def the_last_vector_of_an_id_given_twice_wins(kind: Kind) -> None:
    index = kind(DIMENSION)
    assert index.upsert(["a", "b", "a"], np.array([[1, 0, 0], [2, 0, 0], [3, 0, 0]], np.float32)) == 2
    assert index.search(np.array([[1, 0, 0]], np.float32), 3).scores[0, :2].tolist() == [3.0, 2.0]
    assert index.vectors(["a"]).tolist() == [[3, 0, 0]]


def building_replaces_what_was_there(kind: Kind) -> None:
    index = filled(kind, {"a": (1, 0, 0), "b": (0, 1, 0)})
    index.build(["c"], np.array([[0, 0, 1]], np.float32))
    assert index.ids == ["c"]
    assert index.search(np.ones((1, DIMENSION), np.float32), 2).ids.tolist() == [["c", None]]


def bad_input_is_named_and_changes_nothing(kind: Kind) -> None:
    index = filled(kind, {"a": (1, 0, 0)})
    bad = np.array([[0, 0, 1], [0, np.nan, 0]], np.float32)
    with pytest.raises(ValueError, match="'c' is not finite"):
        index.upsert(["b", "c"], bad)
    with pytest.raises(ValueError, match="'b' is given twice"):
        index.build(["b", "b"], np.ones((2, DIMENSION), np.float32))
    with pytest.raises(ValueError, match="dimension 3"):
        index.upsert(["b"], np.ones((1, 4), np.float32))
    with pytest.raises(ValueError, match="dimension 3"):
        index.search(np.ones((1, 2), np.float32), 1)
    with pytest.raises(ValueError, match="query 1 is not finite"):
        index.search(bad, 1)
    with pytest.raises(ValueError, match="k must be at least 1"):
        index.search(np.ones((1, DIMENSION), np.float32), 0)
    with pytest.raises(ValueError, match="1 lists of excluded items for 2 queries"):
        index.search(np.ones((2, DIMENSION), np.float32), 1, [[]])
    with pytest.raises(KeyError, match="'z' is not in the index"):
        index.vectors(["a", "z"])
    with pytest.raises(ValueError, match="at least 1"):
        kind(0)
    assert index.ids == ["a"]


def changed_index(kind: Kind, count: int = 300) -> VectorIndex:
    """An index with removed, replaced and added items, and ids beyond ASCII."""
    vectors = np.random.default_rng(0).normal(size=(count + 5, WIDE)).astype(np.float32)
    ids = [f"Amélie {number}" for number in range(count)]
    index = kind(WIDE)
    index.build(ids, vectors[:count])
    index.remove(ids[:20])
    index.upsert([*ids[30:34], "новое"], vectors[count:])
    return index


def a_loaded_index_answers_and_changes_as_the_saved_one(
    kind: Kind, load: Callable[[Path], VectorIndex], tmp_path: Path
) -> None:
    index = changed_index(kind)
    index.save(tmp_path / "index.safetensors", {"model": "two_tower", "seed": 3})
    loaded = load(tmp_path / "index.safetensors")
    assert (loaded.size, loaded.dimension, loaded.ids) == (index.size, index.dimension, index.ids)
    assert loaded.metadata == {"model": "two_tower", "seed": 3}
    np.testing.assert_array_equal(loaded.vectors(loaded.ids), index.vectors(index.ids))
    queries = np.random.default_rng(1).normal(size=(5, WIDE)).astype(np.float32)
    for one in (index, loaded):
        one.remove(["новое", "Amélie 40"])
        one.upsert(["Amélie 41", "newest"], queries[:2])
    first, second = index.search(queries, 8, [["newest"]] * 5), loaded.search(queries, 8, [["newest"]] * 5)
    assert first.ids.tolist() == second.ids.tolist()
    np.testing.assert_allclose(first.scores, second.scores, rtol=1e-6)


def an_empty_index_survives_saving(kind: Kind, load: Load, tmp_path: Path) -> None:
    kind(WIDE).save(tmp_path / "index.safetensors")
    loaded = load(tmp_path / "index.safetensors")
    assert loaded.size == 0
    loaded.upsert(["a"], np.ones((1, WIDE), np.float32))
    assert loaded.search(np.ones((1, WIDE), np.float32), 1).ids.tolist() == [["a"]]
