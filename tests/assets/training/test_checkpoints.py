import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from assets.config import Settings
from assets.idmap import IdMap
from assets.storage import Storage, write_json, write_parquet
from assets.stream import DatasetTables, load_tables
from assets.training import checkpoints
from assets.training.checkpoints import (
    CheckpointError,
    LoadedNet,
    ReplacedError,
    git_revision,
    load_counting,
    load_net,
    load_recommender,
    read_manifest,
    recommender_in,
    tables_version,
)
from assets.training.encoding import Encodings
from assets.training.recommender import NetRecommender
from assets.training.saving import save_checkpoint
from assets.training.train import Trained, train
from assets.transforms.export import TablesError, verify_tables
from tests.assets.training.conftest import ROWS
from tests.support import interactions_frame, write_manifest, write_tables

TINY = {"dim": 4, "max_epochs": 2, "items.hidden": 4, "items.feature_dim": 2, "users.hidden": 4, "users.feature_dim": 2}


@pytest.fixture(scope="module")
def trained(tables: DatasetTables) -> Trained:
    return train("two_tower", tables, Settings(training={"hyper_parameters": {"two_tower": TINY}, "seed": 3}))


@pytest.fixture
def saved(tmp_path: Path, trained: Trained) -> Storage:
    storage = write_tables(
        tmp_path,
        interactions_frame(ROWS),
        "2024-01-04",
        "2024-01-03",
        item_features={"genre": {}},
        user_features={"city": {}},
    )
    save_checkpoint(storage, trained)
    return storage


def test_manifest_says_where_the_weights_come_from(saved: Storage, trained: Trained) -> None:
    manifest = read_manifest(saved, "two_tower", 3)
    assert manifest["model"] == "two_tower"
    assert manifest["kind"] == "net"
    assert manifest["seed"] == 3
    assert manifest["config"]["net"]["dim"] == 4
    assert manifest["bounds"] == {
        "cutoff": "2024-01-04T00:00:00.000000",
        "validation_start": "2024-01-03T00:00:00.000000",
    }
    assert manifest["data_version"] == tables_version(saved)
    assert set(manifest["metrics"]["validation"]) == {"ndcg@10", "hr@10", "log_likelihood"}
    assert len(manifest["history"]["fit"]) >= trained.best_epoch == len(manifest["history"]["refit"])
    assert "torch" in manifest["libraries"]
    assert {name: entry["ids"] for name, entry in manifest["id_maps"].items()} == {
        "users": 3,
        "items": 5,
        "history_users": 0,  # nobody has ten engagements
        "user_feature-city": 1,
        "item_feature-genre": 3,
        "event_types": 1,
    }
    assert manifest["weights"]["sha256"][:16] in manifest["weights"]["file"]


def test_a_new_checkpoint_replaces_the_old_one_whole(saved: Storage, trained: Trained) -> None:
    folder = saved.checkpoint("two_tower", 3)
    before = {path.name for path in folder.iterdir()}
    assert trained.weights is not None
    save_checkpoint(saved, replace(trained, weights={name: value + 1 for name, value in trained.weights.items()}))
    after = {path.name for path in folder.iterdir()}
    assert len(after) == len(before)
    assert [name for name in before - after if not name.startswith("weights-")] == []
    assert read_manifest(saved, "two_tower", 3)["weights"]["file"] in after


def test_the_manifest_comes_last(saved: Storage, trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run killed before it leaves the old checkpoint loadable."""
    old = read_manifest(saved, "two_tower", 3)

    def killed(path: Path, value: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("assets.training.saving.write_json", killed)
    assert trained.weights is not None
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(saved, replace(trained, weights={name: value + 1 for name, value in trained.weights.items()}))
    assert read_manifest(saved, "two_tower", 3) == old
    load_recommender(saved, "two_tower", 3, load_tables(saved))


def _other(trained: Trained, more: float = 1) -> Trained:
    """What another training might give: other weights, and an id map of other ids."""
    assert trained.weights is not None
    assert trained.encodings is not None
    maps = {**trained.encodings.maps, "event_types": IdMap((f"event {more}",))}
    weights = {name: value + more for name, value in trained.weights.items()}
    return replace(trained, weights=weights, encodings=Encodings.from_maps(maps, trained.encodings.content))


@pytest.mark.parametrize("read", ["weights", "ids"])
@pytest.mark.parametrize("by", ["storage", "folder"])
def test_a_reader_between_two_checkpoints_gets_the_new_one(
    saved: Storage, trained: Trained, monkeypatch: pytest.MonkeyPatch, read: str, by: str
) -> None:
    """The model is trained again after the old manifest was read, and before the weights or the ids are."""
    tables, other, real = load_tables(saved), _other(trained), checkpoints.load_net
    manifests: list[Mapping[str, Any]] = []

    def overtaken(folder: Path, manifest: Mapping[str, Any]) -> LoadedNet:
        manifests.append(manifest)
        loaded = real(folder, manifest) if read == "ids" else None
        if len(manifests) == 1:
            save_checkpoint(saved, other)
        return loaded or real(folder, manifest)

    monkeypatch.setattr(checkpoints, "load_net", overtaken)
    if by == "storage":
        found = load_recommender(saved, "two_tower", 3, tables)
    else:
        found = recommender_in(saved.checkpoint("two_tower", 3), tables)
    assert len(manifests) == 2
    assert isinstance(found, NetRecommender)
    assert other.weights is not None
    for name, value in found.net.state_dict().items():
        assert torch.equal(value, other.weights[name]), name


def test_a_reader_that_is_overtaken_again_is_told(
    saved: Storage, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables, real = load_tables(saved), checkpoints.load_net
    times: list[float] = []

    def overtaken(folder: Path, manifest: Mapping[str, Any]) -> LoadedNet:
        times.append(1)
        save_checkpoint(saved, _other(trained, len(times)))
        return real(folder, manifest)

    monkeypatch.setattr(checkpoints, "load_net", overtaken)
    with pytest.raises(ReplacedError, match=r"holds another checkpoint than it did, weights-.* is gone"):
        load_recommender(saved, "two_tower", 3, tables)
    assert len(times) == 2


def test_who_holds_a_manifest_never_gets_another_checkpoints_net(saved: Storage, trained: Trained) -> None:
    folder, manifest = saved.checkpoint("two_tower", 3), read_manifest(saved, "two_tower", 3)
    loaded = load_net(folder, manifest)
    save_checkpoint(saved, _other(trained))
    with pytest.raises(ReplacedError, match=r"weights-.* is gone"):
        load_net(folder, manifest)
    with pytest.raises(ReplacedError, match=r"ids-.* is gone"):
        loaded.encodings.event_types.encode(["engagement"])


def test_what_goes_missing_while_it_is_read_is_named(saved: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, manifest = saved.checkpoint("two_tower", 3), read_manifest(saved, "two_tower", 3)
    loaded = load_net(folder, manifest)
    next(folder.glob("ids-0-*")).rename(folder / "aside")
    with pytest.raises(CheckpointError, match="lacks ids-0-") as raised:
        loaded.encodings.users.encode(["bob"])
    assert not isinstance(raised.value, ReplacedError)
    (folder / "aside").rename(folder / manifest["id_maps"]["users"]["file"])
    real = checkpoints.read_weights

    def gone(path: Path, entry: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        path.unlink()
        return real(path, entry)

    monkeypatch.setattr(checkpoints, "read_weights", gone)
    with pytest.raises(CheckpointError, match="lacks weights-"):
        load_net(folder, manifest)


@pytest.mark.parametrize(
    "config",
    [
        *({"kind": "all", "smoothing": value} for value in ("x", -5, 0, None, float("nan"), float("inf"), 10**400)),
        {"kind": "all"},
        {"kind": "net", "smoothing": 0.02},
        {"kind": "decayed", "half_life_days": 0, "smoothing": 0.02},
        [],
    ],
)
def test_a_manifest_of_no_counting_model_is_refused(config: object) -> None:
    manifest = {"model": "popularity", "config": config, "bounds": {"cutoff": "2024-01-04"}}
    with pytest.raises(CheckpointError, match=r"the manifest of popularity describes no counting model(?s:.)*again"):
        load_counting(manifest)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def _other_ids(path: Path) -> None:
    IdMap(("x", "w", "v", "y", "z")).save(path)


@pytest.mark.parametrize(
    ("pattern", "damage", "message"),
    [
        ("manifest.json", Path.unlink, "materialize training/two_tower with seed 3 first"),
        ("manifest.json", lambda path: path.write_text("{"), "is not JSON"),
        ("manifest.json", lambda path: write_json(path, {"format": 99}), "has format 99"),
        ("weights-*", Path.unlink, "lacks weights-"),
        ("weights-*", _flip, "is damaged"),
        ("ids-0-*", Path.unlink, "lacks ids-0-"),
        ("ids-1-*", _other_ids, "is damaged"),
    ],
)
def test_what_is_wrong_is_named(saved: Storage, pattern: str, damage: Callable[[Path], object], message: str) -> None:
    tables = load_tables(saved)
    damage(next(saved.checkpoint("two_tower", 3).glob(pattern)))
    with pytest.raises(CheckpointError, match=message):
        load_recommender(saved, "two_tower", 3, tables)


def test_id_maps_are_read_when_they_are_asked_for(saved: Storage, trained: Trained) -> None:
    folder = saved.checkpoint("two_tower", 3)
    manifest = read_manifest(saved, "two_tower", 3)
    assert trained.encodings is not None
    for path in folder.glob("ids-1-*"):
        IdMap(("x", "w", "v", "y", "z")).save(path)
    found = load_net(folder, manifest).encodings
    assert found.sizes == trained.encodings.sizes
    assert found.users == trained.encodings.users
    assert found.users.encode(["bob"]).tolist() == trained.encodings.users.encode(["bob"]).tolist()
    for _ in range(2):
        with pytest.raises(CheckpointError, match=r"ids-1-.* is damaged"):
            found.items.encode(["w"])


def test_a_map_of_another_length_is_damaged(saved: Storage) -> None:
    manifest = read_manifest(saved, "two_tower", 3)
    manifest["id_maps"]["history_users"]["ids"] += 1
    found = load_net(saved.checkpoint("two_tower", 3), manifest).encodings
    with pytest.raises(CheckpointError, match="is damaged"):
        found.history_users.encode(["bob"])


def test_other_tables_are_refused(saved: Storage) -> None:
    tables = load_tables(saved)
    write_parquet(saved.table("interactions"), saved.read_table("interactions").assign(value=2.0))
    write_manifest(saved)
    message = f"the tables are now {tables_version(saved)[:12]}: materialize training/two_tower again"
    with pytest.raises(CheckpointError, match=message):
        load_recommender(saved, "two_tower", 3, tables)


def test_the_version_is_that_of_one_whole_export(saved: Storage, tmp_path: Path) -> None:
    assert tables_version(saved) == verify_tables(saved)["version"]
    write_parquet(saved.table("interactions"), saved.read_table("interactions").assign(value=2.0))
    with pytest.raises(TablesError, match="is not the table its manifest names: materialize transforms/tables again"):
        tables_version(saved)
    with pytest.raises(TablesError, match="materialize transforms/tables"):
        tables_version(Storage(tmp_path, "nothing"))


def test_weights_are_not_pickled(saved: Storage, trained: Trained) -> None:
    path = next(saved.checkpoint("two_tower", 3).glob("weights-*"))
    size = int.from_bytes(path.read_bytes()[:8], "little")
    header = json.loads(path.read_bytes()[8 : 8 + size])
    assert trained.weights is not None
    assert set(header) - {"__metadata__"} == set(trained.weights)
    assert all(isinstance(value, torch.Tensor) for value in trained.weights.values())


def test_git_revision_is_unknown_without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert git_revision() == "unknown"
