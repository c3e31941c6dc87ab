"""The replay: the later half of a dataset as if it happened now, and everything as it was afterwards."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from assets.config import Settings
from assets.ingestion.landing.batches import landed_batches
from assets.ingestion.landing.claims import claim, claimed
from assets.ingestion.landing.digests import row_digests
from assets.ingestion.landing.intake import ingest_claimed
from assets.ingestion.landing.merge import is_replay
from assets.serving.live import replay, replay_state
from assets.serving.live.build import needs_build, renew
from assets.serving.live.generation import require_current
from assets.serving.live.ledger import entries
from assets.serving.live.removal import wall_clock
from assets.serving.live.replay import (
    Progress,
    ReplayDay,
    ReplayError,
    end_replay,
    inline,
    land_day,
    replay_days,
    require_replay,
    run_replay,
    start_replay,
)
from assets.storage import Storage
from assets.stream import DatasetTables
from assets.training.checkpoints import read_manifest
from tests.assets.ingestion.landing.drops import SECOND, csv, drop, parquet, tree
from tests.assets.serving.live import filled

NOW = filled.FIRST_DAY + 365 * 86_400 * SECOND


class Clock:
    """A wall clock that every look moves on a little, and sleep as long as asked."""

    def __init__(self, step: float = 0.001) -> None:
        self.now, self.step = NOW, round(step * SECOND)

    def __call__(self) -> int:
        self.now += self.step
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)


def toy(root: Path) -> tuple[Storage, DatasetTables, Settings]:
    storage, tables = filled.toy(root)
    filled.save_net(storage, tables, "ihm_sasrec")
    return storage, tables, Settings(dataset="toy", home=root)


def start(storage: Storage, tables: DatasetTables, settings: Settings, now: int = NOW, reset: bool = False):
    return start_replay(storage, settings, tables, "ihm_sasrec", filled.SEED, now, reset)


def note(storage: Storage) -> Path:
    return storage.live / "replay.json"


def land_real(storage: Storage, settings: Settings, day: str = "2024-03-09") -> None:
    drop(storage, "real.csv", csv(("u01", "i00", day)), now=NOW)
    claim(storage, settings.freshness, NOW, 60.0)
    ingest_claimed(storage, settings.freshness, None, NOW)
    for files in claimed(storage).values():
        for file in files:
            file.path.unlink()


def test_days_are_the_rows_from_the_cutoff_on(tmp_path: Path) -> None:
    _, tables, _ = toy(tmp_path)
    days = replay_days(tables)
    assert [day.partition for day in days] == ["2024-03-04", "2024-03-05"]
    later = tables.interactions[tables.interactions["timestamp"] >= tables.cutoff]
    rows = pa.concat_tables([day.rows for day in days])
    assert rows.num_rows == len(later) > 0
    assert rows.column_names == ["user_id", "item_id", "timestamp", "event_type", "value"]
    whole = pa.Table.from_pandas(later[rows.column_names], preserve_index=False)
    np.testing.assert_array_equal(np.sort(row_digests(rows)), np.sort(row_digests(whole)))
    hours = replay_days(tables, "hour")
    assert len(hours) > 2
    assert sum(hour.rows.num_rows for hour in hours) == len(later)


def test_a_split_that_does_not_cut_in_time_has_no_later_half(tmp_path: Path) -> None:
    _, tables, _ = toy(tmp_path)
    moved = tables.interactions.assign(source_timestamp=lambda frame: frame["timestamp"] - pd.Timedelta(1, "D"))
    object.__setattr__(tables, "interactions", moved)
    with pytest.raises(ReplayError, match="leave_one_out"):
        replay_days(tables)


def test_everything_lands_in_order_and_becomes_searchable(tmp_path: Path) -> None:
    storage, tables, settings = toy(tmp_path)
    start(storage, tables, settings)
    told: list[Progress] = []
    process = inline(storage, settings, wall_clock)  # files say when they landed by the machine's clock
    done = run_replay(storage, replay_days(tables), None, wall_clock, process, told.append)
    assert (done.days, done.landed, done.applied, done.engagements) == (2, 2, 2, 96)
    assert [state.applied for state in told] == [0, 1, 2, 2][: len(told)]
    assert 0 < done.p50 <= done.p95 < 60
    assert str(done).startswith("2 of 2 partitions, 96 engagements, searchable after p50 ")
    with require_current(storage).open_store() as store, store.read() as reader:
        landed = [entry for entry in entries(reader) if entry.kind == "engagements"]
    assert [entry.partition for entry in landed] == ["2024-03-04", "2024-03-05"]
    assert sum(entry.applied for entry in landed) == 96
    assert is_replay(storage)


def test_the_pace_is_that_of_the_dataset_times_speed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, tables, settings = toy(tmp_path)
    start(storage, tables, settings)
    clock, landed = Clock(), {}
    original = replay.land_day
    monkeypatch.setattr(
        replay, "land_day", lambda of, day: (landed.update({day.partition: clock.now}), original(of, day))[1]
    )
    run_replay(storage, replay_days(tables), 8640.0, clock, inline(storage, settings, clock), sleep=clock.sleep)
    assert 10 <= (landed["2024-03-05"] - landed["2024-03-04"]) / SECOND < 11, "a day in ten seconds"


def test_a_replay_that_was_stopped_goes_on(tmp_path: Path) -> None:
    storage, tables, settings = toy(tmp_path)
    start(storage, tables, settings)
    clock, days = Clock(), replay_days(tables)
    run_replay(storage, days[:1], None, clock, inline(storage, settings, clock), sleep=clock.sleep)
    told: list[Progress] = []
    done = run_replay(storage, days, None, clock, inline(storage, settings, clock), told.append, clock.sleep)
    assert told[0].applied == told[0].landed == 1
    assert done.engagements == 96


def test_a_day_in_which_somebody_elses_file_landed_is_replayed_all_the_same(tmp_path: Path) -> None:
    storage, tables, settings = toy(tmp_path)
    clock, days = Clock(), replay_days(tables)
    start(storage, tables, settings)
    apply(storage, settings, clock, "orders.csv", days[0].partition)
    drop(storage, "copy.parquet", parquet(days[1].rows), now=clock())
    inline(storage, settings, clock)()
    told: list[Progress] = []
    done = run_replay(storage, days, None, clock, inline(storage, settings, clock), told.append, clock.sleep)
    assert (told[0].landed, told[0].applied) == (0, 0)
    assert (done.landed, done.applied) == (2, 2)
    replayed = [batch.source for batch in landed_batches(storage, "engagements") if "replay-" in batch.source]
    assert len(replayed) == 2


def test_a_copy_of_an_earlier_replays_file_is_not_taken_for_this_ones(tmp_path: Path) -> None:
    storage, tables, settings = toy(tmp_path)
    clock, days = Clock(), replay_days(tables)
    start(storage, tables, settings)
    earlier = land_day(storage, days[0]).read_bytes()
    end_replay(storage)
    start(storage, tables, settings)
    drop(storage, "mine.parquet", earlier, now=clock())
    inline(storage, settings, clock)()
    done = run_replay(storage, days[:1], None, clock, inline(storage, settings, clock), sleep=clock.sleep)
    assert done.applied == 1


def test_nothing_to_replay(tmp_path: Path) -> None:
    storage, tables, settings = toy(tmp_path)
    start(storage, tables, settings)
    done = run_replay(storage, [], None, Clock())
    assert (done.days, str(done)) == (0, "0 of 0 partitions, 0 engagements")


def test_starting_again_begins_at_the_cutoff(tmp_path: Path) -> None:
    storage, tables, settings = toy(tmp_path)
    start(storage, tables, settings)
    clock, days = Clock(), replay_days(tables)
    run_replay(storage, days, None, clock, inline(storage, settings, clock), sleep=clock.sleep)
    waiting = land_day(storage, days[0])
    waiting.with_name(f"{waiting.stem}.partial-1-0123abcd.parquet").write_bytes(b"half")
    drop(storage, land_day(storage, days[1]).name, b"half", age=10**6, now=clock())
    claim(storage, settings.freshness, clock(), 60.0)
    (storage.landing / "reading").mkdir(exist_ok=True)
    (storage.landing / "reading" / f"1--engagements--{waiting.name}").write_bytes(b"x")
    assert {path.split("/")[0] for path in tree(storage.landing) if "replay-" in path} == {
        "engagements",
        "claimed",
        "done",
        "quarantine",
        "reading",
    }
    start(storage, tables, settings, clock())
    assert landed_batches(storage, "engagements") == []
    assert [name for name in tree(storage.landing) if "replay-" in name] == []
    done = run_replay(storage, days, None, clock, inline(storage, settings, clock), sleep=clock.sleep)
    assert done.engagements == 96


def test_waiting_files_are_not_mixed_into_a_replay(tmp_path: Path) -> None:
    storage, tables, settings = toy(tmp_path)
    drop(storage, "mine.csv", csv(("u", "i", "2024-03-05")), now=NOW)
    with pytest.raises(ReplayError, match=r"1 files wait, mine\.csv first"):
        start(storage, tables, settings, reset=True)
    claim(storage, settings.freshness, NOW, 60.0)
    with pytest.raises(ReplayError, match="1 files wait"):
        start(storage, tables, settings, reset=True)
    assert not is_replay(storage)


def test_what_had_landed_is_kept_aside_and_comes_back(tmp_path: Path) -> None:
    storage, tables, settings = toy(tmp_path)
    land_real(storage, settings)
    (real,) = landed_batches(storage, "engagements")
    with pytest.raises(ReplayError, match="reset"):
        start(storage, tables, settings)
    assert not is_replay(storage)
    assert landed_batches(storage, "engagements") == [real]
    start(storage, tables, settings, reset=True)
    assert landed_batches(storage, "engagements") == []
    clock = Clock()
    run_replay(storage, replay_days(tables), None, clock, inline(storage, settings, clock), sleep=clock.sleep)
    land_real(storage, settings, "2024-03-10")
    assert end_replay(storage)
    assert sorted(batch.partition for batch in landed_batches(storage, "engagements")) == ["2024-03-09", "2024-03-10"]
    assert real in landed_batches(storage, "engagements")
    assert not is_replay(storage)
    assert not list(storage.live.glob("before-replay-*"))
    assert end_replay(storage) is False


def test_after_a_replay_the_index_has_to_be_built_anew(tmp_path: Path) -> None:
    storage, tables, settings = toy(tmp_path)
    start(storage, tables, settings)
    manifest = read_manifest(storage, "ihm_sasrec", filled.SEED)
    assert needs_build(storage, manifest) is None
    end_replay(storage)
    assert "replay" in str(needs_build(storage, manifest))


class Killed(BaseException):
    pass


def dying(original: Callable[..., Any], left: list[int]) -> Callable[..., Any]:
    """``original``, but for the call at which nothing is left of ``left``, which all that die together count down."""

    def call(*args: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] == -1:
            raise Killed
        return original(*args, **options)

    return call


@pytest.mark.parametrize("step", range(14))
def test_a_kill_while_it_starts_lands_or_ends_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """A fault before the n-th rename or removal of starting, landing or ending; each is called again afterwards."""
    storage, tables, settings = toy(tmp_path)
    monkeypatch.setattr(replay_state, "renew", lambda *_, **__: None)
    land_real(storage, settings)
    (real,) = landed_batches(storage, "engagements")
    days, left, waiting = replay_days(tables), [step], storage.landing / "engagements" / "replay-of-lost-orders.csv"

    def land() -> None:
        waiting.write_text("mine")
        for day in days:
            land_day(storage, day)

    with monkeypatch.context() as patch:
        for name in ("rename", "replace", "unlink"):
            patch.setattr(Path, name, dying(getattr(Path, name), left))
        patch.setattr(replay_state.shutil, "rmtree", dying(replay_state.shutil.rmtree, left))
        for call in (lambda: start(storage, tables, settings, reset=True), land, lambda: end_replay(storage)):
            try:
                call()
            except Killed:
                call()
    assert left[0] < 0
    assert landed_batches(storage, "engagements") == [real]
    assert not is_replay(storage)
    assert tree(waiting.parent) == [waiting.name]


def apply(storage: Storage, settings: Settings, clock: Clock, name: str, day: str) -> None:
    """Drop somebody's file and let it be applied."""
    drop(storage, name, csv(("u01", "i00", day)), now=clock())
    inline(storage, settings, clock)()


def days_of(storage: Storage) -> list[str]:
    return sorted(batch.partition for batch in landed_batches(storage, "engagements"))


def called(storage: Storage, name: str) -> list[str]:
    """Places of files that are called so, behind their stamps; their partitions are left out."""
    return sorted(path.split("/")[0] for path in tree(storage.landing) if path.endswith((f"--{name}", f"/{name}")))


@pytest.mark.parametrize("name", ["replay-of-lost-orders.csv", "orders--replay-2.csv", "replay-2024-03-04.csv"])
def test_a_file_that_is_called_like_a_replays_is_its_owners(tmp_path: Path, name: str) -> None:
    """Before, during and after a replay: such a file waits, is applied and comes back like any other."""
    storage, tables, settings = toy(tmp_path)
    clock, days = Clock(), replay_days(tables)
    renew(storage, settings, tables, "ihm_sasrec", filled.SEED, NOW)
    waiting = drop(storage, name, csv(("u01", "i00", "2024-03-09")), now=NOW)
    with pytest.raises(ReplayError, match=f"1 files wait, {re.escape(name)} first"):
        start(storage, tables, settings, reset=True)
    assert waiting.exists()
    claim(storage, settings.freshness, NOW, 60.0)
    with pytest.raises(ReplayError, match="1 files wait"):
        start(storage, tables, settings, reset=True)
    inline(storage, settings, clock)()
    assert (called(storage, name), days_of(storage)) == (["done"], ["2024-03-09"])

    start(storage, tables, settings, clock(), reset=True)
    assert (called(storage, name), days_of(storage)) == (["done"], [])
    run_replay(storage, days, None, clock, inline(storage, settings, clock), sleep=clock.sleep)
    apply(storage, settings, clock, name, "2024-03-10")
    assert days_of(storage) == ["2024-03-04", "2024-03-05", "2024-03-10"]
    start(storage, tables, settings, clock())
    assert (called(storage, name), days_of(storage)) == (["done", "done"], ["2024-03-10"])
    land_day(storage, days[0])
    drop(storage, name, csv(("u02", "i00", "2024-03-11")), now=clock())
    with pytest.raises(ReplayError, match="1 files wait"):
        start(storage, tables, settings, clock())
    claim(storage, settings.freshness, clock(), 60.0)
    drop(storage, name, csv(("u03", "i00", "2024-03-12")), now=clock())
    assert end_replay(storage)
    assert called(storage, name) == ["claimed", "done", "done", "engagements"]
    assert days_of(storage) == ["2024-03-09", "2024-03-10"]
    assert not list(storage.landing.glob("**/*replay-*.parquet")), "the replay's own are gone"

    with pytest.raises(ReplayError, match="2 files wait"):
        start(storage, tables, settings, clock(), reset=True)
    assert end_replay(storage) is False
    assert called(storage, name) == ["claimed", "done", "done", "engagements"]


def inodes(storage: Storage) -> set[int]:
    """Of all files that landed."""
    found = [path for root in (storage.landing, storage.live) for path in root.rglob("*.*") if path.is_file()]
    return {path.stat().st_ino for path in found if "replay-" in path.name or "landed" in path.parts}


def begun_by_an_older_version(storage: Storage, settings: Settings, tables: DatasetTables, clock: Clock) -> None:
    """A replay without an id: its first day is applied, its second and half a file wait; somebody's is applied."""
    start(storage, tables, settings)
    state = json.loads(note(storage).read_text())
    del state["id"]
    note(storage).write_text(json.dumps(state))
    first, second = replay_days(tables)
    drop(storage, f"replay-{first.partition}.parquet", parquet(first.rows), now=clock())
    apply(storage, settings, clock, "replay-of-lost-orders.csv", "2024-03-10")
    drop(storage, f"replay-{second.partition}.parquet", parquet(second.rows), now=clock())
    drop(storage, f"replay-{second.partition}.partial-1-0123abcd.parquet", b"half", now=clock())
    assert days_of(storage) == ["2024-03-04", "2024-03-10"]


def test_a_replay_that_an_older_version_began_ends_and_deletes_nothing(tmp_path: Path) -> None:
    storage, tables, settings = toy(tmp_path)
    begun_by_an_older_version(storage, settings, tables, Clock())
    held = inodes(storage)
    with pytest.raises(ReplayError, match="an older version began this replay"):
        require_replay(storage)
    with pytest.raises(ReplayError, match="an older version"):
        land_day(storage, replay_days(tables)[0])
    assert end_replay(storage)
    assert not is_replay(storage)
    assert days_of(storage) == ["2024-03-10"]
    assert called(storage, "replay-of-lost-orders.csv") == ["done"]
    assert called(storage, "replay-2024-03-04.parquet") == called(storage, "replay-2024-03-05.parquet") == ["replayed"]
    assert inodes(storage) == held


def test_a_replay_that_an_older_version_began_is_started_again(tmp_path: Path) -> None:
    storage, tables, settings = toy(tmp_path)
    clock = Clock()
    begun_by_an_older_version(storage, settings, tables, clock)
    start(storage, tables, settings, clock())
    require_replay(storage)
    assert days_of(storage) == ["2024-03-10"]
    run_replay(storage, replay_days(tables), None, clock, inline(storage, settings, clock), sleep=clock.sleep)
    assert end_replay(storage)
    assert days_of(storage) == ["2024-03-10"]
    assert {path.split("/")[0] for path in tree(storage.landing) if "replay-2024" in path} == {"replayed"}


def test_a_replay_that_ends_meanwhile_lands_nothing_more(tmp_path: Path) -> None:
    storage, tables, settings = toy(tmp_path)
    start(storage, tables, settings)
    end_replay(storage)
    with pytest.raises(ReplayError, match="no replay is going on"):
        run_replay(storage, replay_days(tables), None, Clock(), sleep=lambda _: pytest.fail("it lands and waits"))
    assert not list((storage.landing / "engagements").glob("*"))


def test_a_day_is_landed_whole(tmp_path: Path) -> None:
    storage, tables, settings = toy(tmp_path)
    day: ReplayDay = replay_days(tables)[0]
    with pytest.raises(ReplayError, match="no replay is going on"):
        land_day(storage, day)
    start(storage, tables, settings)
    path = land_day(storage, day)
    assert path.name == f"replay-{json.loads(note(storage).read_text())['id']}-2024-03-04.parquet"
    assert tree(path.parent) == [path.name]
