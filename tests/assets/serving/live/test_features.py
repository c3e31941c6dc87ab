"""Feature logging against a reference that looks at every row by itself."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.config import TriggerConfig
from assets.idmap import IdMap
from assets.serving.live import features
from assets.serving.live.features import FeatureConfig, log_features
from assets.serving.live.ledger import LedgerEntry, awaiting, entries
from assets.serving.live.pending import add_upcoming
from assets.serving.store.interface import KeyValueStore, Table
from assets.serving.store.lmdb_store import LmdbStore
from assets.serving.store.meta import ROWS_SINCE, WATERMARK, get_meta, put_meta
from assets.serving.store.numbers import assign_numbers, numbers_for
from assets.serving.store.records import NEVER, PENDING, new_items, number_keys, numbers_of, pack, unpack
from tests.assets.serving.live.engagements import (
    BATCHES,
    DAY,
    EVENT_TYPES,
    HOUR,
    Reference,
    Row,
    State,
    batch,
    read_state,
)
from tests.assets.serving.live.memory_store import MemoryStore, content

USERS = ["u1", "u2", "u3", "ü4"]
QUALIFIED = IdMap.fit(["u1", "u3", "somebody else"])
CONFIG = FeatureConfig(
    item_history_length=3,
    user_history_length=2,
    event_types=IdMap.fit(EVENT_TYPES),
    half_life_days=2.0,
    retention_us=None,
    trigger=TriggerConfig(),
)
INSTANT = 10 * DAY
RETENTIONS = st.sampled_from([None, 1, 30 * 60_000_000, DAY, 39 * DAY])
LENGTHS = st.tuples(st.integers(0, 4), st.integers(0, 4))


def apply(store: KeyValueStore, batches: Sequence[Sequence[Row]], config: FeatureConfig, first: int = 0) -> list:
    """All batches in one call, named by their places from ``first`` on."""
    made = [batch(str(first + at), rows) for at, rows in enumerate(batches)]
    return log_features(store, made, QUALIFIED, config, now=first + 1)


def state_of(store: KeyValueStore, config: FeatureConfig = CONFIG) -> State:
    return read_state(store, config, USERS, INSTANT)


def assert_same(found: State, expected: State) -> None:
    for name in ("watermark", "item_histories", "user_histories", "seen", "pending"):
        assert getattr(found, name) == getattr(expected, name), name
    assert found.items.keys() == expected.items.keys()
    for item, values in expected.items.items():
        assert found.items[item][:-1] == values[:-1], item
        np.testing.assert_allclose(found.items[item][-1], values[-1], rtol=1e-9)


@settings(max_examples=60)
@given(BATCHES, RETENTIONS, LENGTHS, st.data())
def test_the_store_holds_what_every_row_by_itself_gives(
    batches: list[list[Row]], retention: int | None, lengths: tuple[int, int], data: st.DataObject
) -> None:
    item_length, user_length = lengths
    config = replace(CONFIG, retention_us=retention, item_history_length=item_length, user_history_length=user_length)
    reference, store, found = Reference(config, QUALIFIED), MemoryStore(), []
    for rows in batches:
        reference.apply(rows)
    done = 0
    while done < len(batches):  # however they are grouped into calls
        size = data.draw(st.integers(1, len(batches) - done))
        found += apply(store, batches[done : done + size], config, first=done)
        done += size
    assert_same(state_of(store, config), reference.state(INSTANT))
    counts = [(each.applied, each.duplicates, each.beyond_retention, each.items_touched) for each in found]
    assert counts == reference.counts
    assert [each.rows for each in found] == [len(rows) for rows in batches]
    with store.read() as reader:
        assert sorted(each.digest for each in entries(reader)) == sorted(map(str, range(len(batches))))
        assert len(awaiting(reader)) == len(batches)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(USERS), st.sampled_from("abc"), st.integers(0, 5)), unique=True), st.data())
def test_the_order_in_which_rows_arrive_changes_nothing(rows: list[tuple[str, str, int]], data: st.DataObject) -> None:
    made = [Row(user, item, instant * HOUR) for user, item, instant in rows]
    repeats = data.draw(st.lists(st.sampled_from(made), max_size=3)) if made else []
    shuffled = data.draw(st.permutations(made + repeats))
    cut = data.draw(st.integers(0, len(shuffled)))
    one, other = MemoryStore(), MemoryStore()
    apply(one, [made], CONFIG)
    apply(other, [shuffled[:cut]], CONFIG)
    apply(other, [shuffled[cut:]], CONFIG, first=1)
    assert_same(state_of(other), state_of(one))


@settings(max_examples=60)
@given(BATCHES, RETENTIONS)
def test_a_batch_that_was_applied_changes_nothing(batches: list[list[Row]], retention: int | None) -> None:
    config, store = replace(CONFIG, retention_us=retention), MemoryStore()
    apply(store, batches, config)
    before = content(store)
    assert apply(store, batches, config) == []
    assert content(store) == before
    again = [batch(str(at), rows) for at, rows in enumerate(batches)]
    twice = MemoryStore()
    log_features(twice, [*again, *again], QUALIFIED, config, now=1)
    assert content(twice) == before


@settings(max_examples=25)
@given(BATCHES)
def test_how_batches_are_grouped_changes_no_byte(batches: list[list[Row]]) -> None:
    together, apart = MemoryStore(), MemoryStore()
    made = [batch(str(at), rows) for at, rows in enumerate(batches)]
    log_features(together, made, QUALIFIED, replace(CONFIG, retention_us=DAY), now=7)
    for each in made:
        log_features(apart, [each], QUALIFIED, replace(CONFIG, retention_us=DAY), now=7)
    others = [table for table in Table if table != Table.ITEMS]  # decayed counts are equal but for rounding
    assert content(together, others) == content(apart, others)
    assert_same(state_of(together), state_of(apart))


def test_an_entry_says_what_became_of_the_batch() -> None:
    config, store = replace(CONFIG, retention_us=DAY), MemoryStore()
    apply(store, [[Row("u1", "a", 5 * DAY), Row("u1", "a", 5 * DAY)]], config)
    rows = [Row("u1", "a", 5 * DAY), Row("u2", "a", 4 * DAY - 1), Row("u2", "b", 4 * DAY), Row("u3", "b", 6 * DAY)]
    [entry] = log_features(store, [batch("next", rows, removed=2)], QUALIFIED, config, now=77)
    assert entry == LedgerEntry(
        **batch("next", rows, removed=2).info.model_dump(),
        applied=2,
        duplicates=1,
        beyond_retention=1,
        oldest_accepted=4 * DAY,
        first_event=4 * DAY,
        last_event=6 * DAY,
        features_at=77,
        items_touched=1,
    )
    with store.read() as reader:
        assert entries(reader)[-1] == entry
        assert entry in awaiting(reader)


def test_an_empty_batch_is_in_the_ledger_and_changes_nothing_else() -> None:
    store = MemoryStore()
    [entry] = apply(store, [[]], CONFIG)
    assert (entry.rows, entry.applied, entry.first_event, entry.oldest_accepted) == (0, 0, None, NEVER)
    with store.read() as reader:
        assert [table for table in Table if reader.size(table)] == [Table.LEDGER, Table.AWAITING]
    assert log_features(store, [], QUALIFIED, CONFIG, now=1) == []


def test_rows_are_forgotten_with_retention_and_never_counted_again() -> None:
    store, short = MemoryStore(), replace(CONFIG, retention_us=DAY)
    apply(store, [[Row("u1", "a", HOUR)], [Row("u1", "a", 10 * DAY)]], short)
    with store.read() as reader:
        assert reader.size(Table.ROWS) == 1
        assert get_meta(reader, ROWS_SINCE) == 2 * HOUR
    # Somebody allows more now. What is not known any more might be a repetition, and this one is.
    for config in (replace(CONFIG, retention_us=100 * DAY), CONFIG):
        [entry] = apply(store, [[Row("u1", "a", HOUR), Row("u1", "b", 9 * DAY)]], config, first=5 + (config is CONFIG))
        assert (entry.beyond_retention, entry.oldest_accepted) == (1, 2 * HOUR)
    assert state_of(store).items["a"][3] == 2


def test_the_base_is_accepted_whole() -> None:
    store, config = MemoryStore(), replace(CONFIG, retention_us=DAY)
    chunks = [batch("1", [Row("u1", "a", 20 * DAY)], "base"), batch("2", [Row("u2", "a", DAY)], "base")]
    log_features(store, chunks, QUALIFIED, config, now=1)
    [late] = log_features(store, [batch("3", [Row("u3", "a", DAY)])], QUALIFIED, config, now=1)
    assert late.beyond_retention == 1
    assert state_of(store).items["a"][3] == 2


def test_the_count_of_training_stays() -> None:
    store = MemoryStore()
    items = new_items(1)
    items["train_count"] = 7
    with store.write() as writer:
        assign_numbers(writer, ["a"])
        writer.put(Table.ITEMS, number_keys([0])[0], items.tobytes())
    apply(store, [[Row("u1", "a", 0)]], CONFIG)
    with store.read() as reader:
        [item] = unpack(reader.get_many(Table.ITEMS, number_keys([0])), new_items(1))
    assert (item["total"], item["train_count"]) == (1, 7)


def test_no_id_is_too_long_for_a_key() -> None:
    store, rows = MemoryStore(), [Row("u" * 600, "i" * 600, 5), Row("u" * 601, "i" * 601, 5)]
    log_features(store, [batch("1", rows)], QUALIFIED, CONFIG, now=1)
    with store.read() as reader:
        assert numbers_for(reader, ["i" * 601, "i" * 600, "i" * 599]).tolist() == [1, 0, -1]
        assert reader.size(Table.SEEN) == 2


def upcoming(store: KeyValueStore, created: dict[str, int]) -> None:
    """Items that landed with a creation time, as they wait for it."""
    with store.write() as writer:
        numbers, _ = assign_numbers(writer, list(created))
        items = new_items(len(created))
        items["available_at"] = list(created.values())
        writer.put_many(Table.ITEMS, zip(number_keys(numbers), pack(items), strict=True))
        add_upcoming(writer, items["available_at"], numbers)
        put_meta(writer, WATERMARK, 0)


def waiting(store: KeyValueStore) -> tuple[dict[str, tuple[int, int, int]], set[str]]:
    """PENDING records, and items in UPCOMING, by id."""
    with store.read() as reader:
        ids = {number: key.decode() for key, number in reader.scan(Table.NUMBERS)}
        pending = {
            ids[key]: unpack([value], np.zeros(1, PENDING))[0].item() for key, value in reader.scan(Table.PENDING)
        }
        return pending, {ids[key[8:]] for key, _ in reader.scan(Table.UPCOMING)}


def test_items_become_available_with_the_watermark() -> None:
    store, lazy = MemoryStore(), replace(CONFIG, trigger=TriggerConfig(on_engagement=False, every=100))
    upcoming(store, {"soon": 5 * DAY, "later": 5 * DAY + 1, "engaged": 9 * DAY})
    apply(store, [[Row("u1", "a", 5 * DAY - 1)]], lazy, first=10)
    assert waiting(store) == ({"a": (11, 11, 1)}, {"soon", "later", "engaged"})
    apply(store, [[Row("u1", "engaged", 5 * DAY)]], lazy, first=20)
    pending, still = waiting(store)
    assert pending == {"a": (11, 11, 1), "soon": (21, 21, 1), "engaged": (21, 21, 1)}
    assert still == {"later"}
    items = state_of(store).items
    assert [items[item][0] for item in ("soon", "later", "engaged")] == [5 * DAY, 5 * DAY + 1, 5 * DAY]
    assert items["soon"][1:4] == (NEVER, NEVER, 0)


def test_an_item_engaged_with_on_its_day_is_touched_once_and_waits_no_longer() -> None:
    store = MemoryStore()
    upcoming(store, {"a": 5 * DAY})
    apply(store, [[Row("u1", "a", 6 * DAY)]], CONFIG, first=3)
    assert waiting(store) == ({"a": (4, 4, 1)}, set())
    assert state_of(store).items["a"][0] == 5 * DAY  # created before it was engaged with


def test_touched_items_keep_their_first_touch_and_the_interval() -> None:
    store = MemoryStore()
    config = replace(CONFIG, trigger=TriggerConfig(minimum_interval_seconds=100e-6))
    apply(store, [[Row("u1", "a", 1)]], config, first=10)
    with store.write() as writer:  # embedded at 50
        items = unpack(writer.get_many(Table.ITEMS, number_keys([0])), new_items(1))
        items["embedded_at"], items["embedded_total"] = 50, 1
        writer.put(Table.ITEMS, number_keys([0])[0], items.tobytes())
        writer.delete_many(Table.PENDING, number_keys([0]))
    apply(store, [[Row("u2", "a", 1)]], config, first=60)
    apply(store, [[Row("u3", "a", 1)]], config, first=70)
    assert waiting(store)[0] == {"a": (61, 150, 1)}


def test_the_older_of_many_engagements_is_not_lost_when_it_comes_last() -> None:
    store = MemoryStore()
    days = list(range(2, 300, 2))
    apply(store, [[Row("u1", "a", day * DAY) for day in days]], CONFIG)
    apply(store, [[Row("u1", "a", (days[-1] - 1) * DAY), Row("u2", "a", DAY)]], CONFIG, first=1)
    state = state_of(store)
    assert [time // DAY for time, _, _ in state.item_histories["a"]] == [days[-2], days[-1] - 1, days[-1]]
    assert [entry[0] // DAY for entry in state.user_histories["u1"]] == [days[-1] - 1, days[-1]]
    assert state.items["a"][:4] == (DAY, DAY, days[-1] * DAY, len(days) + 2)


def test_a_very_late_row_does_not_move_the_decayed_count_back() -> None:
    store, quick = MemoryStore(), replace(CONFIG, half_life_days=0.1)
    apply(store, [[Row("u1", "a", 400 * DAY)], [Row("u2", "a", DAY)]], quick)
    with store.read() as reader:
        [item] = unpack(reader.get_many(Table.ITEMS, number_keys([0])), new_items(1))
    assert (item["decayed"], item["decayed_at"]) == (1.0, 400 * DAY)  # as of the late row it would be 2 ** 3990


def test_a_failure_on_the_way_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with LmdbStore(tmp_path) as store:
        apply(store, [[Row("u1", "a", 1)]], CONFIG)
        before = content(store)
        for step in (
            "assign_numbers",
            "extend_item_histories",
            "extend_user_histories",
            "touch_available",
            "forget_rows",
            "put_entries",
        ):
            with monkeypatch.context() as patched:
                patched.setattr(features, step, _fail)
                with pytest.raises(RuntimeError, match="on the way"):
                    apply(store, [[Row("u2", "b", 2)]], CONFIG, first=1)
            assert content(store) == before, step
        assert len(apply(store, [[Row("u2", "b", 2)]], CONFIG, first=1)) == 1


def _fail(*_: object) -> None:
    raise RuntimeError("on the way")


def test_several_at_once_give_the_state_of_one(tmp_path: Path) -> None:
    batches = [[Row("u1", "a", 1), Row("u2", "b", at * HOUR)] for at in range(6)]
    once = MemoryStore()
    apply(once, batches, CONFIG)
    applied: list[LedgerEntry] = []
    with LmdbStore(tmp_path) as store:
        threads = [threading.Thread(target=lambda: applied.extend(apply(store, batches, CONFIG))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert content(store) == content(once)
    assert len(applied) == len(batches)


def test_lmdb_and_dictionaries_hold_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    memory = MemoryStore()
    with LmdbStore(tmp_path) as lmdb:
        for at in range(4):
            draws = zip(rng.integers(0, 30, 200), rng.integers(0, 40, 200), rng.integers(0, 90, 200), strict=True)
            rows = [Row(f"u{user}", f"i{item}", int(hour) * HOUR) for user, item, hour in draws]
            for store in (lmdb, memory):
                apply(store, [rows], replace(CONFIG, retention_us=2 * DAY), first=at)
        assert content(lmdb) == content(memory)
        with lmdb.read() as reader:
            assert numbers_of(key for key, _ in reader.scan(Table.ITEMS)).tolist() == list(range(40))
