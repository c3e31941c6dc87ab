"""Nets that read dense content: the contract suite on a board whose items have some, and encodings of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from assets.config import Settings
from assets.storage import Storage
from assets.stream import DatasetTables, load_tables
from assets.training.checkpoints import CheckpointError, load_recommender, read_manifest
from assets.training.encoding import Encodings, Universe
from assets.training.past import before_cutoff
from assets.training.saving import save_checkpoint
from assets.training.train import train
from models.base import Net
from tests.assets.training.test_recommenders import small
from tests.models.contract import (
    CUTOFF,
    NEW_ITEM,
    VALIDATION_START,
    PersonalisedContract,
    World,
    checkerboard_rows,
    features,
    other_future_rows,
    write_checkerboard,
)
from tests.support import Row, interactions_frame, write_tables

WIDE = 4
NETS = ("two_tower", "ihm_sasrec", "cdn", "hrnn_meta")
BARE = ("i04", "i07", "z-item")
"""Items without content."""


def content(rows: Sequence[Row]) -> dict[str, list[float]]:
    """Per item four numbers, the first by parity; other items of the future have wild ones."""
    random = np.random.default_rng(7)
    board = {f"i{number:02d}": [float(number % 2), *random.normal(5, 3, WIDE - 1)] for number in range(20)}
    board[NEW_ITEM] = [1.0, 5.0, 5.0, 5.0]
    everything = board | {item: [1e4, -1e4, 0.0, 1.0] for _, item, _ in rows if item not in board}
    return {item: numbers for item, numbers in everything.items() if item not in BARE}


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    return write_checkerboard(tmp_path_factory.mktemp("board"), checkerboard_rows(), content(checkerboard_rows()))


@pytest.fixture(scope="module")
def other_future(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    rows = other_future_rows()
    return write_checkerboard(tmp_path_factory.mktemp("other-future"), rows, content(rows))


@pytest.mark.parametrize("world", NETS, indirect=True)
class TestNetsWithContent(PersonalisedContract):
    @classmethod
    def hyper_parameters(cls, model: str) -> Mapping[str, Any]:
        return small(model)

    def test_an_items_content_moves_that_item_alone(self, world: World, tmp_path: Path) -> None:
        """Of an item that was trained on, and of one that came later."""
        changed = content(checkerboard_rows()) | {NEW_ITEM: [0.0, 9.0, 1.0, 7.0], "i03": [0.0, 9.0, 1.0, 7.0]}
        moved = (
            self._vectors(world, write_checkerboard(tmp_path, checkerboard_rows(), changed), tmp_path) != world.items()
        )
        rows = torch.nonzero(moved.any(dim=1))[:, 0].tolist()
        assert rows == sorted([world.item_row(NEW_ITEM), world.item_row("i03")])

    def test_items_without_content_have_a_stand_in(self, world: World, tmp_path: Path) -> None:
        none = {"i00": content(checkerboard_rows())["i00"]}
        vectors = self._vectors(world, write_checkerboard(tmp_path, checkerboard_rows(), none), tmp_path)
        assert torch.isfinite(vectors).all()
        same = (vectors == world.items()).all(dim=1)
        names = world.tables.catalog.item_ids[same.numpy()].tolist()
        assert set(names) == {"i00", *(item for item in BARE if item != "z-item")}

    def test_scales_are_those_of_trained_items_and_part_of_the_weights(self, world: World) -> None:
        assert world.trained.weights is not None
        numbers = content(checkerboard_rows())
        trained = {item for _, item, instant in checkerboard_rows() if instant < CUTOFF} & set(numbers)
        wanted = torch.tensor([numbers[item] for item in sorted(trained)], dtype=torch.float32).mean(dim=0)
        means = [value for key, value in world.trained.weights.items() if key.endswith("content.mean")]
        assert means
        for mean in means:
            torch.testing.assert_close(mean, wanted)

    @staticmethod
    def _vectors(world: World, storage: Storage, tmp_path: Path) -> torch.Tensor:
        """[N, D] the world's net over other tables of the same engagements."""
        net: Net = world.recommender.net  # type: ignore[attr-defined]
        tables = load_tables(storage)
        refresher = world.recommender.refresher  # type: ignore[attr-defined]
        assert world.trained.encodings is not None
        universe = Universe.encode(world.trained.encodings, tables)
        fresh = replace(refresher, universe=universe)
        with torch.inference_mode():
            known = tables.stream.before(world.cutoff)
            rows = np.arange(len(tables.catalog))
            return net.item_vectors(fresh.inputs(rows, known, world.cutoff)).float()


def test_a_checkpoint_says_how_long_content_is_and_one_of_format_2_had_none(
    tmp_path: Path, saved_without: Storage
) -> None:
    tables = load_tables(saved_without)
    manifest = read_manifest(saved_without, "two_tower", 0)
    assert (manifest["format"], manifest["content"]) == (3, 0)
    path = saved_without.checkpoint("two_tower", 0) / "manifest.json"
    vectors = load_recommender(saved_without, "two_tower", 0, tables).item_vectors(tables.stream, tables.cutoff)
    older = {key: value for key, value in manifest.items() if key != "content"} | {"format": 2}
    path.write_text(json.dumps(older))
    again = load_recommender(saved_without, "two_tower", 0, tables)
    assert torch.equal(again.item_vectors(tables.stream, tables.cutoff), vectors)
    path.write_text(json.dumps(manifest | {"format": 4}))
    with pytest.raises(
        CheckpointError, match="has format 4, this version reads 2 and 3: materialize training/two_tower"
    ):
        load_recommender(saved_without, "two_tower", 0, tables)


@pytest.fixture
def saved_without(tmp_path: Path) -> Storage:
    item_features, user_features = features(checkerboard_rows())
    storage = write_tables(
        tmp_path, interactions_frame(checkerboard_rows()), CUTOFF, VALIDATION_START, 2, item_features, user_features
    )
    training = {"hyper_parameters": {"two_tower": small("two_tower") | {"max_epochs": 1}}, "device": "cpu"}
    save_checkpoint(storage, train("two_tower", load_tables(storage), Settings(dataset="toy", training=training)))
    return storage


def test_encodings_know_the_length_of_what_they_were_fitted_on(board: Storage) -> None:
    tables = load_tables(board)
    past = before_cutoff(tables)
    encodings = Encodings.fit(past, past.stream, 3)
    assert encodings.content == encodings.sizes.content == WIDE
    assert "content" not in encodings.item_features
    assert Encodings.from_maps(encodings.maps, WIDE) == encodings
    universe = Universe.encode(encodings, tables)
    numbers = content(checkerboard_rows())
    for row, item in enumerate(tables.catalog.item_ids):
        if item in numbers:
            assert universe.item_content[row].tolist() == np.array(numbers[item], np.float32).tolist()
        else:
            assert universe.item_content[row].isnan().all()


def test_content_that_only_the_future_has_is_not_read(tmp_path: Path) -> None:
    tables = load_tables(write_checkerboard(tmp_path, checkerboard_rows(), {NEW_ITEM: [1.0, 2.0]}))
    past = before_cutoff(tables)
    encodings = Encodings.fit(past, past.stream, 3)
    assert encodings.content == 0
    assert Universe.encode(encodings, tables).item_content.shape == (len(tables.catalog), 0)


def test_tables_that_do_not_fit_a_net_are_refused(board: Storage, tmp_path: Path) -> None:
    tables: DatasetTables = load_tables(board)
    encodings = Encodings.fit(tables, tables.stream, 3)
    other = load_tables(write_checkerboard(tmp_path, checkerboard_rows(), {"i01": [1.0, 2.0]}))
    with pytest.raises(ValueError, match="content of 2 numbers, the model was trained with 4"):
        Universe.encode(encodings, other)
    frame = tables.catalog.frame.drop(columns="content")
    bare = replace(tables, catalog=replace(tables.catalog, frame=frame))
    with pytest.raises(ValueError, match="lacks the column 'content'"):
        Universe.encode(encodings, bare)
