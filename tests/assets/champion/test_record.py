"""The record of what served, and how long alerts are to wait."""

from pathlib import Path

import pytest

from assets.champion.record import RecordEntry, RecordError, append, cooling_until, decided, read_record, record_path
from assets.config import Settings
from assets.instants import DAY
from assets.storage import Storage


def entry(kind: str, generation: str = "g", event_at: int = 0, contest: str | None = None) -> RecordEntry:
    values = {"kind": kind, "generation": generation, "event_at": event_at, "contest": contest}
    return RecordEntry(**{"at": 1, "previous": None, "model": "m", **values})


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path, "toy")


def test_entries_are_added_a_line_each(storage: Storage) -> None:
    assert read_record(storage) == []
    made = [entry("first"), entry("lost", contest="c"), entry("won", "h", contest="d")]
    for one in made:
        append(storage, one)
    assert read_record(storage) == made
    assert len(record_path(storage).read_text().splitlines()) == 3
    assert decided(storage, "c") == made[1]
    assert decided(storage, "x") is None


def test_a_line_that_cannot_be_read_is_named(storage: Storage) -> None:
    append(storage, entry("first"))
    with record_path(storage).open("a") as handle:
        handle.write('{"at": 1}\n')
    with pytest.raises(RecordError, match=r"record\.jsonl, line 2 is no entry"):
        read_record(storage)


def test_contests_and_rollbacks_cool_down(storage: Storage) -> None:
    settings = Settings(retraining={"cooldown_days": 2.5})
    assert cooling_until(storage, settings) is None
    append(storage, entry("first", event_at=9))
    assert cooling_until(storage, settings) is None
    for place, kind in enumerate(("lost", "won", "rollback")):
        append(storage, entry(kind, event_at=place * DAY))
        assert cooling_until(storage, settings) == round((place + 2.5) * DAY)
    append(storage, entry("run", event_at=0))
    assert cooling_until(storage, settings) is None


def test_contests_lost_in_a_row_double_the_cool_down_up_to_four_times(storage: Storage) -> None:
    settings = Settings(retraining={"cooldown_days": 2.0})
    waits = []
    for day in range(5):
        append(storage, entry("lost", event_at=day * DAY))
        waits.append((cooling_until(storage, settings) - day * DAY) / DAY)
    assert waits == [2, 4, 8, 8, 8]
    append(storage, entry("won", "h", event_at=9 * DAY))
    assert cooling_until(storage, settings) == 11 * DAY
    append(storage, entry("lost", event_at=9 * DAY))
    assert cooling_until(storage, settings) == 11 * DAY
