"""How many queries are let in, in which order, for how long; and what those hear who are not."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import httpx
import pytest

from assets.config import ServiceConfig
from assets.serving.retrieval import admission as admission_module
from assets.serving.retrieval.admission import Admission, OverloadedError
from assets.serving.retrieval.served import ServedLog, served_path
from assets.serving.retrieval.service import create_app
from assets.storage import Storage
from tests.assets.serving.retrieval.test_service import running, wait_until
from tests.assets.serving.retrieval.world import World

SMALL = ServiceConfig(max_running=2, max_waiting=3, max_wait_seconds=30)


@pytest.fixture
def admission() -> Iterator[Admission]:
    admission = Admission(SMALL)
    yield admission
    admission.close()


async def started(admission: Admission, works) -> list[asyncio.Task]:
    tasks = [asyncio.create_task(admission.run(work)) for work in works]
    await asyncio.sleep(0.05)
    return tasks


def test_queries_wait_in_order_and_no_more_than_may(admission: Admission) -> None:
    held, begun, at_once, most = threading.Event(), [], 0, 0
    lock = threading.Lock()

    def work(number: int):
        def compute() -> int:
            nonlocal at_once, most
            with lock:
                at_once += 1
                most = max(most, at_once)
                begun.append(number)
            held.wait(60)
            with lock:
                at_once -= 1
            return number

        return compute

    async def all_of() -> None:
        tasks = await started(admission, [work(number) for number in range(5)])
        assert (admission.running, admission.waiting, admission.full) == (2, 3, True)
        with pytest.raises(OverloadedError, match=r"2 are computed and 3 wait: ask again in 1 s"):
            await admission.run(work(5))
        held.set()
        assert await asyncio.gather(*tasks) == [0, 1, 2, 3, 4]
        assert (admission.running, admission.waiting, admission.full) == (0, 0, False)
        assert await admission.run(work(6)) == 6

    asyncio.run(all_of())
    assert most == 2
    assert set(begun[:2]) == {0, 1}
    assert admission.refused == 1


def test_who_waits_too_long_is_refused_and_its_work_is_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]  # the machine's would refuse the others too where it stands still for a moment
    monkeypatch.setattr(admission_module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    admission = Admission(ServiceConfig(max_running=1, max_waiting=3, max_wait_seconds=0.2))
    begun, held, done = threading.Event(), threading.Event(), []

    def work() -> bool:
        begun.set()
        return held.wait(60)

    async def all_of() -> None:
        first, late = await started(admission, [work, lambda: done.append("late")])
        assert await asyncio.to_thread(begun.wait, 60)
        clock[0] += 0.3
        held.set()
        assert await first
        with pytest.raises(OverloadedError, match=r"no turn within 0\.2 s"):
            await late
        assert await admission.run(lambda: "next") == "next"

    asyncio.run(all_of())
    admission.close()
    assert done == []
    assert (admission.refused, admission.waiting) == (1, 0)


def test_a_query_that_fails_gives_its_turn_back(admission: Admission) -> None:
    async def all_of() -> None:
        for _ in range(10):
            with pytest.raises(ZeroDivisionError):
                await admission.run(lambda: 1 / 0)
        assert await admission.run(lambda: 1) == 1

    asyncio.run(all_of())
    assert (admission.running, admission.refused) == (0, 0)


def test_a_full_service_refuses_queries_and_nothing_else_and_recovers(world: World) -> None:
    log = ServedLog(served_path(Storage(world.storage.root, "toy"), "test"))
    app = create_app(world.retriever, SMALL, log)
    held, room = threading.Event(), SMALL.max_running + SMALL.max_waiting
    with (
        running(app, SMALL) as address,
        httpx.Client(base_url=address, timeout=30) as http,
        ThreadPoolExecutor(room) as pool,
    ):
        wait_until(lambda: http.get("/healthz").status_code == 200)
        retriever = app.state.follower.retriever
        recommend = retriever.recommend
        retriever.recommend = lambda *asked: held.wait(60) and recommend(*asked)
        asked = [pool.submit(http.get, "/v1/recommend?user=u1") for _ in range(room)]
        wait_until(lambda: "thaw_queries_waiting 3.0" in http.get("/metrics").text)
        for answer in (
            http.get("/v1/recommend?user=u2"),
            http.get("/v1/similar?item=g1-0-1"),
            http.post("/v1/recommend", json={"users": ["u1"]}),
        ):
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert "2 are computed and 3 wait" in answer.json()["error"]
        for path in ("/healthz", "/metrics", "/docs", "/openapi.json"):
            assert http.get(path).status_code == 200
        held.set()
        assert [answer.result().status_code for answer in asked] == [200] * room
        assert http.get("/v1/recommend?user=u2").status_code == 200
        counts = http.get("/metrics").text
    assert "thaw_queries_refused_total 3.0" in counts
    assert "thaw_queries_waiting 0.0" in counts
    assert 'thaw_requests_total{path="/v1/recommend",status="503"} 2.0' in counts
