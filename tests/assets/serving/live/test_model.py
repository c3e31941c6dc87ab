import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from assets.serving.live.model import EXPLAINED, LiveModel
from assets.serving.servable import servable
from assets.serving.store.records import unpack_features
from assets.storage import Storage
from assets.stream import PADDING, DatasetTables
from assets.training.checkpoints import CheckpointError, checkpoint_digest, load_net, read_manifest, read_manifest_in
from assets.training.encoding import Universe
from assets.training.registry import MODELS
from models.base import Features
from models.registry import NETS
from tests.assets.serving.live.filled import SEED, save_counting, save_net, toy


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> tuple[Storage, DatasetTables]:
    return toy(tmp_path_factory.mktemp("toy"))


def test_every_net_and_the_counts_that_follow_engagements_are_servable() -> None:
    assert {name for name in MODELS if servable(name)} == {*NETS, "popularity", "decayed_popularity"}
    assert not servable("no such model")


def test_a_folder_is_all_it_needs(dataset: tuple[Storage, DatasetTables], tmp_path: Path) -> None:
    storage, tables = dataset
    folder = shutil.copytree(save_net(storage, tables, "ihm_sasrec"), tmp_path / "checkpoint")
    model = LiveModel.load(folder)
    manifest = read_manifest(storage, "ihm_sasrec", SEED)
    assert (model.name, model.seed, model.digest) == ("ihm_sasrec", SEED, checkpoint_digest(manifest))
    assert (model.dimension, model.uses_trend, model.index_dimension) == (8, True, 9)
    assert (model.trend.half_life_days, model.trend.smoothing) == (1.5, 0.3)
    assert (model.item_history_length, model.towers.history_length) == (4, 4)
    assert model.user_history_length == EXPLAINED
    assert model.trained_until == tables.cutoff
    assert model.encodings is not None
    assert model.history_users == model.encodings.history_users
    assert model.feature_names("items") == ("genre", "year")
    assert model.feature_names("users") == ("city",)
    assert model.encodings == load_net(folder, manifest).encodings


def test_a_net_is_loaded_ready_to_serve(dataset: tuple[Storage, DatasetTables]) -> None:
    loaded = LiveModel.load(save_net(*dataset, "ihm_cdn"))
    assert not loaded.towers.net.training  # type: ignore[attr-defined]


def test_what_reads_no_histories_keeps_few(dataset: tuple[Storage, DatasetTables]) -> None:
    model = LiveModel.load(save_net(*dataset, "two_tower"))
    assert (model.item_history_length, model.towers.history_length) == (0, 0)
    assert model.user_history_length == EXPLAINED
    assert model.history_users.ids == ()
    assert (model.uses_trend, model.index_dimension) == (False, 8)


@pytest.mark.parametrize(
    ("name", "dimensions", "half_life"), [("popularity", (1, False, 1), 3.0), ("decayed_popularity", (0, True, 1), 3.0)]
)
def test_counting_models(
    dataset: tuple[Storage, DatasetTables], name: str, dimensions: tuple[int, bool, int], half_life: float
) -> None:
    model = LiveModel.load(save_counting(*dataset, name))
    assert (model.dimension, model.uses_trend, model.index_dimension) == dimensions
    assert (model.trend.half_life_days, model.trend.smoothing) == (half_life, 0.02)
    assert model.encodings is None
    assert model.item_history_length == 0
    assert model.feature_names("items") == model.feature_names("users") == ()
    assert unpack_features(model.encoded_items(dataset[1].catalog.frame), 0)[0].tolist() == [0] * len(
        dataset[1].catalog
    )


def test_a_count_over_a_window_is_refused(dataset: tuple[Storage, DatasetTables]) -> None:
    with pytest.raises(CheckpointError, match="recent_popularity, which cannot be kept up to date"):
        LiveModel.load(save_counting(*dataset, "recent_popularity"))


def test_what_is_missing_or_damaged_is_named(dataset: tuple[Storage, DatasetTables], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="manifest\\.json does not exist"):
        LiveModel.load(tmp_path)
    folder = shutil.copytree(save_net(*dataset, "sasrec"), tmp_path / "checkpoint")
    weights = next(folder.glob("weights-*"))
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="is damaged"):
        LiveModel.load(folder)
    weights.unlink()
    with pytest.raises(CheckpointError, match="lacks weights-"):
        load_net(folder, read_manifest_in(folder))


def _lists(features: Features, name: str) -> list[list[int]]:
    return [[value for value in row if value != PADDING] for row in features[name].tolist()]


def test_rows_are_encoded_as_the_universe_encodes_them(dataset: tuple[Storage, DatasetTables]) -> None:
    storage, tables = dataset
    model = LiveModel.load(save_net(storage, tables, "ihm_sasrec"))
    assert model.encodings is not None
    expected = Universe.encode(model.encodings, tables)
    sides = [
        (model.encoded_items(tables.catalog.frame), "items", expected.item_ids, expected.item_features),
        (model.encoded_users(tables.users), "users", expected.user_ids, expected.user_features),
    ]
    for rows, side, ids, features in sides:
        names = model.feature_names(side)  # type: ignore[arg-type]
        dense, found = unpack_features(rows, len(names))
        assert dense.tolist() == ids.tolist()
        assert 0 in dense  # somebody is unknown
        for name, (values, lengths) in zip(names, found, strict=True):
            assert [part.tolist() for part in np.split(values, np.cumsum(lengths)[:-1])] == _lists(features, name)
            assert len(set(lengths.tolist())) > 1 or name == "year"


def test_a_feature_that_is_not_given_is_unknown(dataset: tuple[Storage, DatasetTables]) -> None:
    storage, tables = dataset
    model = LiveModel.load(save_net(storage, tables, "ihm_sasrec"))
    frame = tables.catalog.frame[["item_id", "genre"]].assign(other=[["x"]] * len(tables.catalog))
    _, (genre, year) = unpack_features(model.encoded_items(frame), 2)
    assert genre[0].max() > 0
    assert year[0].tolist() == [0] * len(frame)
    assert year[1].tolist() == [1] * len(frame)
    assert model.encoded_items(frame[:0]) == []


def test_nothing_is_random_between_two_loads(dataset: tuple[Storage, DatasetTables]) -> None:
    folder = save_net(*dataset, "ihm_sasrec")
    one, two = (LiveModel.load(folder).towers.net.state_dict() for _ in range(2))  # type: ignore[attr-defined]
    assert all(torch.equal(one[name], two[name]) for name in one)
