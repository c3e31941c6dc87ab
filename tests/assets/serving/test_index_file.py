"""Saved indexes: whole or refused, and one file a reader never sees half of."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from assets.serving.exact_index import ExactIndex
from assets.serving.index_file import IndexFileError
from assets.serving.ivf_index import IvfIndex
from assets.serving.vector_index import VectorIndex

KINDS: list[type[VectorIndex]] = [ExactIndex, IvfIndex]
DIMENSION = 4


def changed_index(kind: type[VectorIndex], count: int = 300) -> VectorIndex:
    """An index with removed, replaced and added items, and ids beyond ASCII."""
    vectors = np.random.default_rng(0).normal(size=(count + 5, DIMENSION)).astype(np.float32)
    ids = [f"Amélie {number}" for number in range(count)]
    index = kind(DIMENSION)
    index.build(ids, vectors[:count])
    index.remove(ids[:20])
    index.upsert([*ids[30:34], "новое"], vectors[count:])
    return index


@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_index_answers_and_changes_as_the_saved_one(kind: type[VectorIndex], tmp_path: Path) -> None:
    index = changed_index(kind)
    index.save(tmp_path / "index.safetensors", {"model": "two_tower", "seed": 3})
    loaded = kind.load(tmp_path / "index.safetensors")
    assert (loaded.size, loaded.dimension, loaded.ids) == (index.size, index.dimension, index.ids)
    assert loaded.metadata == {"model": "two_tower", "seed": 3}
    np.testing.assert_array_equal(loaded.vectors(loaded.ids), index.vectors(index.ids))
    queries = np.random.default_rng(1).normal(size=(5, DIMENSION)).astype(np.float32)
    for one in (index, loaded):
        one.remove(["новое", "Amélie 40"])
        one.upsert(["Amélie 41", "newest"], queries[:2])
    first, second = index.search(queries, 8, [["newest"]] * 5), loaded.search(queries, 8, [["newest"]] * 5)
    assert first.ids.tolist() == second.ids.tolist()
    np.testing.assert_allclose(first.scores, second.scores, rtol=1e-6)


def test_the_tuned_number_of_probes_is_saved(tmp_path: Path) -> None:
    index = changed_index(IvfIndex)
    assert isinstance(index, IvfIndex)
    index.nprobe = 2
    index.save(tmp_path / "index.safetensors")
    loaded = IvfIndex.load(tmp_path / "index.safetensors")
    assert (loaded.nprobe, loaded.nlist) == (2, index.nlist)


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_index_survives_saving(kind: type[VectorIndex], tmp_path: Path) -> None:
    kind(DIMENSION).save(tmp_path / "index.safetensors")
    loaded = kind.load(tmp_path / "index.safetensors")
    assert loaded.size == 0
    loaded.upsert(["a"], np.ones((1, DIMENSION), np.float32))
    assert loaded.search(np.ones((1, DIMENSION), np.float32), 1).ids.tolist() == [["a"]]


def test_a_missing_file_names_what_to_materialize(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="materialize serving/item_index first"):
        IvfIndex.load(tmp_path / "index.safetensors")


@pytest.mark.parametrize("kept", [0, 4, 100, 0.5, 0.999])
def test_a_truncated_file_is_refused(kept: float, tmp_path: Path) -> None:
    path = tmp_path / "index.safetensors"
    changed_index(IvfIndex).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    with pytest.raises(IndexFileError, match=r"index\.safetensors is not a whole index file.*materialize"):
        IvfIndex.load(path)


@pytest.mark.parametrize("place", [0.3, 0.6, 0.95])
def test_a_flipped_byte_is_noticed(place: float, tmp_path: Path) -> None:
    path = tmp_path / "index.safetensors"
    changed_index(IvfIndex).save(path)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 0x40
    path.write_bytes(content)
    with pytest.raises(IndexFileError, match="corrupted"):
        IvfIndex.load(path)


def test_other_files_and_other_kinds_are_refused(tmp_path: Path) -> None:
    save_file({"weights": np.zeros(3)}, tmp_path / "weights.safetensors")
    with pytest.raises(IndexFileError, match="has format None"):
        IvfIndex.load(tmp_path / "weights.safetensors")
    changed_index(ExactIndex).save(tmp_path / "index.safetensors")
    with pytest.raises(IndexFileError, match="of kind 'exact', not 'ivf'"):
        IvfIndex.load(tmp_path / "index.safetensors")


WRITER = """
import sys, numpy as np
from pathlib import Path
from assets.serving.exact_index import ExactIndex
index = ExactIndex(64)
index.build([f"i{n}" for n in range(20000)], np.ones((20000, 64), np.float32))
print("ready", flush=True)
while True:
    index.save(Path(sys.argv[1]))
"""


def test_a_writer_killed_at_any_moment_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "index.safetensors"
    for delay in (0.05, 0.11, 0.17):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            deadline = time.monotonic() + 30
            while not path.exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(delay)
            assert ExactIndex.load(path).size == 20000  # read while it is being replaced
        finally:
            os.kill(writer.pid, signal.SIGKILL)
            writer.wait()
        assert ExactIndex.load(path).size == 20000
    ExactIndex(64).save(path)
    assert [file.name for file in tmp_path.iterdir()] == ["index.safetensors"]
