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
from tests.assets.serving import index_contract as contract
from tests.assets.serving.index_contract import changed_index

KINDS: list[type[VectorIndex]] = [ExactIndex, IvfIndex]


@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_index_answers_and_changes_as_the_saved_one(kind: type[VectorIndex], tmp_path: Path) -> None:
    contract.a_loaded_index_answers_and_changes_as_the_saved_one(kind, kind.load, tmp_path)


def test_the_tuned_number_of_probes_is_saved(tmp_path: Path) -> None:
    index = changed_index(IvfIndex)
    assert isinstance(index, IvfIndex)
    index.nprobe = 2
    index.save(tmp_path / "index.safetensors")
    loaded = IvfIndex.load(tmp_path / "index.safetensors")
    assert (loaded.nprobe, loaded.nlist) == (2, index.nlist)


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_index_survives_saving(kind: type[VectorIndex], tmp_path: Path) -> None:
    contract.an_empty_index_survives_saving(kind, kind.load, tmp_path)


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
