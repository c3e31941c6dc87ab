"""A small replay on engines chosen by configuration, and what serves after it."""

import json
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path

from assets.config import IndexConfig, Settings, StoreConfig
from assets.ingestion.landing.merge import REPLAY
from assets.serving.live.generation import open_generation, require_current
from assets.serving.live.replay import inline, replay_days, run_replay, start_replay
from assets.serving.live.state import Differences, batch_state, differences
from assets.storage import Storage, write_json
from assets.stream import load_tables
from tests.assets.serving.live.conftest import MODEL
from tests.assets.serving.live.logical import Logical, logical_state
from tests.assets.serving.live.streams import ASKING, NOW, stream_settings

DAYS = 2


def settings_with(home: Path, store: str = "lmdb", index: str = "ivf") -> Settings:
    """Those of the tests of the live path, with these engines."""
    chosen = {"store": StoreConfig(kind=store), "index": IndexConfig(queries=6, kind=index)}
    return stream_settings(home).model_copy(update=chosen)


def ticking() -> Callable[[], int]:
    """A wall clock that moves a millisecond whenever it is read."""
    ticks = count(NOW, 1000)
    return lambda: next(ticks)


def _no_sleep(seconds: float) -> None:
    raise AssertionError(f"a replay that takes its files itself waits {seconds} s")


def _call_alike(storage: Storage) -> None:
    """Give the replay an id that is not random: its files' names are in the ledger, which is compared."""
    path = storage.live / REPLAY
    write_json(path, json.loads(path.read_text(encoding="utf-8")) | {"id": "0" * 32})


def replay(trained_home: Path, home: Path, **engines: str) -> Settings:
    """Serve the dataset of ``trained_home`` from ``home`` up to the cutoff, and replay the days after it.

    Files land, are applied, embedded and indexed as runs do it, a run per day.
    """
    shutil.copytree(trained_home / "data", home / "data")
    settings, clock = settings_with(home, **engines), ticking()
    tables = load_tables(settings.storage)
    start_replay(settings.storage, settings, tables, MODEL, 0, clock(), reset=True)
    _call_alike(settings.storage)
    taken = inline(settings.storage, settings, clock)
    run_replay(settings.storage, replay_days(tables)[:DAYS], None, clock, taken, sleep=_no_sleep)
    assert (
        require_current(settings.storage).engines.in_words
        == f"store {settings.store.kind}, index {settings.index.kind}"
    )
    return settings


def compared(settings: Settings) -> Differences:
    """What the check ``state_equals_batch`` finds."""
    with open_generation(settings.storage) as opened:
        return differences(opened, batch_state(opened))


def state(settings: Settings) -> Logical:
    """All that is served."""
    return logical_state(settings.storage, ASKING)
