"""Vectors and lists of everything, held against the recommender and a naive loop."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from assets.config import Settings
from assets.config.bulk import BulkConfig
from assets.ingestion.landing.removed import add_removed
from assets.ranking import user_vectors_of
from assets.schema import Columns
from assets.serving.bulk.embedder import ITEMS, SCORES, Embedder, Source, UnknownRowError, read_vectors
from assets.serving.bulk.engines import embed_items, score_users
from assets.stream import EngagementStream, load_tables
from assets.training.checkpoints import load_recommender
from assets.training.saving import save_checkpoint
from assets.training.train import train
from tests.models.contract import checkerboard_rows, write_checkerboard

K = 4


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    root = tmp_path_factory.mktemp("bulk")
    storage = write_checkerboard(root, checkerboard_rows())
    made = Settings(home=root, dataset=storage.dataset, bulk=BulkConfig(rows=7, k=K), training={"max_epochs": 1})  # type: ignore[arg-type]
    assert made.storage == storage
    for model in ("ihm_sasrec", "popularity"):
        save_checkpoint(storage, train(model, load_tables(storage), made))
    return made


@pytest.mark.parametrize("model", ["ihm_sasrec", "popularity"])
def test_vectors_and_lists_are_those_of_the_recommender(settings: Settings, model: str) -> None:
    tables = load_tables(settings.storage)
    recommender, stream = load_recommender(settings.storage, model, 0, tables), tables.stream
    instant = stream.timestamps[-1] + np.timedelta64(1, "us")
    expected = recommender.item_vectors(stream, instant)
    lists = pq.read_table(score_users(settings, model))
    vectors = read_vectors(settings.storage.base / "bulk" / f"{model}-items.parquet", tables.catalog.item_ids)
    assert vectors == pytest.approx(expected.numpy(), abs=1e-6)
    users = np.arange(len(tables.users))
    queries = stream.queries(users, np.full(len(users), instant), max(1, recommender.history_length))
    scores = (user_vectors_of(recommender, queries, expected) @ expected.T).numpy()
    for user, (items, found) in enumerate(zip(lists[ITEMS].to_pylist(), lists[SCORES].to_pylist(), strict=True)):
        taken = set(stream.items[stream.users == user].tolist())
        free = [row for row in range(len(expected)) if row not in taken]
        best = sorted(free, key=lambda row: -scores[user, row])[:K]
        assert found == pytest.approx(scores[user, best].tolist(), abs=1e-5)
        rows = [tables.catalog.item_ids.tolist().index(item) for item in items]
        assert scores[user, rows] == pytest.approx(scores[user, best], abs=1e-5)
        assert not taken & set(rows)


def test_an_id_of_no_table_is_named(settings: Settings) -> None:
    embedder = Embedder(Source(settings.storage, "popularity", 0))
    with pytest.raises(UnknownRowError, match="'nobody' is not in the table of items"):
        embedder.items(np.array(["nobody"], dtype=object))


@pytest.mark.parametrize("model", ["ihm_sasrec", "popularity"])
def test_what_was_removed_is_in_no_result_and_in_nobodys_history(
    settings: Settings, tmp_path: Path, model: str
) -> None:
    shutil.copytree(settings.home, tmp_path, dirs_exist_ok=True)
    mine = settings.model_copy(update={"home": tmp_path, "bulk": BulkConfig(rows=1, k=K)})  # blocks of nothing, too
    tables = load_tables(mine.storage)
    first = pq.read_table(score_users(mine, model)).to_pylist()
    user, item = first[0][Columns.USER], first[1][ITEMS][0]
    add_removed(mine.storage, users=[user], items=[item])
    found = {row[Columns.USER]: row for row in pq.read_table(score_users(mine, model)).to_pylist()}
    written = pq.read_table(mine.storage.base / "bulk" / f"{model}-items.parquet")[Columns.ITEM].to_pylist()
    assert written == [each for each in tables.catalog.item_ids if each != item]
    assert list(found) == [each for each in tables.users[Columns.USER] if each != user]
    assert not any(item in row[ITEMS] for row in found.values())

    rows = tables.interactions
    left = rows[(rows[Columns.USER] != user) & (rows[Columns.ITEM] != item)]
    stream = EngagementStream.from_tables(left, tables.users, tables.catalog.frame)
    recommender = load_recommender(mine.storage, model, 0, tables)
    instant = tables.stream.timestamps[-1] + np.timedelta64(1, "us")
    vectors = recommender.item_vectors(stream, instant)
    users = np.arange(len(tables.users))
    queries = stream.queries(users, np.full(len(users), instant), max(1, recommender.history_length))
    scores = (user_vectors_of(recommender, queries, vectors) @ vectors.T).numpy()
    places = {each: place for place, each in enumerate(tables.catalog.item_ids)}
    for row, name in enumerate(tables.users[Columns.USER]):
        if name != user:
            expected = [scores[row, places[each]] for each in found[name][ITEMS]]
            assert found[name][SCORES] == pytest.approx(expected, abs=1e-5)


def test_a_list_ends_where_candidates_do(settings: Settings, tmp_path: Path) -> None:
    long = settings.model_copy(update={"bulk": BulkConfig(k=1000)})
    table = pq.read_table(score_users(long, "popularity"))
    items, scores = table[ITEMS].to_pylist()[0], table[SCORES].to_pylist()[0]
    assert len(items) == len(scores) == pq.read_metadata(embed_items(long, "popularity")).num_rows
    assert items[-1] is None
    assert np.isnan(scores[-1])
    assert None not in items[:3]


def test_settings_of_another_engine_are_refused() -> None:
    with pytest.raises(ValueError, match="set engine to ray"):
        BulkConfig(workers=2)
