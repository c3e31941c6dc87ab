"""The freshness benchmark measures the real work: every engagement applied, every item embedded and indexed."""

from pathlib import Path

import numpy as np
import pytest

from assets.config import TriggerConfig
from assets.serving.live.embedder import item_vectors
from assets.serving.live.features import BatchRows, FeatureConfig, log_features
from assets.serving.live.rows import Rows
from assets.serving.store.interface import Table
from assets.serving.store.lmdb_store import LmdbStore
from assets.serving.store.meta import ITEMS, get_meta
from assets.serving.store.numbers import numbers_for
from assets.serving.store.records import ENTRY, USER_ENTRY, id_keys, new_items, number_keys, unpack, unpack_runs
from benchmarks import incremental
from benchmarks.freshness import (
    Measured,
    Rate,
    day_of_engagements,
    loop_over_rows,
    measure_embedding,
    measure_logging,
    table_of,
    whole_batch,
)
from benchmarks.incremental import CatalogCost, Steps, draw, incremental_cost, tables
from benchmarks.made_up_store import START, Sizes, fill_store, item_names, random_model, user_names
from benchmarks.measuring import Cost, latency_ms, metered

SIZES = Sizes(items=40, users=12, item_history=5, user_history=7, dim=8)


def test_a_made_up_store_has_full_histories_of_known_users_and_items(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("benchmarks.made_up_store.CHUNK", 16)
    with LmdbStore(tmp_path) as store:
        model = random_model(SIZES)
        fill_store(store, model, SIZES)
        keys = number_keys(np.arange(SIZES.items))
        with store.read() as reader:
            assert get_meta(reader, ITEMS) == reader.size(Table.PENDING) == SIZES.items
            assert numbers_for(reader, item_names(np.arange(SIZES.items))).tolist() == list(range(SIZES.items))
            entries, lengths = unpack_runs(reader.get_many(Table.ITEM_HISTORIES, keys), ENTRY)
            assert set(lengths) == {SIZES.item_history}
            assert (entries["id"].min(), entries["id"].max()) == (1, SIZES.users)  # dense ids: every one qualified
            assert entries["timestamp"].max() < START
            items = unpack(reader.get_many(Table.ITEMS, keys), new_items(1)[0])
            assert set(items["total"]) == {SIZES.item_history}
            users = id_keys(user_names(np.arange(SIZES.users)))
            bought, lengths = unpack_runs(reader.get_many(Table.USER_HISTORIES, users), USER_ENTRY)
            assert set(lengths) == {SIZES.user_history}
            assert bought["id"].max() < SIZES.items
            assert set(bought["event"]) == {1}
            assert reader.size(Table.SEEN) == SIZES.users
            vectors = item_vectors(reader, model, np.arange(SIZES.items))
        assert vectors.shape == (SIZES.items, SIZES.dim)
        assert len(np.unique(vectors, axis=0)) == SIZES.items  # histories and features reach the tower


def test_logging_is_measured_on_days_of_distinct_engagements_that_all_apply() -> None:
    first, second = (Rows.from_table(day_of_engagements(SIZES, 60, day)) for day in (0, 1))
    assert len(np.unique(np.concatenate([first.digests, second.digests]))) == 120
    assert first.timestamps.max() < second.timestamps.min()
    measured = measure_logging(SIZES, rows=50, count=2, plain_rows=10)
    assert [rate.done for rate in measured.rates.values()] == [100, 100, 10]
    alone, with_digests, _ = measured.rates.values()
    assert 0 < alone.cost.wall < with_digests.cost.wall


def test_the_plain_loop_leaves_the_histories_that_feature_logging_leaves(tmp_path: Path) -> None:
    model, rows = random_model(SIZES), Rows.from_table(day_of_engagements(SIZES, 30, 0))
    config = FeatureConfig(SIZES.item_history, SIZES.user_history, model.event_types, 1.0, None, TriggerConfig())
    found = []
    for name in ("ours", "plain"):
        with LmdbStore(tmp_path / name) as store:
            fill_store(store, model, SIZES)
            if name == "ours":
                log_features(store, [whole_batch(rows, "d")], model.history_users, config, START)
            else:
                with store.write() as writer:
                    loop_over_rows(writer, rows, model, SIZES)
            with store.read() as reader:
                found.append([list(reader.scan(table)) for table in (Table.USER_HISTORIES, Table.ITEM_HISTORIES)])
    assert found[0] == found[1]


def test_embedding_is_measured_over_every_item() -> None:
    measured = measure_embedding(SIZES, threads=1, plain_items=3)
    assert [rate.done for rate in measured.rates.values()] == [40, 40, 3]
    assert min(rate.cost.wall for rate in measured.rates.values()) > 0


def test_a_table_compares_with_the_plain_way_and_the_bar() -> None:
    measured = Measured({"ours": Rate(100, Cost(2.0, 1.0)), "plain": Rate(10, Cost(1.0, 2.0))}, peak_mib=7)
    assert [cell.strip() for cell in table_of(measured, bar=50).splitlines()[2].split("|")[1:-1]] == [
        "ours",
        "50",
        "100",
        "20",
        "met",
    ]
    assert "MISSED" in table_of(measured, bar=51)


def test_incremental_cost_touches_what_it_says_and_leaves_out_what_is_larger_than_the_catalog(monkeypatch) -> None:
    applied: list[BatchRows] = []
    log = incremental.log_features
    monkeypatch.setattr(incremental, "log_features", lambda *a: applied.extend(a[1]) or log(*a))
    monkeypatch.setattr(incremental, "USERS", 12)
    found = incremental_cost(40, touched=(2, 10, 100), repeats=2)
    assert list(found.touched) == [2, 10]
    assert [len(np.unique(batch.rows.items)) for batch in applied] == [2, 2, 2, 10, 10, 10]
    assert {len(batch.rows) for batch in applied} == {4, 20}
    assert min(found.opening.wall, found.embedding.wall, found.index.wall, found.store_mib, found.filled_mib) > 0
    assert found.peak_mib >= found.filled_mib
    assert all(min(steps.features.wall, steps.embedding.wall, steps.index.wall) > 0 for steps in found.touched.values())


def catalog(items: int, touched: int, milliseconds: float) -> CatalogCost:
    step = Cost(milliseconds / 3e3, milliseconds / 6e3)
    return CatalogCost(items, {touched: Steps(step, step, step)}, Cost(1, 1), Cost(4, 3), Cost(2, 1), 1, 2, 3)


def test_a_rebuild_is_compared_with_the_whole_batch() -> None:
    found = catalog(10_000, 10, milliseconds=60)
    assert found.cheaper(10) == pytest.approx((100, 400 / 3))
    assert "met" in tables([found])
    assert "MISSED" in tables([catalog(10_000, 10, milliseconds=600)])
    assert "met" not in tables([catalog(10_000, 100, milliseconds=60)])  # the bar is for a thousandth


def test_the_figure_is_drawn(tmp_path: Path) -> None:
    path = draw([catalog(100, 10, 5), catalog(1000, 10, 6)], tmp_path / "images" / "cost.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_costs_and_latencies() -> None:
    with metered() as cost:
        sum(range(200_000))
    assert 0 < cost.cpu <= cost.wall * 1.5
    assert Cost(1, 2) + Cost(3, 5) == Cost(4, 7)
    assert Cost.median([Cost(1, 9), Cost(5, 2), Cost(2, 3)]) == Cost(2, 3)
    assert latency_ms(np.arange(101) / 1e3) == pytest.approx((50, 99, 100))
    assert np.isnan(latency_ms(np.zeros(0))).all()
