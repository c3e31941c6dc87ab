"""Checkpoints and indexes from somebody who wants harm and gives them the right digests."""

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch

from assets.idmap import IdMap
from assets.serving.exact_index import ExactIndex
from assets.serving.faiss_file import read_ivf
from assets.serving.index_file import IndexContent, IndexFileError, write_index
from assets.serving.ivf_index import IvfIndex
from assets.storage import write_json
from assets.training.checkpoints import CheckpointError, load_net, read_manifest_in
from assets.training.untrusted import Budget, UntrustedError, budget_of
from models.base import Sizes
from models.registry import NETS, build_net

CONFIG = NETS["sasrec"].model_copy(update={"dim": 4})
Manifest = dict[str, Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint of a small net, untrained."""
    maps = {name: IdMap(tuple(f"{name} {at}" for at in range(5))) for name in ("users", "items", "history_users")}
    maps["event_types"] = IdMap(("engagement",))
    sizes = Sizes(6, 6, 6, {}, {}, 2)
    entries = {}
    for at, (name, ids) in enumerate(maps.items()):
        file = f"ids-{at}-{ids.digest[:16]}.parquet"
        ids.save(tmp_path / file)
        entries[name] = {"file": file, "digest": ids.digest, "ids": len(ids.ids)}
    manifest = {
        "format": 3,
        "model": "sasrec",
        "kind": "net",
        "seed": 1,
        "bounds": {"cutoff": "2024-01-01T00:00:00"},
        "config": {"net": CONFIG.model_dump(mode="json")},
        "id_maps": entries,
        "content": 0,
    }
    write_json(tmp_path / "manifest.json", manifest)
    put_weights(tmp_path, manifest, safetensors.torch.save(build_net(CONFIG, sizes).state_dict()))
    return tmp_path


def put_weights(folder: Path, manifest: Manifest, content: bytes, **said: Any) -> None:
    """Weights with their right digest, as a forger would write them."""
    digest = hashlib.sha256(content).hexdigest()
    name = f"weights-{digest[:16]}.safetensors"
    (folder / name).write_bytes(content)
    manifest["weights"] = {"file": name, "sha256": digest, "bytes": len(content)} | said
    write_json(folder / "manifest.json", manifest)


def load(folder: Path) -> Any:
    return load_net(folder, read_manifest_in(folder))


def test_the_checkpoint_as_it_is_loads(folder: Path) -> None:
    assert load(folder).encodings.items.encode(["items 2"]).tolist() == [3]


def _ids(manifest: Manifest, **values: Any) -> None:
    manifest["id_maps"]["items"] |= values


def _net(manifest: Manifest, part: str | None, **values: Any) -> None:
    net = manifest["config"]["net"]
    (net if part is None else net[part]).update(values)


FORGED: dict[str, tuple[Callable[[Manifest], object], str]] = {
    "weights out of the folder": (lambda m: m["weights"].update(file="../../etc/passwd"), "names the file"),
    "an absolute path": (lambda m: m["weights"].update(file="/dev/zero"), "names the file"),
    "a map out of the folder": (lambda m: _ids(m, file="../ids-0-0123456789abcdef.parquet"), "names the file"),
    "no name at all": (lambda m: _ids(m, file=None), "names the file None"),
    "more bytes": (lambda m: m["weights"].update(bytes=1 << 40), "the manifest says 1099511627776"),
    "another digest": (lambda m: m["weights"].update(sha256="0" * 64), "its digest is not the manifest's"),
    "a billion items": (lambda m: _ids(m, ids=10**9), "larger than its weights"),
    "items beyond int64": (lambda m: _ids(m, ids=10**30), "holds no checkpoint that fits|larger than its weights"),
    "a wide net": (lambda m: _net(m, None, dim=10**7), "larger than its weights"),
    "a deep net": (lambda m: _net(m, "users", layers=10**9), "larger than its weights"),
    "wide content": (lambda m: m.update(content=10**9, config=_featured()), "larger than its weights"),
    "an unknown part": (lambda m: _net(m, "users", kind="../../x"), "holds no checkpoint that fits"),
    "an unknown key": (lambda m: _net(m, None, hook="os.system"), "holds no checkpoint that fits"),
    "no weights": (lambda m: m.update(weights=None), "holds no checkpoint that fits"),
    "maps that are a list": (lambda m: m.update(id_maps=[]), "holds no checkpoint that fits"),
    "no bounds": (lambda m: m.pop("bounds"), "holds no checkpoint that fits"),
}


def _featured() -> dict[str, Any]:
    return {"net": NETS["two_tower"].model_dump(mode="json")}


@pytest.mark.parametrize("forged", FORGED)
def test_a_forged_manifest_is_refused(folder: Path, forged: str) -> None:
    change, message = FORGED[forged]
    manifest = read_manifest_in(folder)
    change(manifest)
    write_json(folder / "manifest.json", manifest)
    with pytest.raises(CheckpointError, match=f"(?s)({message}).*again, or take the checkpoint from whom you trust"):
        load(folder)


def test_weights_of_another_net_or_of_none_are_refused(folder: Path) -> None:
    manifest = read_manifest_in(folder)
    bad = {
        "fits together": safetensors.torch.save({"x": torch.zeros(3)}),
        "no safetensors file": struct.pack("<Q", 1 << 60) + b"{}",
        r"no safetensors file.*": struct.pack("<Q", 2) + b"{}" + bytes(8),
        "is damaged": b"\x80\x04cos\nsystem\n.",
    }
    for message, content in bad.items():
        put_weights(folder, manifest, content)
        with pytest.raises(CheckpointError, match=f"(?s){message}"):
            load(folder)


def test_a_manifest_of_any_size_or_depth_is_refused(folder: Path) -> None:
    path = folder / "manifest.json"
    for text, message in (("[" * 100_000, "is not JSON"), ("[]", "is no manifest"), ("9" * 10_000, "is not JSON")):
        path.write_text(text)
        with pytest.raises(CheckpointError, match=message):
            read_manifest_in(folder)
    with path.open("wb") as handle:
        handle.truncate(1 << 40)
    with pytest.raises(CheckpointError, match="more than any manifest"):
        read_manifest_in(folder)


def test_a_map_of_other_rows_or_of_a_vast_text_is_refused(folder: Path) -> None:
    manifest = read_manifest_in(folder)
    path = folder / manifest["id_maps"]["items"]["file"]
    for ids in (("a",) * 9, (*"abcd", "x" * (2 << 20))):
        IdMap(ids).save(path)
        with pytest.raises(CheckpointError, match=r"ids-1-.* is damaged"):
            load(folder).encodings.items.encode(["a"])
    pq.write_table(pq.read_table(path).rename_columns(["no id"]), path)
    with pytest.raises(CheckpointError, match=r"ids-1-.* is damaged"):
        load(folder).encodings.items.encode(["a"])


@pytest.mark.parametrize("name", NETS)
def test_the_budget_of_its_own_weights_is_enough_for_every_net(name: str) -> None:
    config, sizes = NETS[name], Sizes(3000, 3000, 900, {"city": 30}, {"genre": 40}, 3, 8)
    weights = build_net(config, sizes).state_dict()
    with budget_of(weights):
        build_net(config, sizes)
    with pytest.raises(UntrustedError), Budget(sum(each.numel() for each in weights.values()) // 4):
        build_net(config, sizes)


DIMENSION = 4
LABELS = np.arange(0, 200, 2)


@pytest.fixture(scope="module")
def faiss_bytes() -> bytes:
    vectors = np.random.default_rng(0).normal(size=(len(LABELS), DIMENSION)).astype(np.float32)
    index = IvfIndex(DIMENSION, threads=1)
    index._rebuild(LABELS, vectors)
    return faiss.serialize_index(index._faiss).tobytes()


def _at(content: bytes, place: int, form: str, *values: Any) -> bytes:
    changed = bytearray(content)
    struct.pack_into(f"<{form}", changed, place, *values)
    return bytes(changed)


LISTS = b"ilar"
CRAFTED: dict[str, Callable[[bytes], bytes]] = {
    "another kind of index": lambda b: b"IwPQ" + b[4:],
    "lists in a file of the crafter's choice": lambda b: b.replace(LISTS, b"ilod"),
    "a quantizer that is a graph": lambda b: b.replace(b"IxFI", b"IHNf"),
    "another dimension": lambda b: _at(b, 4, "i", 1 << 30),
    "a negative dimension": lambda b: _at(b, 4, "i", -4),
    "more vectors": lambda b: _at(b, 8, "q", 1 << 60),
    "another metric": lambda b: _at(b, 33, "i", 1),
    "many cells": lambda b: _at(b, 37, "Q", 1 << 61),
    "no cells": lambda b: _at(b, 37, "Q", 0),
    "a longer quantizer": lambda b: _at(b, b.find(b"IxFI") + 37, "Q", 1 << 62),
    "more lists": lambda b: _at(b, b.find(LISTS) + 4, "Q", 1 << 50),
    "narrow codes, read as wide ones": lambda b: _at(b, b.find(LISTS) + 12, "Q", 1),
    "a list of another length": lambda b: _at(b, b.find(LISTS) + 32, "Q", 1 << 55),
    "a negative list": lambda b: _at(b, b.find(LISTS) + 32, "q", -1),
    "sizes of lists that are not there": lambda b: b.replace(b"full", b"sprs"),
    "a label of another": lambda b: b[:-8] + struct.pack("<q", 7),
    "a place beyond the lists": lambda b: _at(b, b.find(LISTS) - 8, "q", 1 << 62),
    "a place beyond its list": lambda b: _at(b, b.find(LISTS) - 8, "q", 0x7FFFFFFF),
    "a negative place": lambda b: _at(b, b.find(LISTS) - 8, "q", -1),
    "half": lambda b: b[: len(b) // 2],
    "nothing": lambda _: b"",
    "more behind it": lambda b: b + bytes(8),
}


def test_faiss_bytes_as_they_are_load(faiss_bytes: bytes) -> None:
    assert read_ivf(np.frombuffer(faiss_bytes, np.uint8), DIMENSION, LABELS).ntotal == len(LABELS)


@pytest.mark.parametrize("crafted", CRAFTED)
def test_crafted_faiss_bytes_never_reach_faiss(
    faiss_bytes: bytes, crafted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = CRAFTED[crafted](faiss_bytes)
    assert content != faiss_bytes
    monkeypatch.setattr(faiss, "deserialize_index", lambda _: pytest.fail("FAISS saw it"))
    with pytest.raises(IndexFileError, match="its FAISS part"):
        read_ivf(np.frombuffer(content, np.uint8), DIMENSION, LABELS)


def test_faiss_is_told_to_allocate_no_more_than_the_bytes_can_fill(
    faiss_bytes: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    whole = faiss.get_deserialization_vector_byte_limit()
    real = faiss.set_deserialization_vector_byte_limit
    monkeypatch.setattr(faiss, "set_deserialization_vector_byte_limit", lambda most: (told.append(most), real(most)))
    read_ivf(np.frombuffer(faiss_bytes, np.uint8), DIMENSION, LABELS)
    assert told == [8 * len(faiss_bytes), whole]
    assert faiss.get_deserialization_vector_byte_limit() == whole


@pytest.mark.parametrize("seed", range(3))
def test_no_flipped_byte_gets_a_false_place_through(faiss_bytes: bytes, seed: int) -> None:
    """What passes differs in numbers alone: every label is still found, where the lists have it."""
    rng = np.random.default_rng(seed)
    for _ in range(300):
        content = bytearray(faiss_bytes)
        content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
        try:
            index = read_ivf(np.frombuffer(bytes(content), np.uint8), DIMENSION, LABELS)
        except IndexFileError:
            continue
        assert index.reconstruct_batch(LABELS).shape == (len(LABELS), DIMENSION)
        assert set(index.search(np.ones((1, DIMENSION), np.float32), 5)[1][0]) <= {-1, *LABELS.tolist()}


def forged_index(path: Path, **changed: Any) -> Path:
    """A file with the right digest over wrong content."""
    ids, labels = changed.pop("ids", ["a", "b"]), changed.pop("labels", np.array([0, 1]))
    vectors = changed.pop("vectors", np.ones((2, DIMENSION), np.float32))
    header = {"dimension": DIMENSION, "metadata": {}} | changed
    write_index(path, IndexContent("exact", ids, labels, {"vectors": vectors}, header))
    return path


@pytest.mark.parametrize(
    "changed",
    [
        {"labels": np.array([0, 1 << 60])},
        {"labels": np.array([0, 2_000_000])},
        {"labels": np.array([0, -1])},
        {"labels": np.array([1, 1])},
        {"labels": np.array([0, 1, 2])},
        {"labels": np.array([0.0, 1.0])},
        {"ids": ["a", "a"]},
        {"dimension": 1 << 40},
        {"dimension": 0},
        {"dimension": "4"},
        {"vectors": np.ones((1, DIMENSION), np.float32)},
        {"vectors": np.ones((2, DIMENSION), np.float64)},
        {"vectors": np.ones((2, 1 << 10), np.float32)},
    ],
    ids=str,
)
def test_a_forged_index_is_refused(tmp_path: Path, changed: dict[str, Any]) -> None:
    path = forged_index(tmp_path / "index.safetensors", **changed)
    with pytest.raises(IndexFileError, match=r"index\.safetensors .*materialize serving/item_index"):
        ExactIndex.load(path)


def test_a_forged_header_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "index.safetensors"
    for length, text in ((1 << 62, b"{}"), (200_000_000, b"{}"), (4, b"null")):
        path.write_bytes(struct.pack("<Q", length) + text + bytes(64))
        with pytest.raises(IndexFileError, match="is not a whole index file"):
            IvfIndex.load(path)
    entry = json.dumps({"x": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}).encode()
    path.write_bytes(struct.pack("<Q", len(entry)) + entry)
    with pytest.raises(IndexFileError, match="is not a whole index file"):
        IvfIndex.load(path)
