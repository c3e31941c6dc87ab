"""A process killed by SIGKILL, wherever: what is left serves, and doing the same again ends as if nothing had been.

Every scenario (:mod:`tests.assets.serving.live.scenarios`) is carried out once undisturbed, which counts its points
(:mod:`tests.assets.serving.live.faults`). Then, per point, on a copy of the same dataset, it is killed there, carried
out again by a new process, and the states are compared: features, vectors, search results, ledger, landed batches,
files in every place, nothing half-written.

Some points, evenly spread over each scenario and the same every time, are tried by default. All of them, 1,372,
are with ``THAW_EVERY_KILL=1``, which takes a quarter of an hour on two cores.
"""

import io
import shutil
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.ingestion.landing.places import Kind, done_folder, quarantine_folder
from assets.storage import Storage
from tests.assets.serving.live.faults import Points, carry_out
from tests.assets.serving.live.logical import unlike
from tests.assets.serving.live.scenarios import FORGOTTEN, SCENARIOS
from tests.assets.serving.live.streams import NOW, Event, Served, at, event_file, put, stream_settings, text
from tests.assets.serving.live.worlds import EVERY_POINT, World, chosen, make_world

__all__ = ["make_world"]

SAMPLED = {"run": (7, 4, 1), "switch": (4, 3, 1), "forget": (4, 1, 1), "land": (2, 2, 0), "replay": (4, 2, 1)}
"""Points tried by default per scenario, see :func:`tests.assets.serving.live.worlds.chosen`."""

AT_ONCE = 2
LONG = 7200
"""Seconds that a scenario may take with all its points."""


def survives(world: World, number: int, home: Path) -> list[str]:
    """Kill at a point, carry out again, and say what differs."""
    try:
        killed = carry_out(world.name, world.copy(home), 0, Points(number))
        if killed.signal != signal.SIGKILL:
            return [f"was not killed at {world.points[number]}"]
        again = carry_out(world.name, home, 1)
        assert again.state is not None
        return unlike(world.state, again.state)
    except AssertionError as error:
        return [str(error)]
    finally:
        shutil.rmtree(home)


@pytest.mark.timeout(LONG if EVERY_POINT else 300)
@pytest.mark.parametrize("name", SCENARIOS)
def test_killed_anywhere_it_ends_as_if_nothing_had_been(
    make_world: Callable[[str], World], tmp_path: Path, name: str
) -> None:
    world = make_world(name)
    tried = chosen(world.points, *SAMPLED[name])
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(lambda number: survives(world, number, tmp_path / str(number)), tried))
    problems = {f"{number}: {world.points[number]}": lines for number, lines in zip(tried, found, strict=True) if lines}
    assert not problems


def test_whoever_writes_next_finishes_a_removal_that_was_killed(
    make_world: Callable[[str], World], tmp_path: Path
) -> None:
    world = make_world("forget")
    home = world.copy(tmp_path / "home")
    assert carry_out("forget", home, 0, Points(world.points.index("commit"))).signal == signal.SIGKILL
    settings = stream_settings(home)
    assert FORGOTTEN in Served(settings.storage, settings).state().seen
    state = carry_out("run", home, 1).state
    assert state is not None
    assert state.removed == ([FORGOTTEN], [])
    assert FORGOTTEN not in state.seen
    assert not Served(settings.storage, settings).compare()


def parquet(**columns: pa.Array) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


def engagements(*rows: Event) -> bytes:
    columns = zip(*((row.user, row.item, row.at) for row in rows), strict=True) if rows else ([], [], [])
    names = ("user_id", "item_id", "timestamp")
    return parquet(**{name: pa.array(list(values), pa.string()) for name, values in zip(names, columns, strict=True)})


WHOLE = engagements(Event("u00", "i00", at(7)), Event("u01", "i01", at(8)))
HEADER = "user_id,item_id,timestamp,value,event_type\n"
FUTURE = "2031-01-01T00:00:00"

STRANGE: dict[str, tuple[str | bytes, str | int]] = {
    "truncated.parquet": (WHOLE[: len(WHOLE) // 2], "not a readable Parquet file"),
    "no-bytes.csv": ("", "column user_id, item_id, timestamp is missing"),
    "other-columns.csv": ("user,item,when\nu00,i00,2024-03-07\n", "column user_id, item_id, timestamp is missing"),
    "other-types.parquet": (
        parquet(
            user_id=pa.array([["u00"]]), item_id=pa.array([{"id": "i00"}]), timestamp=pa.array(["2024-03-07T00:00:00"])
        ),
        "other-types.parquet",
    ),
    "all-in-the-future.csv": (HEADER + f"u00,i00,{FUTURE},1,engagement\n", "1 of 1 rows are not valid"),
    "empty.csv": (HEADER, 0),
    "empty.parquet": (engagements(), 0),
    "unknown.csv": (text(event_file(Event("stranger", "i00", at(7)), Event("u00", "oddity", at(7)))), 2),
    "partly-in-the-future.csv": (
        text(event_file(*(Event("u07", f"i{place:02}", at(7.5)) for place in range(20)), Event("u00", "i00", FUTURE))),
        20,
    ),
}
"""Files, and what becomes of each: so many rows applied, or refused with this in the reason."""


def test_strange_files_end_clearly_and_none_is_lost(make_world: Callable[[str], World], tmp_path: Path) -> None:
    settings = stream_settings(make_world("replay").copy(tmp_path / "home"))
    storage, served = settings.storage, Served(settings.storage, settings, NOW)
    for name, (content, _) in STRANGE.items():
        put(storage, name, Kind.ENGAGEMENTS, content)
    growing = put(storage, "growing.parquet", Kind.ENGAGEMENTS, WHOLE[:-9], written_at=NOW)  # at this very moment
    done = served.run()
    assert growing.exists()
    rows = {entry.source: entry.applied for entry in done.applied.entries}
    assert rows == {name: outcome for name, (_, outcome) in STRANGE.items() if isinstance(outcome, int)}
    refused = {name: outcome for name, (_, outcome) in STRANGE.items() if isinstance(outcome, str)}
    for name, reason in refused.items():
        (path,) = quarantine_folder(storage).glob(f"*--{name}.reason.txt")
        assert reason in path.read_text()
    assert served.state().files["refused"] == sorted(
        [f"engagements--{name}{end}" for name in refused for end in ("", ".reason.txt")]
        + ["engagements--partly-in-the-future.csv.rows.parquet"]
    )
    assert sorted(path.read_bytes() for path in kept_files(storage)) == sorted(
        content.encode() if isinstance(content, str) else content for content, _ in STRANGE.values()
    )
    put(storage, "growing.parquet", Kind.ENGAGEMENTS, WHOLE)
    assert [entry.source for entry in served.run().applied.entries] == ["growing.parquet"]
    assert not served.compare()


def kept_files(storage: Storage) -> list[Path]:
    """Dropped files as they came, applied or refused."""
    paths = [*done_folder(storage).rglob("*--engagements--*"), *quarantine_folder(storage).glob("*--engagements--*")]
    own = (".reason.txt", ".rows.parquet")
    return [path for path in paths if not path.name.endswith(own) and not path.name.endswith("engagements-001.csv")]
