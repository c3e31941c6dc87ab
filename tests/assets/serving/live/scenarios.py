"""What a process may be killed in: a scenario, the dataset that it starts from, and what is done at the end to look.

Run in child processes, and again after a kill; the clock is fixed, and later for every attempt.
"""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from assets.config import Settings
from assets.ingestion.landing.claims import claim
from assets.ingestion.landing.intake import ingest_claimed
from assets.ingestion.landing.land import land
from assets.serving.live.build import needs_build, renew
from assets.serving.live.generation import open_generation
from assets.serving.live.process import process_waiting
from assets.serving.live.removal import forget_user, take_down_item
from assets.serving.live.replay import end_replay, inline, replay_days, run_replay, start_replay
from assets.serving.retrieval.live_index import LiveIndex
from assets.stream import load_tables
from assets.training.checkpoints import read_manifest
from tests.assets.serving.live.conftest import MODEL, SECOND
from tests.assets.serving.live.logical import Logical, logical_state
from tests.assets.serving.live.streams import (
    ASKING,
    EVENT_COLUMNS,
    ITEMS,
    NOW,
    USERS,
    Event,
    Item,
    Kind,
    Served,
    at,
    event_file,
    item_file,
    put,
    stream_settings,
    text,
)

OTHER_MODEL = "popularity"
"""What serves before the switch."""

FORGOTTEN, TAKEN_DOWN = "u03", "i05"
GIVEN = "given"
"""Folder of files to be landed by hand."""

HOUR = 3600 * SECOND


def _clock(attempt: int) -> Callable[[], int]:
    """A clock that ticks a millisecond whenever it is read."""
    ticks = count(NOW + attempt * HOUR, 1000)
    return lambda: next(ticks)


def _run(settings: Settings, attempt: int) -> None:
    """What the sensor and the run that it starts do together."""
    clock = _clock(attempt)
    claim(settings.storage, settings.freshness, clock(), 60)
    process_waiting(settings.storage, settings, clock)


def _switch(settings: Settings, attempt: int) -> None:
    """Let another checkpoint serve; files wait meanwhile."""
    storage = settings.storage
    if needs_build(storage, read_manifest(storage, MODEL, 0)):
        renew(storage, settings, load_tables(storage), MODEL, 0, NOW + attempt * HOUR)


def _forget(settings: Settings, attempt: int) -> None:
    forget_user(settings.storage, FORGOTTEN, settings, _clock(attempt))
    take_down_item(settings.storage, TAKEN_DOWN, settings, _clock(attempt))


def _land(settings: Settings, attempt: int) -> None:
    files = sorted((settings.home / GIVEN).iterdir())
    land(settings.storage, files, "day", NOW + attempt * HOUR, max_quarantine_share=0.2)


def _replay(settings: Settings, attempt: int) -> None:
    """A replay of two days from its start to its end, and the index as it was again."""
    storage, clock = settings.storage, _clock(attempt)
    tables = load_tables(storage)
    start_replay(storage, settings, tables, MODEL, 0, clock(), reset=True)
    run_replay(storage, replay_days(tables)[:2], None, clock, inline(storage, settings, clock), sleep=_no_sleep)
    end_replay(storage)
    if needs_build(storage, read_manifest(storage, MODEL, 0)):
        renew(storage, settings, tables, MODEL, 0, clock())


def _no_sleep(seconds: float) -> None:
    raise AssertionError(f"a replay that takes its files itself waits {seconds} s")


def _nothing(settings: Settings, attempt: int) -> None:
    del settings, attempt


Step = Callable[[Settings, int], Any]

STEPS: dict[str, tuple[Step, Step]] = {
    "run": (_run, _nothing),
    "switch": (_switch, _run),
    "forget": (_forget, _run),
    "land": (_land, _run),
    "replay": (_replay, _run),
}
"""What may be killed, and what then shows the state."""


def _scenario(step: Step) -> Callable[[Path, int], None]:
    def carry_out(home: Path, attempt: int) -> None:
        settings = stream_settings(home)
        if attempt:
            _require_serving(settings)
        step(settings, attempt)

    return carry_out


def _require_serving(settings: Settings) -> None:
    """Whatever was killed, what serves is whole."""
    with open_generation(settings.storage) as opened:
        LiveIndex(opened.store, opened.generation.snapshots, lambda: 0, opened.generation.engines)


SCENARIOS = {name: _scenario(step) for name, (step, _) in STEPS.items()}


def finish(name: str, home: Path, attempt: int) -> Logical:
    """The state after a scenario."""
    settings = stream_settings(home)
    STEPS[name][1](settings, attempt)
    return logical_state(settings.storage, ASKING)


def prepare(name: str, served: Served) -> None:
    """Bring a dataset that ``MODEL`` serves to where a scenario starts: some files are applied, some wait.

    Before the switch, some of those have landed and are not applied.
    """
    if name == "switch":
        renew(served.storage, served.settings, load_tables(served.storage), OTHER_MODEL, 0, NOW - HOUR)
    if name != "run":
        served.drop([event_file(*_events(6.0, 30)), item_file(Item("quiet0", None, at(6), "war"))])
        served.now = NOW - HOUR
        served.run()
    if name == "land":
        _give(served)
    elif name != "replay":
        _drop(served)
    if name == "switch":
        claim(served.storage, served.settings.freshness, NOW - 60 * SECOND, 60)
        ingest_claimed(served.storage, served.settings.freshness, ["2024-03-08"], NOW - 60 * SECOND)


def _drop(served: Served) -> None:
    """Files of several partitions and a later day, one that repeats another, one with a bad row, one that is broken."""
    second, late = _events(7.0, 40), _events(4.0, 5)
    served.drop(
        [
            event_file(*second),
            event_file(*late, *second[:6]),
            item_file(Item("quiet1", "of a later day", at(8.5), "war"), Item("i02", "renamed", None, "crime")),
            event_file(),
            event_file(*_events(8.2, 30), Event("u00", "i00", at(8.9)), Event("", "i00", at(8))),
            event_file(*second),
        ]
    )
    put(served.storage, "broken.parquet", Kind.ENGAGEMENTS, b"PAR1 and no more")


def _give(served: Served) -> None:
    folder = served.settings.home / GIVEN
    folder.mkdir()
    several = event_file(*_events(7.0, 20), *_events(8.0, 20), Event("", "i00", at(8)))
    (folder / "several.csv").write_text(text(several))
    table = pa.Table.from_pylist([event._asdict() for event in _events(9.0, 10)])
    pq.write_table(table.rename_columns(list(EVENT_COLUMNS)), folder / "more.parquet")


def _events(day: float, number: int) -> list[Event]:
    """Engagements of known and unknown users with known and unknown items, many at the same instant."""
    users, items = (
        [*USERS, *(f"u{place:02}" for place in range(8))],
        [*ITEMS, *(f"i{place:02}" for place in range(6, 16))],
    )
    return [
        Event(users[place * 5 % len(users)], items[place * 7 % len(items)], at(day + place % 9 / 24), 1.0 + place % 2)
        for place in range(number)
    ]
