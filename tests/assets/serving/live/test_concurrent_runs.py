"""Two processes at once, in every order: the state is that of one after the other.

The first stops at a point (:mod:`tests.assets.serving.live.faults`), the second goes as far as it can, which is to its
end or to a lock that the first one holds, then the first goes on. Some points per pair are tried by default, all of
them with ``THAW_EVERY_KILL=1``.
"""

import fcntl
import shutil
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from assets.ingestion.landing.claims import claim
from assets.ingestion.landing.places import claim_lock
from assets.serving.live.build import build_generation, promote
from assets.serving.live.generation import build_lock, current, writer_lock
from assets.serving.live.process import process_waiting
from assets.storage import Storage
from assets.stream import load_tables
from tests.assets.serving.live.conftest import MODEL, SECOND
from tests.assets.serving.live.faults import Points, carry_out, result, start
from tests.assets.serving.live.logical import FEATURES, SERVED, unlike
from tests.assets.serving.live.streams import NOW, Served, stream_settings
from tests.assets.serving.live.worlds import EVERY_POINT, World, chosen, make_world

__all__ = ["make_world"]

PAIRS = {
    ("run", "run"): ("run", 5),
    ("run", "forget"): ("forget", 3),
    ("forget", "run"): ("forget", 3),
    ("run", "switch"): ("switch", 3),
    ("switch", "run"): ("switch", 3),
}
"""Who stops and who comes between: the world that they work in, and how many points are tried by default."""

PATIENCE = 1.5
"""Seconds for the second process to come to a lock that the first one holds."""

LONGEST = 120
"""Seconds for the second process to come to its end where it has nothing to wait for."""


def interleaved(world: World, first: str, second: str, number: int, home: Path) -> list[str]:
    """Let ``second`` come between at a point of ``first``; in words, what differs at the end."""
    storage, children = stream_settings(world.copy(home)).storage, []
    try:
        children.append(start(first, home, 0, Points(number, signal.SIGSTOP), look=False))
        children[0].await_stop()
        is_free = not _holds_lock(storage)  # before the second is there, which takes locks of its own
        children.append(start(second, home, 1, look=False))
        if not children[1].ended(LONGEST if is_free else PATIENCE) and is_free:
            return [f"{second} waits, and {first} holds no lock"]
        children[0].go_on()
        for child in children:
            assert result(child).signal == 0
        ended = carry_out("run", home, 2)
        assert ended.state is not None
        return unlike(world.state, ended.state, _compared(first, second))
    except AssertionError as error:
        return [str(error)]
    finally:
        for child in children:
            child.kill()
        shutil.rmtree(home)


def _compared(first: str, second: str) -> list[str] | None:
    """Of two runs everything; else the ledger says which came first: what it set aside, and for which reason."""
    if first == second:
        return None
    return [*FEATURES, *SERVED, "model", "waiting", "files", "landed", "removed", "leftovers"]


def _holds_lock(storage: Storage) -> bool:
    """Whether anybody holds one of the locks that processes wait for."""
    for path in (writer_lock(storage), build_lock(storage), claim_lock(storage)):
        if not path.exists():
            continue
        with path.open("r+") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    return False


@pytest.mark.timeout(7200 if EVERY_POINT else 300)
@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_two_at_once_give_the_state_of_one_after_the_other(
    make_world: Callable[[str], World], tmp_path: Path, first: str, second: str
) -> None:
    name, count = PAIRS[first, second]
    world = make_world(name)
    points = carry_out(first, world.copy(tmp_path / "counted"), look=False).points
    tried = chosen(points, count, 0, 0)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda at: interleaved(world, first, second, at, tmp_path / str(at)), tried))
    assert not {f"{at}: {points[at]}": lines for at, lines in zip(tried, found, strict=True) if lines}


def test_a_partition_that_arrives_during_a_retrain_is_in_the_old_generation_and_then_in_the_new(
    make_world: Callable[[str], World], tmp_path: Path
) -> None:
    world = make_world("switch")
    settings = stream_settings(world.copy(tmp_path / "home"))
    storage, served = settings.storage, Served(settings.storage, settings, NOW)
    building = build_generation(storage, settings, load_tables(storage), MODEL, 0, NOW)
    old = current(storage)
    before = served.state()
    claim(storage, settings.freshness, NOW + SECOND, 60)
    process_waiting(storage, settings, lambda: NOW + SECOND)
    assert current(storage) == old
    during = served.state()
    assert during.model == before.model != world.state.model
    assert during.counts["fresh0"]["total"] > before.counts["fresh0"]["total"]
    promote(storage, settings, building, NOW + 2 * SECOND)
    after = served.state()
    assert after.model == world.state.model
    assert not unlike(
        world.state, after, ["watermark", "item_histories", "user_histories", "seen", "encoded", "vectors"]
    )
    assert after.waiting == (0, 0)
    served.now = NOW + 3 * SECOND
    assert served.run().maintained.reason is None  # the day had moved on since the build: promotion saw to that
    assert not unlike(world.state, served.state(), [*FEATURES, *SERVED])
