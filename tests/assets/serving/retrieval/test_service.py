"""The HTTP service: what it answers, what it refuses, what it says of itself, and all of it while it is updated."""

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from assets.config import ServiceConfig
from assets.serving.live.generation import NoIndexError
from assets.serving.retrieval.clients import server_options
from assets.serving.retrieval.retriever import Retriever
from assets.serving.retrieval.served import MOST_BYTES, ServedLog, served_path
from assets.serving.retrieval.service import create_app
from assets.storage import Storage
from tests.assets.serving.retrieval.stress import Stress
from tests.assets.serving.retrieval.world import WATERMARK_AT, World
from tests.browser import chromium_page

CONFIG = ServiceConfig(max_k=20, max_users=3, max_body_bytes=2000, poll_milliseconds=5, max_wait_seconds=60)
"""How long a query may wait is :mod:`test_admission`'s business: a slow machine refuses none here."""


def log_of(world: World) -> ServedLog:
    return ServedLog(served_path(world.storage, "test"))


def lines_of(world: World) -> list[dict]:
    return [json.loads(line) for line in served_path(world.storage, "test").read_text().splitlines()]


def wait_until(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.005)


def app_of(world: World, **options) -> FastAPI:
    return create_app(world.retriever, CONFIG, log_of(world), **options)


@contextmanager
def running(app: FastAPI, config: ServiceConfig = CONFIG) -> Iterator[str]:
    """The service on a port of its own."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, **server_options(config)))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def client_of(app: FastAPI, loaded: bool = True) -> Iterator[httpx.Client]:
    with running(app) as address, httpx.Client(base_url=address, timeout=30) as client:
        if loaded:
            wait_until(lambda: client.get("/healthz").status_code == 200)
        yield client


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A service that nothing happens to, for questions that change nothing."""
    world = World(Storage(tmp_path_factory.mktemp("quiet"), "toy"))
    world.promote()
    with client_of(app_of(world)) as client:
        yield client
    world.store.close()


@pytest.fixture
def app(world: World) -> FastAPI:
    return app_of(world)


@pytest.fixture
def client(app: FastAPI) -> Iterator[httpx.Client]:
    with client_of(app) as client:
        yield client


def test_recommendations_for_one_user_and_for_several(world: World, client: httpx.Client) -> None:
    one = client.get("/v1/recommend", params={"user": "u2", "k": 4, "why": True}).json()
    assert {result["item_id"] for result in one["results"]} == set(world.members(2, 1)) - {"g2-0-1"}
    assert one["has_history"] is True
    assert one["version"] == {"generation": "first", "seq": 0, "watermark": WATERMARK_AT}
    assert one["results"][0]["why"] == [{"item_id": "anchor-2", "title": "Title anchor-2", "cosine": 1.0}]
    assert re.fullmatch(r"2023-11-14T22:13:20(\.0+)?(Z|\+00:00)", one["results"][0]["embedded_at"])
    several = client.post("/v1/recommend", json={"users": ["u0", "nobody", "u0"], "k": 4})
    assert [answer["user_id"] for answer in several.json()] == ["u0", "nobody", "u0"]
    assert [answer["has_history"] for answer in several.json()] == [True, False, True]
    assert several.json()[0] == client.get("/v1/recommend", params={"user": "u0", "k": 4}).json()


def test_one_can_ask_as_of_a_later_instant(quiet: httpx.Client) -> None:
    now = quiet.get("/v1/recommend", params={"user": "u2", "k": 4}).json()
    for at in ("2024-10-04T00:00:00Z", "2031-01-01T00:00:00+05:30"):
        assert quiet.get("/v1/recommend", params={"user": "u2", "k": 4, "at": at}).json() == now
        assert quiet.post("/v1/recommend", json={"users": ["u2"], "k": 4, "at": at}).json() == [now]


def test_any_text_is_an_id(quiet: httpx.Client) -> None:
    for user in ("\u00fc \u4f60", "\x00", "%", "x" * 256, "\U0001f600" * 256):
        answer = quiet.get("/v1/recommend", params={"user": user, "why": True})
        assert (answer.status_code, answer.json()["has_history"]) == (200, False)
        assert quiet.post("/v1/recommend", json={"users": [user]}).status_code == 200
        assert quiet.get("/v1/similar", params={"item": user}).status_code == 404
    assert quiet.get("/v1/recommend?user=%ff%fe").status_code == 200


def test_similar_items(world: World, client: httpx.Client) -> None:
    answer = client.get("/v1/similar", params={"item": "g1-0-1", "k": 4}).json()
    assert {result["item_id"] for result in answer["results"]} == set(world.members(1, 1)) - {"g1-0-1"}
    missing = client.get("/v1/similar", params={"item": "nothing"})
    assert (missing.status_code, missing.json()) == (404, {"error": "item 'nothing' is not in the index"})


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "words"),
    [
        ("GET", "/v1/recommend", {}, 422, "query.user"),
        ("GET", "/v1/recommend", {"params": {"user": ""}}, 422, "at least 1 character"),
        ("GET", "/v1/recommend", {"params": {"user": "x" * 257}}, 422, "at most 256 characters"),
        (
            "GET",
            "/v1/recommend",
            {"params": {"user": "u1", "k": 21}},
            422,
            "query.k: Input should be less than or equal to 20",
        ),
        ("GET", "/v1/recommend", {"params": {"user": "u1", "k": 0}}, 422, "query.k"),
        ("GET", "/v1/recommend", {"params": {"user": "u1", "k": "many"}}, 422, "query.k"),
        ("GET", "/v1/similar", {"params": {"item": "g1-0-1", "k": 21}}, 422, "query.k"),
        ("POST", "/v1/recommend", {"json": {"users": []}}, 422, "body.users"),
        ("POST", "/v1/recommend", {"json": {"users": ["a", "b", "c", "d"]}}, 422, "body.users"),
        ("POST", "/v1/recommend", {"json": {"users": ["a"], "k": 21}}, 422, "body.k"),
        ("POST", "/v1/recommend", {"json": {"users": ["a"], "key": 2}}, 422, "body.key"),
        ("POST", "/v1/recommend", {"json": {"users": [""]}}, 422, "body.users.0"),
        ("POST", "/v1/recommend", {"content": b"{", "headers": {"content-type": "application/json"}}, 422, "JSON"),
        ("POST", "/v1/recommend", {"content": b"x" * 2001}, 413, "Too Large"),
        (
            "POST",
            "/v1/recommend",
            {"content": b'{"users": ["\\ud800"]}', "headers": {"content-type": "application/json"}},
            422,
            "body.users.0",
        ),
        (
            "GET",
            "/v1/recommend",
            {"params": {"user": "nobody", "at": "2024-10-03T23:59:59Z"}},
            422,
            "before the latest engagement, of 2024-10-04T00:00:00+00:00",
        ),
        ("GET", "/v1/recommend", {"params": {"user": "u1", "at": "2024-10-05T00:00:00"}}, 422, "query.at: "),
        ("POST", "/v1/recommend", {"json": {"users": ["u1"], "at": "2024-10-03T00:00:00Z"}}, 422, "ask as of that"),
        ("POST", "/v1/recommend", {"json": {"users": ["u1"], "at": "yesterday"}}, 422, "body.at: "),
        ("DELETE", "/v1/recommend", {}, 405, "Method Not Allowed"),
        ("GET", "/v2/recommend", {}, 404, "Not Found"),
    ],
)
def test_what_is_wrong_is_refused_and_named(quiet: httpx.Client, method, path, options, status, words) -> None:
    answer = quiet.request(method, path, **options)
    assert answer.status_code == status
    assert words in answer.text


def test_a_body_without_a_length_is_bounded_too(quiet: httpx.Client) -> None:
    answer = quiet.post("/v1/recommend", content=(b"x" * 500 for _ in range(10)))
    assert answer.status_code == 413


def test_a_token_is_wanted_where_there_is_one(world: World) -> None:
    with client_of(app_of(world, token="sesame")) as client:
        for path in ("/v1/recommend?user=u1", "/v1/similar?item=g1-0-1", "/metrics"):
            for headers in (
                {},
                {"Authorization": "Bearer sesam"},
                {"Authorization": "Basic sesame"},
                {"Authorization": "Bearer ö".encode()},
            ):
                refused = client.get(path, headers=headers)
                assert refused.status_code == 401
                assert refused.headers["WWW-Authenticate"] == "Bearer"
                assert "bearer token" in refused.json()["error"]
            assert client.get(path, headers={"Authorization": "Bearer sesame"}).status_code == 200
        assert client.post("/v1/recommend", json={"users": ["u1"]}).status_code == 401
        assert client.get("/healthz").status_code == 200
        assert "with a bearer token" in client.get("/docs").text


def test_until_there_is_an_index_it_says_so_and_then_serves(world: World) -> None:
    built = threading.Event()  # not a number of tries: on a busy machine they would be over before the first request

    def opening() -> Retriever:
        if not built.is_set():
            raise NoIndexError("run `thaw run` first")
        return world.retriever()

    app = create_app(opening, CONFIG, log_of(world))
    with client_of(app, loaded=False) as client:
        early = client.get("/healthz")
        assert (early.status_code, early.json()["status"]) == (503, "no index yet")
        asked = client.get("/v1/recommend?user=u1")
        assert asked.status_code == 503
        assert asked.headers["Retry-After"] == "1"
        assert "thaw_ready 0.0" in client.get("/metrics").text
        built.set()
        wait_until(lambda: client.get("/healthz").status_code == 200)
        assert client.get("/healthz").json()["error"] is None
        assert client.get("/v1/recommend?user=u1").status_code == 200


def test_updates_are_followed_without_a_restart(world: World, client: httpx.Client) -> None:
    world.step(0)
    seq = world.step(0)
    wait_until(lambda: client.get("/healthz").json()["seq"] == seq)
    answer = client.get("/v1/recommend", params={"user": "u0", "k": 4}).json()
    assert {result["score"] for result in answer["results"]} == {3.0}
    assert answer["version"]["seq"] == seq
    state = client.get("/healthz").json()
    assert (state["status"], state["lag"], state["items"]) == ("ok", 0, world.groups * world.half)


def test_what_cannot_be_followed_is_told_and_queries_go_on(app: FastAPI, client: httpx.Client) -> None:
    follower = app.state.follower
    follower._stopping.set()
    follower._thread.join()
    refresh, follower.retriever.refresh = follower.retriever.refresh, lambda: 1 / 0
    follower.look()
    state = client.get("/healthz")
    assert (state.status_code, state.json()["status"]) == (200, "not following")
    assert "ZeroDivisionError" in state.json()["error"]
    assert client.get("/v1/recommend?user=u1").status_code == 200
    assert "thaw_refresh_errors_total 1.0" in client.get("/metrics").text
    follower.retriever.refresh = refresh
    follower.look()
    assert client.get("/healthz").json()["status"] == "ok"


def test_metrics_count_requests_by_known_path(world: World, client: httpx.Client) -> None:
    client.get("/v1/recommend?user=u1")
    client.get("/v1/recommend?user=u1&k=0")
    client.get("/v1/anything")
    world.step(1)
    wait_until(lambda: client.get("/healthz").json()["seq"] == 1)
    text = client.get("/metrics").text
    assert 'thaw_requests_total{path="/v1/recommend",status="200"} 1.0' in text
    assert 'thaw_requests_total{path="/v1/recommend",status="422"} 1.0' in text
    assert 'thaw_requests_total{path="other",status="404"} 1.0' in text
    assert 'thaw_request_seconds_count{path="/v1/recommend"} 2.0' in text
    assert "thaw_index_seq 1.0" in text
    assert "thaw_index_lag 0.0" in text
    assert "thaw_deltas_applied_total 2.0" in text  # the snapshot and one delta
    assert f"thaw_index_items {float(world.groups * world.half)}" in text


def test_it_writes_when_each_delta_was_first_seen_by_a_query(world: World, client: httpx.Client) -> None:
    before = time.time_ns() // 1000
    seq = world.step(1)
    wait_until(lambda: any(line["seq"] == seq for line in lines_of(world)))
    line = lines_of(world)[-1]
    assert (line["generation"], line["seq"], line["probe"]) == ("first", seq, True)
    assert before <= line["applied_at"] <= line["first_query_at"] <= time.time_ns() // 1000


def test_the_log_holds_one_line_per_delta_and_says_who_asked_first(tmp_path) -> None:
    log = ServedLog(served_path(Storage(tmp_path, "toy"), "one"))
    path = served_path(Storage(tmp_path, "toy"), "one")
    log.applied("a", [(1, 10), (2, 11), (3, 12)])
    log.answered("a", 2, 20)
    log.answered("a", 2, 21)
    log.answered("b", 9, 22)
    log.answered("a", 3, 23, probe=True)
    log.applied("a", [(4, 24)])
    log.applied("b", [(1, 25)])  # a switch: delta 4 of the old generation is not waited for
    log.answered("a", 4, 26)
    log.answered("b", 1, 27)
    rows = [tuple(json.loads(line).values()) for line in path.read_text().splitlines()]
    assert rows == [
        ("a", 1, 10, 20, False),
        ("a", 2, 11, 20, False),
        ("a", 3, 12, 23, True),
        ("b", 1, 25, 27, False),
    ]


def test_a_long_log_is_cut_to_whole_latest_lines(tmp_path) -> None:
    path = served_path(Storage(tmp_path, "toy"), "one")
    path.parent.mkdir(parents=True)
    line = json.dumps({"generation": "a", "seq": 1}) + "\n"
    path.write_text(line * (MOST_BYTES // len(line) + 1) + '{"last": 1}\n')
    ServedLog(path)
    kept = path.read_text().splitlines()
    assert MOST_BYTES / 10 < path.stat().st_size < MOST_BYTES / 7
    assert (kept[0], kept[-1]) == (line.strip(), '{"last": 1}')


def test_the_manual_needs_no_file_from_elsewhere(quiet: httpx.Client) -> None:
    page = quiet.get("/docs").text
    for words in (
        "GET /v1/recommend",
        "POST /v1/recommend",
        "new_only",
        "maximum 20",
        "maxItems 3",
        "date-time",
        "openapi.json",
    ):
        assert words in page
    assert "<td></td>" not in page  # everything that can be sent is explained
    assert re.findall(r"""(?:src|href)=["']([^"']*)""", page) == ["openapi.json"]
    assert "/v1/similar" in quiet.get("/openapi.json").json()["paths"]
    assert quiet.get("/redoc").status_code == 404


def test_over_http_queries_updates_and_compactions_at_once(world: World) -> None:
    with client_of(app_of(world)) as http:

        def ask(group: int) -> tuple[list[str], list[float]]:
            answer = http.get("/v1/recommend", params={"user": f"u{group}", "k": world.half})
            assert answer.status_code == 200, answer.text
            results = answer.json()["results"]
            return [result["item_id"] for result in results], [result["score"] for result in results]

        stress = Stress(world, ask, lambda group: world.user(group)[1], refresh=None, pause=0.01)
        outcome = stress.run(3, lambda so_far: so_far.queries > 50 and so_far.oldest > 1)
        assert outcome.problems == []
        assert outcome.queries > 50
        assert outcome.oldest > 1
        wait_until(lambda: http.get("/healthz").json()["seq"] == outcome.deltas)
    written = {line["seq"] for line in lines_of(world)}
    assert max(written) == outcome.deltas


@pytest.mark.browser
def test_the_manual_opens_in_a_browser_without_any_other_host(world: World) -> None:
    with running(app_of(world)) as address, chromium_page(("127.0.0.1",)) as browsing:
        browsing.page.goto(f"{address}/docs")
        assert browsing.page.locator("h2").count() >= 5
        assert (browsing.blocked, browsing.errors) == ([], [])
