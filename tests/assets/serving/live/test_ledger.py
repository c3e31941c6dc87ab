"""The ledger: entries come back, and a batch awaits its delta until that is there."""

import pytest
from pydantic import ValidationError

from assets.serving.live.ledger import (
    LedgerEntry,
    applied,
    awaiting,
    complete_awaiting,
    entries,
    latest,
    put_entries,
)
from assets.serving.store.interface import Table
from tests.assets.serving.live.memory_store import MemoryStore


def entry(digest: str, features_at: int = 5, **changed: object) -> LedgerEntry:
    values: dict = {
        "digest": digest,
        "kind": "engagements",
        "partition": "2020-01-01",
        "source": "ü.csv",
        "rows": 3,
        "oldest_accepted": -(2**63),
        "landed_at": 1,
        "seen_at": 2,
        "features_at": features_at,
    }
    return LedgerEntry(**(values | changed))


def test_entries_come_back_in_order_of_time() -> None:
    store = MemoryStore()
    first = entry("b", 1, indexed_at=9)
    with store.write() as writer:
        put_entries(writer, [entry("a", 2), entry("c", 2), first])
        assert entries(writer) == [first, entry("a", 2), entry("c", 2)]
        assert applied(writer, ["x", "a", "b", "x"]) == {"a", "b"}
        assert applied(writer, []) == set()


def test_the_latest_are_those_seen_last() -> None:
    store = MemoryStore()
    misleading = '"seen_at":99'  # a name may say anything
    seen = {"a": 5, "b": 9, "c": -1, "d": 7, "e": 1000}
    written = [entry(digest, 1, seen_at=at, source=misleading) for digest, at in seen.items()]
    with store.write() as writer:
        assert latest(writer, 2) == []
        put_entries(writer, written)
        assert [each.digest for each in latest(writer, 2)] == ["b", "e"]
        assert [each.digest for each in latest(writer, 4)] == ["a", "b", "d", "e"]
        assert latest(writer, 5) == latest(writer, 10) == entries(writer)


def test_a_batch_awaits_its_delta_and_then_knows_it() -> None:
    store = MemoryStore()
    with store.write() as writer:
        put_entries(writer, [entry("b", 7), entry("a", 7), entry("old", 3, indexed_at=4, seq=1)])
        assert [each.digest for each in awaiting(writer)] == ["a", "b"]
        done = complete_awaiting(writer, embedded_at=8, indexed_at=9, seq=2, deferred=1)
        assert done == [entry(name, 7, embedded_at=8, indexed_at=9, seq=2, deferred=1) for name in ("a", "b")]
        assert entries(writer)[1:] == done
        assert entries(writer)[0].seq == 1  # others are left alone
        assert awaiting(writer) == []
        assert writer.size(Table.AWAITING) == 0
        assert complete_awaiting(writer, embedded_at=10, indexed_at=11, seq=3, deferred=0) == []
        put_entries(writer, [entry("c", 12)])
        assert [each.digest for each in complete_awaiting(writer, embedded_at=1, indexed_at=1, seq=4, deferred=0)] == [
            "c"
        ]


def test_an_entry_is_checked() -> None:
    for wrong in ({"kind": "other"}, {"rows": -1}, {"digest": ""}, {"unknown": 1}):
        with pytest.raises(ValidationError):
            entry(**({"digest": "a"} | wrong))
