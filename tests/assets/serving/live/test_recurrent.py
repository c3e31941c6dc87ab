"""Recurrent nets served live: scores are those of batch code over all rows, whenever users ask.

Their user vectors read the instant, value and event type of every entry and the instant of the request, so this is
where anything that the store loses of a history shows.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from assets.ingestion.landing.batches import LandedBatch
from assets.instants import DAY, HOUR
from assets.serving.live.batch_rows import SAME
from assets.serving.live.build import renew
from assets.serving.live.generation import require_current
from assets.serving.live.removal import forget_user, take_down_item
from assets.serving.retrieval.retriever import Retriever
from assets.serving.store.meta import EPOCH, WATERMARK, get_meta
from assets.stream import DatasetTables, load_tables
from assets.training.checkpoints import load_net, read_manifest_in
from assets.training.encoding import Universe
from assets.training.recommender import NetRecommender
from assets.training.refresh import Refresher
from tests.assets.serving.live.conftest import CUTOFF, RECURRENT_MODELS, START, Engagement, Live
from tests.support import write_tables

USERS = [*(f"u{number:02}" for number in range(15)), "new0", "new1"]
ITEMS = [*(f"i{number:02}" for number in range(28)), "fresh0"]
COLUMNS = [*SAME, "source_row"]


def random_rows(seed: int) -> list[Engagement]:
    """Late ones, equal instants within a user and an item, values and types known and unknown."""
    random = Random(seed)
    return [
        (
            random.choice(USERS),
            random.choice(ITEMS),
            (START + pd.Timedelta(random.randrange(8 * 24) / 2 + 24, "h")).isoformat(),
            random.choice([None, 0.5, 1.0, 5.0]),
            random.choice(["engagement", "view", "view", "unheard of"]),
        )
        for _ in range(40)
    ]


def as_tables(live: Live, batches: Sequence[LandedBatch], root: Path, gone: Sequence[str] = ()) -> DatasetTables:
    """Everything as if it had been in the source, without what is ``gone``."""
    parts = [pq.read_table(batch.path, partitioning=None).to_pandas()[COLUMNS] for batch in batches]
    rows = pd.concat([live.tables.interactions[COLUMNS], *parts], ignore_index=True).drop_duplicates(SAME)
    rows = rows[~rows["user_id"].isin(gone) & ~rows["item_id"].isin(gone)]
    items, users = live.tables.catalog.frame, live.tables.users
    return load_tables(
        write_tables(
            root,
            rows,
            cutoff=CUTOFF,
            validation_start="2024-03-03",
            item_features={"genre": dict(zip(items["item_id"], items["genre"], strict=True))},
            user_features={"city": dict(zip(users["user_id"], users["city"], strict=True))},
        )
    )


def expected(live: Live, tables: DatasetTables, instant: int) -> dict[str, dict[str, float]]:
    """Scores by user and item of everything not engaged with, as :class:`NetRecommender` gives them."""
    generation = require_current(live.storage)
    loaded = load_net(generation.checkpoint, read_manifest_in(generation.checkpoint))
    universe = Universe.encode(loaded.encodings, tables)
    refresher = Refresher(universe, loaded.trained_until, loaded.net.item_history_length, loaded.config.counts)
    recommender, stream = NetRecommender(loaded.net, refresher), tables.stream
    with generation.open_store() as store, store.read() as reader:
        epoch = np.datetime64(get_meta(reader, EPOCH), "us")
    inputs = refresher.inputs(np.arange(stream.n_items), stream, epoch)
    # What the weights were trained with stays what it was when engagements are forgotten or come late.
    trained = live.tables.catalog.frame.set_index("item_id")["train_count"].reindex(tables.catalog.item_ids)
    counts = torch.tensor(trained.fillna(0).to_numpy(), dtype=torch.float32)
    with torch.inference_mode():
        items = loaded.net.eval().item_vectors(replace(inputs, counts=counts))
    everybody, end = np.arange(stream.n_users), np.datetime64("2100-01-01", "us")
    queries = stream.queries(everybody, np.full(stream.n_users, end), recommender.history_length)
    last = queries.history_timestamps[everybody, queries.lengths - 1].astype(np.int64)
    queries = replace(queries, instants=np.maximum(last, instant).astype("datetime64[us]"))
    scores = (recommender.user_vectors(queries, items) @ items.T).numpy()
    scores[stream.seen_pairs(everybody, np.full(stream.n_users, end))] = np.nan
    return {
        user: {item: score for item, score in zip(tables.catalog.item_ids, row, strict=True) if not np.isnan(score)}
        for user, row in zip(tables.users["user_id"], scores.tolist(), strict=True)
    }


def recommended(live: Live, users: Sequence[str], now: int, at: datetime | None = None) -> dict[str, dict[str, float]]:
    with Retriever.open(live.storage, live.settings, clock=lambda: now) as retriever:
        answers = retriever.recommend(users, k=1000, at=at)
    return {answer.user_id: {each.item_id: each.score for each in answer.results} for answer in answers}


def assert_same(found: dict[str, dict[str, float]], wanted: dict[str, dict[str, float]]) -> None:
    assert found.keys() == wanted.keys()
    for user, scores in wanted.items():
        assert found[user].keys() == scores.keys(), user
        np.testing.assert_allclose(
            [found[user][item] for item in scores], list(scores.values()), rtol=1e-5, atol=1e-5, err_msg=user
        )


def serve(live: Live, model: str, seeds: Sequence[int]) -> tuple[list[LandedBatch], int]:
    """Let ``model`` serve, and land a batch per seed; the batches and the watermark."""
    renew(live.storage, live.settings, live.tables, model, 0, live.later())
    batches = []
    for seed in seeds:
        batches.append(live.land_each(random_rows(seed)))
        live.process()
    with live.opened() as opened, opened.store.read() as reader:
        return batches, get_meta(reader, WATERMARK)


@pytest.mark.parametrize("model", RECURRENT_MODELS)
def test_what_landed_is_recommended_by_as_batch_code_would(unbuilt: Live, tmp_path: Path, model: str) -> None:
    batches, watermark = serve(unbuilt, model, seeds=[1, 2])
    tables = as_tables(unbuilt, batches, tmp_path / "whole")
    users = tables.users["user_id"].tolist()
    assert "new0" in users
    at = datetime.fromtimestamp(watermark / 1e6, UTC) + timedelta(days=40)
    asked = [
        (recommended(unbuilt, users, watermark + 700 * DAY), watermark + DAY),  # long after the data ended
        (recommended(unbuilt, users, watermark + 3 * HOUR), watermark + 3 * HOUR),  # while it goes on
        (recommended(unbuilt, users, watermark - 2 * DAY), watermark - 2 * DAY),  # by a clock that is behind
        (recommended(unbuilt, users, watermark, at), watermark + 40 * DAY),
    ]
    for found, instant in asked:
        assert_same(found, expected(unbuilt, tables, instant))
    scores = [np.concatenate([list(each[user].values()) for user in sorted(each)]) for each, _ in asked]
    moved = np.abs(np.sort(scores[3]) - np.sort(scores[0])).max()
    assert (moved > 1e-3) == (model == "hrnn_meta")  # it reads the time of the request, gru does not
    assert not unbuilt.compare()


@pytest.mark.parametrize("model", RECURRENT_MODELS)
def test_after_removals_and_in_a_new_generation_too(unbuilt: Live, tmp_path: Path, model: str) -> None:
    batches, watermark = serve(unbuilt, model, seeds=[3])
    forget_user(unbuilt.storage, "u03", unbuilt.settings, unbuilt.later)
    take_down_item(unbuilt.storage, "i02", unbuilt.settings, unbuilt.later)
    tables = as_tables(unbuilt, batches, tmp_path / "whole", gone=["u03", "i02"])
    wanted, users = expected(unbuilt, tables, watermark + DAY), tables.users["user_id"].tolist()
    assert_same(recommended(unbuilt, users, watermark + 2 * DAY), wanted)
    renew(unbuilt.storage, unbuilt.settings, unbuilt.tables, model, 0, unbuilt.later())
    assert_same(recommended(unbuilt, users, watermark + 2 * DAY), wanted)


def test_results_are_explained_and_the_index_is_measured(unbuilt: Live) -> None:
    _, watermark = serve(unbuilt, "hrnn_meta", seeds=[4])
    with Retriever.open(unbuilt.storage, unbuilt.settings, clock=lambda: watermark) as retriever:
        (answer,) = retriever.recommend(["u01"], k=3, why=True)
        assert len(retriever.similar("i00", k=2).results) == 2
    assert all(result.why for result in answer.results)
    assert unbuilt.maintain(force=True).recall == 1.0
