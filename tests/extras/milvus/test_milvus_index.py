"""The index on Milvus Lite: the contract of every index, then what sealing a collection promises."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.extras.needs import needs

needs("pymilvus", "milvus_lite")

from assets.serving import milvus_index, milvus_server  # noqa: E402 - behind the extra
from assets.serving.exact_index import ExactIndex  # noqa: E402
from assets.serving.index_file import IndexFileError, read_index, write_index  # noqa: E402
from assets.serving.milvus_index import MilvusIndex  # noqa: E402
from assets.serving.milvus_server import IndexFaultError, collections, drop_collections  # noqa: E402
from tests.assets.serving import index_contract as contract  # noqa: E402
from tests.assets.serving.index_contract import DIMENSION, ITEMS, STEPS, VECTOR, Vectors, filled  # noqa: E402

SPACE = "tests"


@pytest.fixture(scope="module", autouse=True)
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("THAW_MILVUS_URI", str(tmp_path_factory.mktemp("milvus") / "lite.db"))
        yield


@pytest.fixture(autouse=True)
def _clean(_server: None) -> Iterator[None]:
    yield
    drop_collections(SPACE)
    assert collections(SPACE) == []


def made(dimension: int) -> MilvusIndex:
    return MilvusIndex(dimension, SPACE)


@given(start=st.dictionaries(ITEMS, VECTOR), steps=STEPS, data=st.data())
@settings(max_examples=8)
def test_any_sequence_of_changes_leaves_the_answers_of_brute_force(
    start: Vectors, steps: list, data: st.DataObject
) -> None:
    index = filled(made, start)
    contract.changes_leave_the_answers_of_brute_force(index, start, steps, data)
    assert isinstance(index, MilvusIndex)
    index.discard()


@given(start=st.dictionaries(ITEMS, VECTOR), steps=STEPS, data=st.data())
@settings(max_examples=8)
def test_so_does_any_sequence_over_a_sealed_collection(
    tmp_path_factory: pytest.TempPathFactory, start: Vectors, steps: list, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("sealed") / "index.safetensors"
    filled(made, start).save(path)
    contract.changes_leave_the_answers_of_brute_force(MilvusIndex.load(path), start, steps, data)
    assert MilvusIndex.load(path).size == len(start)  # whatever others did over it
    drop_collections(SPACE)


@pytest.mark.parametrize(
    "promise",
    [
        contract.an_empty_index_finds_nothing_and_grows,
        contract.the_last_vector_of_an_id_given_twice_wins,
        contract.building_replaces_what_was_there,
        contract.bad_input_is_named_and_changes_nothing,
    ],
    ids=lambda promise: promise.__name__,
)
def test_contract(promise) -> None:
    promise(made)


@pytest.mark.parametrize(
    "promise",
    [contract.a_loaded_index_answers_and_changes_as_the_saved_one, contract.an_empty_index_survives_saving],
    ids=lambda promise: promise.__name__,
)
def test_contract_of_files(promise, tmp_path: Path) -> None:
    promise(made, MilvusIndex.load, tmp_path)


def saved(path: Path, count: int = 300) -> tuple[MilvusIndex, ExactIndex]:
    random = np.random.default_rng(0)
    ids, vectors = [f"i{number}" for number in range(count)], random.integers(-9, 10, (count, DIMENSION))
    index, exact = made(DIMENSION), ExactIndex(DIMENSION)
    for one in (index, exact):
        one.build(ids, vectors.astype(np.float32))
    index.save(path, {"model": "m"})
    return index, exact


def same_answers(index: MilvusIndex, exact: ExactIndex, k: int, exclude: list[list[str]] | None = None) -> None:
    queries = np.random.default_rng(1).integers(-9, 10, (4, DIMENSION)).astype(np.float32)
    found, expected = index.search(queries, k, exclude), exact.search(queries, k, exclude)
    np.testing.assert_array_equal(found.scores, expected.scores)
    for row, query in enumerate(queries):
        ids = [item for item in found.ids[row] if item is not None]
        assert len(set(ids)) == len(ids)
        np.testing.assert_array_equal(exact.vectors(ids) @ query, found.scores[row, : len(ids)])
        assert exclude is None or set(ids).isdisjoint(exclude[row])


def test_what_is_hidden_is_made_up_for_whatever_the_server_gives_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most of the collection replaced, removed or excluded; then with fewer results allowed than are hidden."""
    _, exact = saved(tmp_path / "index.safetensors")
    index = MilvusIndex.load(tmp_path / "index.safetensors")
    far = np.full((200, DIMENSION), 20, np.float32) * np.array([1, -1, 1], np.float32)
    for one in (index, exact):
        one.upsert([f"i{number}" for number in range(200)], far)
        one.remove([f"i{number}" for number in range(150, 250)])
    exclude = [[f"i{number}" for number in range(row * 70, row * 70 + 80)] for row in range(4)]
    for most in (milvus_index.MOST_HITS, 40):
        monkeypatch.setattr(milvus_index, "MOST_HITS", most)
        for k in (1, 10, 30):
            same_answers(index, exact, k)
            same_answers(index, exact, k, exclude)
    np.testing.assert_array_equal(index.vectors(index.ids), exact.vectors(index.ids))


def test_saving_again_makes_another_collection_and_the_first_serves_on(tmp_path: Path) -> None:
    index, exact = saved(tmp_path / "one.safetensors")
    first = index.collection
    index.save(tmp_path / "same.safetensors")
    assert index.collection == first
    before = MilvusIndex.load(tmp_path / "one.safetensors")
    index.upsert(["i0", "new"], np.full((2, DIMENSION), 30, np.float32))
    index.save(tmp_path / "two.safetensors")
    assert index.collection != first
    assert collections(SPACE) == sorted([str(first), str(index.collection)])
    same_answers(before, exact, 10)
    exact.upsert(["i0", "new"], np.full((2, DIMENSION), 30, np.float32))
    same_answers(MilvusIndex.load(tmp_path / "two.safetensors"), exact, 10)
    assert drop_collections(SPACE, {str(index.collection)}) == [first]
    with pytest.raises(IndexFileError, match="no longer on the Milvus server"):
        MilvusIndex.load(tmp_path / "one.safetensors")


def test_a_collection_that_somebody_changed_is_refused(tmp_path: Path) -> None:
    index, _ = saved(tmp_path / "index.safetensors")
    index._on_server().delete(np.array([3]))
    with pytest.raises(IndexFileError, match="has 299 vectors, its index was saved with 300"):
        MilvusIndex.load(tmp_path / "index.safetensors")


def test_a_file_cannot_name_whatever_collection_it_likes(tmp_path: Path) -> None:
    saved(tmp_path / "index.safetensors")
    content = read_index(tmp_path / "index.safetensors", "milvus")
    for change, told in (
        ({"collection": "other"}, "no name"),
        ({"nprobe": 0}, "cannot be"),
        ({"held": 1}, "cannot be"),
    ):
        content.header.update(change)
        write_index(tmp_path / "forged.safetensors", content)
        with pytest.raises(IndexFileError, match=told):
            MilvusIndex.load(tmp_path / "forged.safetensors")
        content = read_index(tmp_path / "index.safetensors", "milvus")


def test_tuning_finds_few_cells(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    centers = random.normal(size=(30, 16))
    vectors = (centers[random.integers(0, 30, 3100)] + 0.3 * random.normal(size=(3100, 16))).astype(np.float32)
    index = MilvusIndex(16, SPACE)
    index.build([f"i{number}" for number in range(3000)], vectors[:3000])
    assert index.nprobe == index.nlist == 76
    assert index.tune(vectors[3000:], target=0.95) >= 0.95
    index.save(tmp_path / "index.safetensors")
    loaded = MilvusIndex.load(tmp_path / "index.safetensors")
    assert (loaded.nprobe, loaded.nlist) == (index.nprobe, 76)
    loaded.nprobe = 1
    exact = ExactIndex(16)
    exact.build(index.ids, index.vectors(index.ids))
    found = loaded.search(vectors[3000:3004], 600)  # more than one cell holds: it looks further
    assert None not in found.ids


def test_threads_search_one_collection_beside_each_other(tmp_path: Path) -> None:
    _, exact = saved(tmp_path / "index.safetensors")
    index, failed = MilvusIndex.load(tmp_path / "index.safetensors"), []

    def search() -> None:
        try:
            for _ in range(5):
                same_answers(index, exact, 5)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_no_address_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("THAW_MILVUS_URI")
    with pytest.raises(IndexFaultError, match="THAW_MILVUS_URI is not set"):
        made(2).build(["a"], np.ones((1, 2), np.float32))
    monkeypatch.setenv("THAW_MILVUS_URI", "http://127.0.0.1:9")
    monkeypatch.setattr(milvus_server, "CONNECT_SECONDS", 1.0)
    with pytest.raises(IndexFaultError, match="THAW_MILVUS_URI"):
        made(2).build(["a"], np.ones((1, 2), np.float32))
    monkeypatch.undo()
