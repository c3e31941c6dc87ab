"""Generations built, caught up and switched, and what a kill in the middle leaves."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from assets.config import StoreConfig
from assets.ingestion.landing.batches import LandedBatch, read_info
from assets.ingestion.landing.removed import add_removed
from assets.serving.engines import read_engines, write_engines
from assets.serving.live import apply, build
from assets.serving.live.build import build_generation, needs_build, promote, renew
from assets.serving.live.generation import current, generations, open_generation, require_current
from assets.serving.live.ledger import entries
from assets.serving.live.maintain import day_of, load_index
from assets.serving.live.state import batch_state, differences
from assets.serving.live.stored import stored_items
from assets.serving.promotion import reason_to_build
from assets.serving.store.deltas import deltas_after
from assets.serving.store.interface import StoreFaultError
from assets.serving.store.meta import EPOCH, GENERATION, SEQ, SNAPSHOT, WATERMARK, get_meta
from assets.storage import write_json, write_parquet
from assets.stream import Catalog
from assets.training.checkpoints import CheckpointError, read_manifest
from tests.assets.serving.live.conftest import MODEL, NOW, Live, engagements_of, tiny_rows
from tests.support import write_manifest

LATE = [("u01", "i03", "2024-03-07T01:00:00"), ("u09", "brand new", "2024-03-07T02:00:00")]


MIDNIGHT = pd.Timestamp("2024-03-07").value // 1000  # that LATE's day began with, microseconds
SAME_DAY = [("u01", "i03", "2024-03-01T01:00:00"), ("u09", "brand new", "2024-03-01T02:00:00")]
"""Of a day that the index's trends are of already, so that no snapshot is due."""


def test_a_generation_holds_everything_and_says_what_it_is(live: Live) -> None:
    manifest = read_manifest(live.storage, MODEL, 0)
    generation = require_current(live.storage)
    record = generation.record()
    assert (record.model, record.seed, record.tables, record.until) == (MODEL, 0, manifest["data_version"], None)
    assert needs_build(live.storage, manifest) is None
    with live.opened() as opened, opened.store.read() as reader:
        assert opened.model.digest == record.checkpoint
        assert get_meta(reader, GENERATION) == record.model_dump(mode="json")
        (base,) = entries(reader)
        assert (base.kind, base.applied, base.duplicates, base.seq) == ("base", len(tiny_rows()), 0, 1)
        index, items = load_index(reader, generation), stored_items(reader, opened)
    assert sorted(index.ids) == sorted(items.frame.index) == sorted(live.tables.catalog.item_ids)
    np.testing.assert_array_equal(items.frame["train_count"], live.tables.catalog.train_count)
    assert not live.compare()


def test_why_a_build_is_needed(unbuilt: Live) -> None:
    storage, settings = unbuilt.storage, unbuilt.settings
    manifest = read_manifest(storage, MODEL, 0)
    assert needs_build(storage, manifest) == "there is no generation yet"
    generation = renew(storage, settings, unbuilt.tables, MODEL, 0, NOW, until=unbuilt.tables.cutoff)
    assert str(needs_build(storage, manifest)).endswith("was made for a replay, which is over")
    write_json(storage.live / "replay.json", {})
    assert needs_build(storage, manifest) is None
    assert f"serves another checkpoint, of {MODEL}" in str(
        needs_build(storage, read_manifest(storage, "popularity", 0))
    )
    (generation.folder / "generation.json").unlink()
    assert str(needs_build(storage, manifest)).endswith("is incomplete")


@pytest.mark.parametrize("step", ["write_base", "fill_base", "apply_batches", "refresh_embeddings", "maintain_index"])
def test_a_killed_build_serves_nothing_and_leaves_nothing(
    live: Live, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    live.land(LATE)
    before = require_current(live.storage)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(build, step, killed)
        with pytest.raises(KeyboardInterrupt):
            build_generation(live.storage, live.settings, live.tables, MODEL, 0, live.later())
    assert current(live.storage) == before
    half = generations(live.storage)[-1]
    assert half != before
    lines: list[str] = []
    after = renew(live.storage, live.settings, live.tables, MODEL, 0, live.later(), progress=lines.append)
    assert lines[0] == f"removed generation {half.name}, which a killed build left"
    assert generations(live.storage) == [before, after]
    assert not live.compare()
    with live.opened() as opened, opened.store.read() as reader:
        assert {entry.kind: entry.applied for entry in entries(reader)} == {"base": len(tiny_rows()), "engagements": 2}


def test_what_lands_during_a_build_is_caught_up_with(live: Live) -> None:
    generation = build_generation(live.storage, live.settings, live.tables, MODEL, 0, live.later())
    live.land(SAME_DAY)
    live.process()  # into the generation that still serves
    with live.opened() as opened, opened.store.read() as reader:
        assert opened.generation != generation
        latest = get_meta(reader, SEQ)
    promote(live.storage, live.settings, generation, live.later())
    with live.opened() as opened, opened.store.read() as reader:
        assert opened.generation == generation
        assert "brand new" in load_index(reader, generation).ids
        assert get_meta(reader, SNAPSHOT)["seq"] == latest + 1  # numbers go on: none means two things
        assert [delta.seq for delta in deltas_after(reader, latest)] == [latest + 2]
        assert get_meta(reader, SEQ) == latest + 2
    assert not live.compare()


def test_promoting_opens_only_what_landed_during_the_build(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others wait for the writer's lock meanwhile, and there may be a hundred thousand batches."""
    live.land(SAME_DAY[:1])
    generation = build_generation(live.storage, live.settings, live.tables, MODEL, 0, live.later())
    fresh = live.land(SAME_DAY[1:])
    opened = []

    def noted(path: Path) -> LandedBatch:
        opened.append(path)
        return read_info(path)

    monkeypatch.setattr(apply, "read_info", noted)
    promote(live.storage, live.settings, generation, live.later())
    assert opened == [fresh.path]
    assert not live.compare()


def test_a_day_that_began_during_a_build_is_in_the_trends(live: Live) -> None:
    generation = build_generation(live.storage, live.settings, live.tables, MODEL, 0, live.later())
    live.land(LATE)
    promote(live.storage, live.settings, generation, live.later())
    with live.opened() as opened, opened.store.read() as reader:
        assert get_meta(reader, EPOCH) == day_of(get_meta(reader, WATERMARK)) == MIDNIGHT
        assert deltas_after(reader, get_meta(reader, SNAPSHOT)["seq"]) == []
    assert not live.compare()


def test_a_promotion_that_was_killed_is_finished_by_the_next(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    generation = build_generation(live.storage, live.settings, live.tables, MODEL, 0, live.later())
    live.land(SAME_DAY[:1])
    before = require_current(live.storage)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(build, "switch_to", killed)
        with pytest.raises(KeyboardInterrupt):
            promote(live.storage, live.settings, generation, live.later())
    assert current(live.storage) == before
    for row in SAME_DAY:  # the old one goes on and gets ahead
        live.land([row, ("u02", "i02", row[2])])
        live.process()
    promote(live.storage, live.settings, generation, live.later())
    with live.opened() as opened, opened.store.read() as reader:
        snapshot = get_meta(reader, SNAPSHOT)["seq"]
        assert [delta.seq for delta in deltas_after(reader, snapshot)] == [snapshot + 1, snapshot + 2]
    assert not live.compare()


def test_only_the_current_and_the_previous_one_are_kept(live: Live) -> None:
    names = [require_current(live.storage).name]
    for _ in range(2):
        names.append(renew(live.storage, live.settings, live.tables, MODEL, 0, live.later()).name)
    assert [generation.name for generation in generations(live.storage)] == names[1:]


@pytest.mark.parametrize("model", ["popularity", "decayed_popularity"])
def test_counting_models_are_served_too(unbuilt: Live, model: str) -> None:
    renew(unbuilt.storage, unbuilt.settings, unbuilt.tables, model, 0, NOW)
    assert not unbuilt.compare()
    unbuilt.land(LATE)
    unbuilt.process()
    found = unbuilt.compare()
    assert not found, found.examples
    with unbuilt.opened() as opened:
        assert opened.model.index_dimension == 1


def test_a_base_until_an_instant_grows_into_the_whole(unbuilt: Live) -> None:
    """What a replay does: the same state in the end, and nothing of the future at the start."""
    tables = unbuilt.tables
    renew(unbuilt.storage, unbuilt.settings, tables, MODEL, 0, NOW, until=tables.cutoff)
    unseen = tables.catalog.item_ids[tables.catalog.available_at >= tables.cutoff]
    assert len(unseen) > 3
    with unbuilt.opened() as opened, opened.store.read() as reader:
        assert get_meta(reader, WATERMARK) < tables.cutoff.astype(np.int64)
        frame = stored_items(reader, opened).frame
        assert not frame.loc[unseen, "available"].any()
        assert not set(unseen) & set(load_index(reader, opened.generation).ids)
    rest = [row for row in engagements_of(tiny_rows()) if pd.Timestamp(row[2]) >= pd.Timestamp(tables.cutoff)]
    assert 100 < len(rest) < len(tiny_rows())
    for part in range(3):
        unbuilt.land_each(rest[part::3])
        unbuilt.process()
    assert not unbuilt.compare()
    grown = _items(unbuilt)
    renew(unbuilt.storage, unbuilt.settings, tables, MODEL, 0, unbuilt.later())
    pd.testing.assert_frame_equal(grown.loc[_items(unbuilt).index], _items(unbuilt), rtol=1e-9)


def _items(live: Live) -> pd.DataFrame:
    with live.opened() as opened, opened.store.read() as reader:
        return stored_items(reader, opened).frame


def test_a_rebuild_takes_what_was_too_old_and_drops_what_was_removed(live: Live) -> None:
    freshness = live.settings.freshness.model_copy(update={"retention_days": 2})
    live.settings = live.settings.model_copy(update={"freshness": freshness})
    live.land([("u01", "i02", "2024-03-01T00:07:00"), ("u02", "i02", "2024-03-01T00:08:00")])
    (entry,) = live.apply()
    assert entry.beyond_retention == 2
    live.refresh()
    assert not live.compare()
    add_removed(live.storage, users=["u02"], items=["i04"])
    generation = renew(live.storage, live.settings, live.tables, MODEL, 0, live.later())
    with live.opened() as opened, opened.store.read() as reader:
        assert [(one.applied, one.removed) for one in entries(reader) if one.kind == "engagements"] == [(1, 1)]
        assert "i04" not in load_index(reader, generation).ids
    for table, column in (("interactions", "user_id"), ("users", "user_id")):
        assert "u02" not in set(pd.read_parquet(generation.base(table))[column])
    assert not live.compare()


def test_who_is_removed_during_a_build_is_not_served(live: Live) -> None:
    generation = build_generation(live.storage, live.settings, live.tables, MODEL, 0, live.later())
    add_removed(live.storage, users=["u02"], items=["i04"])
    promote(live.storage, live.settings, generation, live.later())
    with live.opened() as opened, opened.store.read() as reader:
        assert "i04" not in load_index(reader, generation).ids
    assert not live.compare()


def test_items_that_nobody_engaged_with_are_indexed_from_their_creation_on(unbuilt: Live) -> None:
    created = {"old": "2024-03-02", "soon": "2024-03-08", "undated": None}
    items = unbuilt.storage.read_table("items")
    blank = items.iloc[:3].assign(item_id=list(created), available_at=pd.NaT, first_engaged_at=pd.NaT, train_count=0)
    blank["created_at"] = pd.to_datetime(list(created.values())).astype("datetime64[us]")
    catalog = Catalog.from_table(pd.concat([items, blank], ignore_index=True))
    tables = dataclasses.replace(unbuilt.tables, catalog=catalog)
    generation = renew(unbuilt.storage, unbuilt.settings, tables, MODEL, 0, NOW)
    for expected in ({"old"}, {"old", "soon"}):
        with unbuilt.opened() as opened, opened.store.read() as reader:
            assert set(load_index(reader, generation).ids) & set(created) == expected
        assert not unbuilt.compare()
        unbuilt.land([("u01", "i01", "2024-03-08")])
        unbuilt.process()


def test_a_moved_timeline_is_not_served_by(unbuilt: Live) -> None:
    """Under leave_one_out the exported timestamps of held-out rows are later than what happened."""
    rows = unbuilt.tables.interactions
    moved = rows.assign(timestamp=rows["timestamp"].where(rows["split"] != "test", rows["timestamp"].max()))
    tables = dataclasses.replace(unbuilt.tables, interactions=moved)
    generation = renew(unbuilt.storage, unbuilt.settings, tables, MODEL, 0, NOW)
    base = pd.read_parquet(generation.base("interactions"))
    assert base["timestamp"].is_monotonic_increasing
    assert sorted(base["timestamp"]) == sorted(rows["source_timestamp"])


def test_other_tables_and_models_that_cannot_be_served_are_refused(unbuilt: Live) -> None:
    storage, settings = unbuilt.storage, unbuilt.settings
    manifest_path = storage.checkpoint("popularity", 0) / "manifest.json"
    manifest = json.loads(manifest_path.read_text())
    folder = storage.checkpoint("recent_popularity", 0)
    folder.mkdir(parents=True)
    write_json(folder / "manifest.json", manifest | {"model": "recent_popularity"})
    with pytest.raises(CheckpointError, match="recent_popularity, which cannot be kept up to date"):
        renew(storage, settings, unbuilt.tables, "recent_popularity", 0, NOW)
    write_parquet(storage.table("interactions"), storage.read_table("interactions").assign(value=2.0))
    write_manifest(storage)
    with pytest.raises(CheckpointError, match=f"materialize training/{MODEL} again"):
        renew(storage, settings, unbuilt.tables, MODEL, 0, NOW)
    assert current(storage) is None


def test_nothing_to_serve_is_said(unbuilt: Live) -> None:
    with pytest.raises(ValueError, match="the interactions table is empty"):
        renew(unbuilt.storage, unbuilt.settings, unbuilt.tables, MODEL, 0, NOW, until=np.datetime64("2020-01-01"))


def test_the_oracle_looks_at_any_generation(live: Live) -> None:
    generation = build_generation(live.storage, live.settings, live.tables, MODEL, 0, live.later())
    with open_generation(live.storage, generation) as opened:
        assert not differences(opened, batch_state(opened))


def test_a_generation_kept_elsewhere_than_the_settings_say_is_built_anew(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("THAW_REDIS_URL", raising=False)
    assert reason_to_build(live.storage, live.settings) is None
    redis = live.settings.model_copy(update={"store": StoreConfig(kind="redis")})
    reason = reason_to_build(live.storage, redis)
    assert reason is not None
    assert reason.reason.endswith("has store lmdb, index ivf, the settings ask for store redis, index ivf")
    folder = require_current(live.storage).folder
    assert not (folder / "engines.json").exists()  # the default ones are not written down
    write_engines(folder, redis)
    assert read_engines(folder).namespace.startswith(folder.name)
    assert reason_to_build(live.storage, redis) is None
    with pytest.raises(StoreFaultError, match="THAW_REDIS_URL is not set"):
        require_current(live.storage).open_store()
    with pytest.raises(ValueError, match="without effect on lmdb"):
        StoreConfig(trust_server=True)
