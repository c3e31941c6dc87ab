"""The service at its limit and beyond it, from wrk, while its index is updated and compacted.

``THAW_LOAD_SECONDS=600`` makes ten minutes of the first test; ``THAW_FAULTS_LOG`` keeps what was measured.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import httpx
import pytest

from assets.config import ServiceConfig
from assets.storage import Storage
from benchmarks.load import load
from tests.assets.serving.retrieval.stress import Stress
from tests.assets.serving.retrieval.test_service import wait_until
from tests.assets.serving.retrieval.test_service_under_load import asking
from tests.assets.serving.retrieval.world import World
from tests.faults.load_service import served

SECONDS = float(os.environ.get("THAW_LOAD_SECONDS", "60"))
OVERLOAD_SECONDS = 10
CONFIG = ServiceConfig(max_k=20, max_users=3, poll_milliseconds=5)
SATURATED = 32
"""Connections: half of what may wait."""

OVERLOADED = 256
"""Four times what may wait."""

STATE_SECONDS = 5.0
"""In which health and metrics answer under overload: 1 to 2.5 s on two cores that six others shared; with uvloop, whose
loop takes in no new connection meanwhile, not before the load ends."""

LONGER = 5
"""Times as long as its queue takes it at saturation may a machine that is too slow for a second take to recover: 0.7 s
on a core that six others shared, whose queue took 0.3 s."""

LEAST_PER_SECOND = 5
LEAST_SHARE = 0.1
"""Of the answers a second at saturation that are left under overload; with turns handed out by the loop it was less."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(Storage(tmp_path / "data", "toy"))
    world.promote()
    yield world
    world.store.close()


@pytest.fixture
def address(world: World) -> Iterator[str]:
    with served(world, CONFIG) as address:
        wait_until(lambda: httpx.get(f"{address}/healthz").status_code == 200, 60)
        yield address


def paths_of(world: World) -> list[str]:
    users = [*(f"u{group}" for group in range(world.groups)), "nobody"]
    return [f"/v1/recommend?user={user}&k={world.half}" for user in users]


@pytest.mark.timeout(SECONDS + 240)
def test_at_saturation_beside_updates_every_answer_is_whole_and_none_is_an_error(
    world: World, address: str, diary: list[dict[str, object]]
) -> None:
    hidden = [world.user(group)[1] for group in range(world.groups)]
    with httpx.Client(base_url=address, timeout=30) as http, ThreadPoolExecutor(1) as pool:
        loaded = pool.submit(load, address, paths_of(world), SATURATED, SECONDS)
        stress = Stress(world, asking(http, world), hidden.__getitem__, refresh=None, readers=2, pause=0.02)
        outcome, result = stress.run(SECONDS), loaded.result()
        diary.append({**asdict(result), "connections": SATURATED, "deltas": outcome.deltas, "load": os.getloadavg()[0]})
        assert outcome.problems == []
        assert (result.refused, result.other, result.errors) == (0, 0, 0)
        assert result.answered > LEAST_PER_SECOND * SECONDS
        assert outcome.queries > SECONDS / 2
        assert outcome.deltas > LEAST_PER_SECOND * SECONDS
        assert outcome.compactions == outcome.deltas // stress.deltas_per_compaction > 0
        wait_until(lambda: http.get("/healthz").json()["seq"] == outcome.deltas)
        counts = http.get("/metrics").text
        assert "thaw_refresh_errors_total 0.0" in counts
        assert "thaw_queries_refused_total 0.0" in counts
        assert 'status="500"' not in counts


class Watcher:
    """Asks for health and metrics without a pause until told to stop."""

    def __init__(self, address: str) -> None:
        self._address, self._stop = address, threading.Event()
        self.seconds: list[float] = []
        self.wrong: list[str] = []

    def run(self) -> None:
        while not self._stop.wait(0.05):
            for path in ("/healthz", "/metrics"):
                started = time.perf_counter()
                answer = httpx.get(self._address + path, timeout=30)  # a connection of its own, as a probe has
                self.seconds.append(time.perf_counter() - started)
                if answer.status_code != 200:
                    self.wrong.append(answer.text)

    def stop(self) -> None:
        self._stop.set()


def test_overload_is_refused_at_once_health_is_told_and_all_is_well_within_a_second(
    world: World, address: str, diary: list[dict[str, object]]
) -> None:
    usual = load(address, paths_of(world), SATURATED, 3)
    watcher = Watcher(address)
    with ThreadPoolExecutor(2) as pool:
        watching = pool.submit(watcher.run)
        loaded = pool.submit(load, address, paths_of(world), OVERLOADED, OVERLOAD_SECONDS)
        for group in range(3 * world.groups):  # updates go on
            world.step(group % world.groups)
            time.sleep(OVERLOAD_SECONDS / (3 * world.groups))
        result = loaded.result()
        ended = time.monotonic()
        recovered = recovery(address, world, ended)
        watcher.stop()
        watching.result()
    diary.append(
        {
            **asdict(result),
            "connections": OVERLOADED,
            "usual": usual.per_second,
            "recovered": recovered,
            "state": watcher.seconds,
        }
    )
    assert watcher.wrong == []
    assert len(watcher.seconds) >= OVERLOAD_SECONDS / STATE_SECONDS
    assert max(watcher.seconds) < STATE_SECONDS
    assert result.refused > 0
    assert (result.other, result.errors) == (0, 0)
    assert result.per_second > LEAST_SHARE * usual.per_second
    assert result.p50_ms < 2000 * CONFIG.max_wait_seconds
    assert recovered < max(1.0, LONGER * (CONFIG.max_running + CONFIG.max_waiting) / usual.per_second)
    wait_until(lambda: httpx.get(f"{address}/healthz").json()["seq"] == 3 * world.groups)


def recovery(address: str, world: World, since: float) -> float:
    """Seconds from ``since`` until five queries in a row were answered."""
    with httpx.Client(base_url=address, timeout=30) as http:
        good = 0
        while good < 5:
            good = good + 1 if http.get(paths_of(world)[0]).status_code == 200 else 0
            assert time.monotonic() < since + 30, "does not recover"
        assert "thaw_queries_waiting 0.0" in http.get("/metrics").text
    return time.monotonic() - since


def test_a_crowd_of_half_sent_requests_keeps_nobody_out(world: World) -> None:
    config = CONFIG.model_copy(update={"max_connections": 50, "client_seconds": 2.0})
    with served(world, config) as address:
        wait_until(lambda: httpx.get(f"{address}/healthz").status_code == 200, 60)
        place = ("127.0.0.1", int(address.rsplit(":", 1)[1]))
        crowd = [socket.create_connection(place) for _ in range(200)]
        for number, one in enumerate(crowd):
            try:
                one.sendall(b"GET /v1/recommend?user=u1 HTTP/1.1\r\nx: ")
            except OSError:
                assert number < 200 - config.max_connections
            if number % 20 == 0:
                assert httpx.get(f"{address}/v1/recommend?user=u1").status_code == 200
        time.sleep(config.client_seconds + 1)
        for one in crowd:
            one.settimeout(10)
            assert ended(one), "still open"
            one.close()
        result = load(address, paths_of(world), 16, 1)
        assert result.answered > 0
        assert (result.refused, result.other, result.errors) == (0, 0, 0)


def ended(one: socket.socket) -> bool:
    """Whether the other side has closed; what it said before is read."""
    try:
        while one.recv(4096):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True
