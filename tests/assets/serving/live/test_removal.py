"""Forgetting users and taking items down: at once, everywhere, and finished whatever happens."""

from pathlib import Path

import numpy as np
import pytest

from assets.ingestion.landing.removed import read_removed
from assets.serving.live import removal
from assets.serving.live.embedder import seen
from assets.serving.live.generation import NoIndexError
from assets.serving.live.items import item_details
from assets.serving.live.maintain import load_index
from assets.serving.live.removal import Removal, forget_user, take_down_item
from assets.serving.live.stored import StoredItems, stored_items
from assets.serving.store.deltas import Delta, deltas_after
from assets.serving.store.interface import Table
from assets.serving.store.meta import SEQ, get_meta
from assets.serving.store.numbers import numbers_for
from assets.serving.store.records import new_items, number_keys, unpack
from tests.assets.serving.live.conftest import Live, tiny_rows

USER, ITEM = "u03", "i05"


def items_of(live: Live) -> StoredItems:
    with live.opened() as opened, opened.store.read() as reader:
        return stored_items(reader, opened)


def index_ids(live: Live) -> set[str]:
    with live.opened() as opened, opened.store.read() as reader:
        return set(load_index(reader, opened.generation).ids)


def deltas(live: Live, after: int) -> list[Delta]:
    with live.opened() as opened, opened.store.read() as reader:
        return deltas_after(reader, after)


def everything(live: Live) -> dict[Table, dict[bytes, bytes]]:
    with live.opened() as opened, opened.store.read() as reader:
        return {table: dict(reader.scan(table)) for table in Table}


def test_a_forgotten_user_is_in_nothing_any_more(live: Live) -> None:
    bought = {row[1] for row in tiny_rows() if row[0] == USER}
    total = items_of(live).frame["total"].sum()
    result = forget_user(live.storage, USER, live.settings, live.later)
    assert result == Removal(users=1, items_changed=len(bought))
    assert total - items_of(live).frame["total"].sum() == sum(row[0] == USER for row in tiny_rows())
    for table in (Table.USERS, Table.USER_HISTORIES, Table.SEEN):
        assert USER.encode() not in everything(live)[table]
    (delta,) = deltas(live, 1)
    assert set(delta.ids) == bought  # embedded anew at once, whatever the trigger policy
    found = live.compare()
    assert not found, found.examples
    assert found.excused == 0


def test_what_the_policy_puts_off_is_embedded_without_the_user_all_the_same(live: Live) -> None:
    trigger = live.settings.freshness.trigger.model_copy(update={"minimum_interval_seconds": 1e6})
    freshness = live.settings.freshness.model_copy(update={"trigger": trigger})
    live.settings = live.settings.model_copy(update={"freshness": freshness})
    live.land([("u01", "i02", "2024-03-06T23:00:00"), (USER, "i03", "2024-03-06T23:00:00")])
    live.apply()
    live.refresh()
    assert live.compare().excused == 2
    forget_user(live.storage, USER, live.settings, live.later)
    found = live.compare()
    assert not found
    bought = {row[1] for row in tiny_rows() if row[0] == USER}
    assert found.excused == len({"i02"} - bought)


def test_an_item_taken_down_is_in_nothing_any_more(live: Live) -> None:
    buyers = {row[0] for row in tiny_rows() if row[1] == ITEM}
    assert ITEM in index_ids(live)
    result = take_down_item(live.storage, ITEM, live.settings, live.later)
    assert result == Removal(items=1, users_changed=len(buyers))
    assert ITEM not in index_ids(live)
    assert ITEM not in items_of(live).frame.index
    assert [(delta.ids, delta.removed) for delta in deltas(live, 1)] == [([], [ITEM])]
    with live.opened() as opened, opened.store.read() as reader:
        assert not any(ITEM in row for row in seen(reader, sorted(buyers)))
    assert not live.compare()


def test_once_more_changes_nothing(live: Live) -> None:
    forget_user(live.storage, USER, live.settings, live.later)
    take_down_item(live.storage, ITEM, live.settings, live.later)
    before = everything(live)
    assert forget_user(live.storage, USER, live.settings, live.later) == Removal()
    assert take_down_item(live.storage, ITEM, live.settings, live.later) == Removal()
    assert forget_user(live.storage, "nobody", live.settings, live.later) == Removal()
    assert take_down_item(live.storage, "nothing", live.settings, live.later) == Removal()
    assert everything(live) == before


def test_what_lands_later_of_the_removed_is_counted_and_not_applied(live: Live) -> None:
    forget_user(live.storage, USER, live.settings, live.later)
    take_down_item(live.storage, ITEM, live.settings, live.later)
    live.land([(USER, "i01", "2024-03-07"), ("u01", ITEM, "2024-03-07"), ("u01", "i02", "2024-03-07")])
    live.land_items({ITEM: ("back again", None, []), "fresh": ("new", None, [])})
    entries = live.apply()
    assert {entry.kind: (entry.applied, entry.removed) for entry in entries} == {"engagements": (1, 2), "items": (1, 1)}
    live.refresh()
    assert ITEM not in index_ids(live)
    assert "fresh" in index_ids(live)
    assert not live.compare()


@pytest.mark.parametrize("step", ["_delete_users", "_retell_users", "refresh_embeddings"])
def test_a_removal_that_is_killed_is_finished_by_the_next_writer(
    live: Live, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(removal, step, killed)
        for remove, key in ((forget_user, USER), (take_down_item, ITEM)):
            with pytest.raises(KeyboardInterrupt):
                remove(live.storage, key, live.settings, live.later)
    removed = read_removed(live.storage)
    assert (removed.users, removed.items) == ({USER}, {ITEM})
    live.apply([])
    live.refresh()
    assert ITEM not in index_ids(live)
    found = live.compare()
    assert not found, found.examples
    assert found.excused == 0


def test_items_that_only_the_user_named_go_with_the_user(live: Live) -> None:
    live.land([("fresh user", "secret item", "2024-03-07"), ("u01", "i02", "2024-03-07")])
    live.process()
    assert "secret item" in index_ids(live)
    forget_user(live.storage, "fresh user", live.settings, live.later)
    assert "secret item" not in index_ids(live)
    assert "secret item" not in items_of(live).frame.index
    assert not any(b"secret item" in value for value in everything(live)[Table.DETAILS].values())
    assert not live.compare()


def test_an_item_waits_again_for_its_time_when_its_only_user_is_forgotten(live: Live) -> None:
    live.land_items({"soon": ("soon", "2024-03-09", []), "here": ("here", None, [])})
    live.land([("fresh user", "soon", "2024-03-07"), ("fresh user", "here", "2024-03-07")])
    live.process()
    assert {"soon", "here"} <= index_ids(live)
    forget_user(live.storage, "fresh user", live.settings, live.later)
    assert index_ids(live) & {"soon", "here"} == {"here"}
    assert not live.compare()
    live.land([("u01", "i02", "2024-03-10")])
    live.process()
    assert "soon" in index_ids(live)
    assert not live.compare()


def test_an_item_stays_as_old_as_it_is_when_one_of_its_users_is_forgotten(live: Live) -> None:
    live.land_items({"here": ("here", None, [])})
    live.process()
    live.land([("fresh user", "here", "2024-03-07"), ("u01", "here", "2024-03-08")])
    live.process()

    def available_at() -> int:
        with live.opened() as opened, opened.store.read() as reader:
            key = number_keys(numbers_for(reader, ["here"]))
            return int(unpack(reader.get_many(Table.ITEMS, key), new_items(1))["available_at"][0])

    arrived = available_at()
    forget_user(live.storage, "fresh user", live.settings, live.later)
    assert available_at() == arrived
    assert not live.compare()


def test_numbers_of_items_taken_down_are_not_given_again(live: Live) -> None:
    with live.opened() as opened, opened.store.read() as reader:
        (number,) = numbers_for(reader, [ITEM])
    take_down_item(live.storage, ITEM, live.settings, live.later)
    live.land_items({"fresh": ("fresh", None, [])})
    live.process()
    with live.opened() as opened, opened.store.read() as reader:
        assert numbers_for(reader, ["fresh"])[0] > number
        assert item_details(reader, np.array([number])) == [None]


def test_before_anything_serves_the_removal_is_on_record(unbuilt: Live) -> None:
    with pytest.raises(NoIndexError):
        forget_user(unbuilt.storage, USER, unbuilt.settings, unbuilt.later)
    assert read_removed(unbuilt.storage).users == {USER}


@pytest.mark.parametrize("text", ["", "\udc80"])
def test_what_is_no_id_is_refused_and_hinders_nobody(live: Live, text: str) -> None:
    for remove in (forget_user, take_down_item):
        with pytest.raises(ValueError, match="not the id of any user or item"):
            remove(live.storage, text, live.settings, live.later)
    assert not read_removed(live.storage)
    live.process()


def test_nothing_to_do_opens_no_file(live: Live, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every writer asks first; that must cost next to nothing."""
    forget_user(live.storage, USER, live.settings, live.later)

    def opened(*_: object) -> None:
        raise AssertionError("read the base again")

    monkeypatch.setattr(removal, "_rows", opened)
    with live.opened() as one, one.store.read() as reader:
        seq = get_meta(reader, SEQ)
    live.apply([])
    with live.opened() as one, one.store.read() as reader:
        assert get_meta(reader, SEQ) == seq
