"""The oracle: what the incremental path makes of any sequence of batches is what batch code makes of all their rows."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pytest

from assets.config import EngagementRule, TriggerConfig
from assets.ingestion.landing.removed import add_removed
from assets.serving.live.batch import batch_state
from assets.serving.live.batch_rows import BatchError
from assets.serving.live.build import renew
from assets.serving.live.removal import forget_user, take_down_item
from assets.serving.store.interface import Table, Writer
from assets.serving.store.meta import EPOCH, WATERMARK, get_meta, put_meta
from assets.serving.store.records import ENTRY, ITEM, USER_ENTRY, number_keys
from tests.assets.serving.live.conftest import MODEL, START, Live, tiny_rows
from tests.support import Row


def random_batch(random: Random, day: float) -> list[Row]:
    """Engagements around ``day``: with known and unknown users and items, equal timestamps and repetitions."""
    rows = []
    for _ in range(random.randrange(1, 25)):
        user = random.choice([f"u{random.randrange(15):02d}", f"new{random.randrange(4)}"])
        item = random.choice([f"i{random.randrange(30):02d}", f"fresh{random.randrange(6)}"])
        at = START + np.timedelta64(round((day + random.random()) * 48) * 1800, "s")
        rows.append((user, item, at.isoformat()))
    return rows + rows[: random.randrange(3)]


def random_items(random: Random, day: int) -> dict[str, tuple[str | None, str | None, list[str]]]:
    created = [None, f"2024-03-{day + 2:02d}", "2024-03-02", "2024-04-01"]
    return {
        random.choice([f"fresh{number}", f"i{number:02d}"]): (
            random.choice([None, f"title {day}"]),
            random.choice(created),
            random.sample(["drama", "war", "unheard of"], random.randrange(3)),
        )
        for number in range(3)
    }


@pytest.mark.parametrize("seed", range(4))
def test_any_sequence_of_batches_gives_the_batch_state(live: Live, seed: int) -> None:
    """Late and repeated rows, items and users unheard of, removals and compactions in between."""
    random = Random(seed)
    trigger = TriggerConfig(on_engagement=bool(seed % 2), every=3, minimum_interval_seconds=6.5 * (seed // 2))
    freshness = live.settings.freshness.model_copy(update={"trigger": trigger, "retention_days": 4})
    live.settings = live.settings.model_copy(update={"freshness": freshness})
    assert not live.compare()
    repeated: list[Row] = []
    excused = 0
    for day in range(5, 10):
        for _ in range(random.randrange(3)):
            rows = random_batch(random, day - random.choice([0, 0, 0, 1, 3, 6])) + repeated[:4]
            live.land(rows)
            repeated = rows
        if random.random() < 0.6:
            live.land_items(random_items(random, day))
        live.apply()
        live.refresh()
        if day == 7:
            forget_user(live.storage, random.choice(["u03", "new1"]), live.settings, live.later)
            take_down_item(live.storage, random.choice(["i05", "fresh2"]), live.settings, live.later)
        if random.random() < 0.5:
            live.maintain(force=random.random() < 0.5)
        found = live.compare()
        assert not found, (day, found.counts, found.examples)
        excused += found.excused
    assert found.compared["vector"] > 25
    assert (excused > 0) == (seed != 1)  # with every engagement triggering and no interval nothing waits


def test_the_order_of_batches_does_not_matter(live: Live, tmp_path: Path) -> None:
    batches = [live.land(random_batch(Random(number), 6 + number % 2)) for number in range(4)]
    for batch in reversed(batches):
        live.apply([batch])
        live.refresh()
    live.maintain()
    assert not live.compare()


def test_features_agree_between_logging_and_embedding_too(live: Live) -> None:
    live.land(random_batch(Random(1), 7))
    live.apply()
    found = live.compare()
    assert not found, found.examples
    assert found.excused > 0


def test_a_catalog_that_was_taken_down_whole_begins_anew(live: Live) -> None:
    add_removed(live.storage, items={row[1] for row in tiny_rows()})
    live.process()
    assert not live.compare()
    assert live.maintain(force=True).items == 0
    live.land([("u01", "the first", "2024-03-07T01:00:00")])
    live.process()
    assert not live.compare()
    assert live.maintain(force=True).items == 1


def test_strange_ids_and_instants_are_like_any_other(live: Live) -> None:
    long, quoted = "x" * 2000, "'\"\\\x00\x1f"
    first, second = "1970-01-01T00:00:00", "1970-01-01T00:00:00.000001"
    live.land([("日本" * 300, "i02", first), (long, long, second), (quoted, quoted, first), ("null", "NaN", first)])
    live.land_items({long: ("T", None, ["dra"]), quoted: (None, "1969-01-01", []), "long ago": ("", "0001-01-01", [])})
    live.land_items({"announced": ("soon", "2999-01-01", ["war"])})
    live.process()
    assert not live.compare()
    forget_user(live.storage, long, live.settings, live.later)
    for item in (quoted, "announced"):
        take_down_item(live.storage, item, live.settings, live.later)
    found = live.compare()
    assert not found, found.examples
    with live.opened() as opened, opened.store.read() as reader:
        assert reader.size(Table.UPCOMING) == reader.size(Table.PENDING) == 0


@pytest.mark.parametrize("value", [float("nan"), None, -0.0, float("inf")])
def test_values_that_are_no_numbers_are_told_apart_alike(live: Live, value: float | None) -> None:
    for each in (value, 0.0, float("nan"), None, 1.0):
        live.land([("u01", "i02", "2024-03-07T01:00:00")] * 2, value=each)
    live.process()
    found = live.compare()
    assert not found, found.examples


def test_a_pause_of_a_thousand_half_lives_is_the_same_for_both(unbuilt: Live) -> None:
    renew(unbuilt.storage, unbuilt.settings, unbuilt.tables, "popularity", 0, unbuilt.later())
    unbuilt.land([("u01", "i02", "2044-03-07T01:00:00")])
    unbuilt.process()  # without a trend in the index no snapshot is due, and counts stay as of 2024
    found = unbuilt.compare()
    assert not found, found.examples


def test_rows_that_are_no_engagement_are_in_neither(unbuilt: Live) -> None:
    rule = EngagementRule(minimum_value=3, event_types=("rating",))
    unbuilt.settings = unbuilt.settings.model_copy(update={"engagement": rule})
    renew(unbuilt.storage, unbuilt.settings, unbuilt.tables, MODEL, 0, unbuilt.now)
    row = ("u01", "i01", "2024-03-07")
    unbuilt.land([row], value=2, event_type="rating")
    unbuilt.land([row], value=None, event_type="rating")
    unbuilt.land([row], value=5, event_type="click")
    unbuilt.land([row], value=3, event_type="rating")
    entries = unbuilt.apply()
    assert [(entry.applied, entry.other_events) for entry in entries] == [(0, 1), (0, 1), (0, 1), (1, 0)]
    unbuilt.refresh()
    assert not unbuilt.compare()


def _edit(table: Table, change: Callable[[bytes], bytes], row: int = 3) -> Callable[[Writer], None]:
    def damage(writer: Writer) -> None:
        key, value = list(writer.scan(table))[row]
        writer.put(table, key, change(value))

    return damage


def _field(name: str, by: float) -> Callable[[bytes], bytes]:
    def change(value: bytes) -> bytes:
        record = np.frombuffer(value, ITEM).copy()
        record[name] += by
        return record.tobytes()

    return change


def _swapped(entry: np.dtype) -> Callable[[bytes], bytes]:
    return lambda value: np.frombuffer(value, entry)[::-1].tobytes()


def _entry(name: str, value: float) -> Callable[[bytes], bytes]:
    """Set a field of a user's latest entry."""

    def change(run: bytes) -> bytes:
        entries = np.frombuffer(run, USER_ENTRY).copy()
        entries[name][-1] = value
        return entries.tobytes()

    return change


def _moved_watermark(writer: Writer) -> None:
    put_meta(writer, WATERMARK, get_meta(writer, WATERMARK) - 1)


def _moved_epoch(writer: Writer) -> None:
    put_meta(writer, EPOCH, get_meta(writer, EPOCH) + 86_400_000_000)


def _stranger(writer: Writer) -> None:
    writer.put(Table.SEEN, b"stranger", b"\x00\x00\x00\x00")


def _unembedded(writer: Writer) -> None:
    writer.delete_many(Table.VECTORS, number_keys([2]))


DAMAGES: dict[str, tuple[Callable[[Writer], None], set[str]]] = {
    "total": (_edit(Table.ITEMS, _field("total", 1)), {"total"}),
    "train_count": (_edit(Table.ITEMS, _field("train_count", 1)), {"train_count"}),
    "decayed": (_edit(Table.ITEMS, _field("decayed", 1e-7)), {"decayed count"}),
    "first": (_edit(Table.ITEMS, _field("first_engaged_at", -1)), {"first_engaged_at"}),
    "last": (_edit(Table.ITEMS, _field("last_engaged_at", 1)), {"last_engaged_at"}),
    "title": (_edit(Table.DETAILS, lambda value: value.replace(b"title of", b"titel of")), {"title"}),
    "item history": (_edit(Table.ITEM_HISTORIES, lambda value: value[: -ENTRY.itemsize]), {"item history"}),
    "item order": (_edit(Table.ITEM_HISTORIES, _swapped(ENTRY)), {"item history"}),
    "user history": (_edit(Table.USER_HISTORIES, lambda value: value[USER_ENTRY.itemsize :]), {"user history"}),
    "user order": (_edit(Table.USER_HISTORIES, _swapped(USER_ENTRY)), {"user history"}),
    "value": (_edit(Table.USER_HISTORIES, _entry("value", 77.0)), {"user history"}),
    "unknown value": (_edit(Table.USER_HISTORIES, _entry("value", np.nan)), {"user history"}),
    "event type": (_edit(Table.USER_HISTORIES, _entry("event", 77)), {"user history"}),
    "seen": (_edit(Table.SEEN, lambda value: value[4:]), {"seen items"}),
    "stranger": (_stranger, {"users in seen"}),
    "vector": (
        _edit(Table.VECTORS, lambda value: (np.frombuffer(value, np.float32) + 1e-3).tobytes()),
        {"vector", "vector in the index"},
    ),
    "no vector": (_unembedded, {"vector", "place in the index"}),
    "watermark": (_moved_watermark, {"watermark"}),
    "epoch": (_moved_epoch, {"trend in the index"}),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_store_is_noticed_and_named(live: Live, name: str) -> None:
    damage, kinds = DAMAGES[name]
    with live.opened() as opened, opened.store.write() as writer:
        damage(writer)
    found = live.compare()
    assert set(found.counts) == kinds, found.examples
    assert found
    assert found.examples


def test_a_sample_embeds_fewer_items_and_still_compares_the_rest(live: Live) -> None:
    with live.opened() as opened:
        batch, again = batch_state(opened, 5), batch_state(opened, 5)
        whole = batch_state(opened)
    assert batch.sampled.tolist() == again.sampled.tolist()
    assert len(batch.vectors) == 5
    assert len(batch.items) == len(whole.items) == len(whole.vectors)


def test_a_landed_file_that_is_gone_is_named(live: Live) -> None:
    batch = live.land([("u01", "i01", "2024-03-07")])
    live.process()
    batch.path.unlink()
    with pytest.raises(BatchError, match=f"batch {batch.digest[:16]} .* is gone"):
        live.compare()
