"""Slow, greedy and rude clients of the service: each is bounded, and others are answered meanwhile."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import uvicorn
from fastapi import FastAPI

from assets.serving.retrieval.clients import MOST_PIPELINED, server_options
from assets.storage import Storage
from tests.assets.serving.retrieval.test_service import CONFIG, app_of, wait_until
from tests.assets.serving.retrieval.world import World

SECONDS = 1.0
"""For a request to arrive: longer than a busy machine leaves a thread that is sending one waiting."""
LIMITS = CONFIG.model_copy(update={"client_seconds": SECONDS, "max_connections": 6, "max_header_bytes": 4096})
PATIENT = LIMITS.model_copy(update={"client_seconds": 60.0})
ASK = b"GET /v1/recommend?user=u1&k=2 HTTP/1.1\r\nhost: x\r\n"
POST = b"POST /v1/recommend HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


class Server:
    """A running service."""

    def __init__(self, server: uvicorn.Server, app: FastAPI) -> None:
        self._server, self.app = server, app
        self.place = server.servers[0].sockets[0].getsockname()

    @property
    def protocol(self) -> type:
        return self._server.config.http_protocol_class

    @property
    def protocols(self) -> set:
        return self._server.server_state.connections

    @property
    def connections(self) -> int:
        return len(self.protocols)

    @contextmanager
    def client(self, receive_buffer: int | None = None) -> Iterator[socket.socket]:
        with socket.socket() as one:
            if receive_buffer is not None:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            one.settimeout(60)
            one.connect(self.place)
            yield one

    def answers(self) -> bool:
        with self.client() as one:
            one.sendall(ASK + b"connection: close\r\n\r\n")
            return said(one).startswith(b"HTTP/1.1 200")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    world = World(Storage(tmp_path_factory.mktemp("clients"), "toy"))
    world.promote()
    app = app_of(world)
    running = uvicorn.Server(uvicorn.Config(app, port=0, **server_options(LIMITS)))
    thread = threading.Thread(target=running.run)
    thread.start()
    wait_until(lambda: running.started and app.state.follower.retriever is not None)
    yield Server(running, app)
    running.should_exit = True
    thread.join()
    world.store.close()


@pytest.fixture(autouse=True)
def _none_stays(server: Server) -> Iterator[None]:
    yield
    wait_until(lambda: server.connections == 0)


def said(one: socket.socket) -> bytes:
    """Everything until the other side closes."""
    parts = []
    try:
        while part := one.recv(65_536):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"GET /hea", ASK, POST + b"content-length: 100\r\n\r\n{"])
def test_what_does_not_arrive_in_time_is_given_up(server: Server, sent: bytes) -> None:
    started = time.monotonic()
    with server.client() as one:
        one.sendall(sent)
        assert server.answers()
        assert said(one).startswith(b"HTTP/1.1 408 ") or sent.startswith(POST)
    assert SECONDS - 0.1 < time.monotonic() - started < SECONDS + 20


def test_a_request_in_drops_has_no_more_time_than_another(server: Server) -> None:
    started = time.monotonic()
    with server.client() as one:
        one.sendall(b"GET")
        wait_until(lambda: server.connections == 1)
        while server.connections:
            assert time.monotonic() < started + SECONDS + 20
            with suppress(ConnectionError):
                one.sendall(b"x")
            time.sleep(0.05)


def test_after_an_answer_the_next_request_has_to_arrive_in_time_too(server: Server) -> None:
    with server.client() as one:
        one.sendall(ASK + b"\r\n")
        assert one.recv(65_536).startswith(b"HTTP/1.1 200")
        one.sendall(b"GET /v1")
        assert b" 408 " in said(one)


@pytest.mark.parametrize(
    "sent",
    [
        ASK + b"x: " + b"y" * 5000 + b"\r\n\r\n",
        ASK + b"x: " + b"y" * 500_000,  # a header without an end
        ASK + b"".join(b"x%d: y\r\n" % number for number in range(1000)) + b"\r\n",
        b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\n\r\n",
        POST + b"transfer-encoding: chunked\r\n\r\n0\r\n" + b"x: y\r\n" * 5000 + b"\r\n",
        POST + b"transfer-encoding: chunked\r\n\r\n1;" + b"x" * 100_000,  # an extension of a chunk without an end
    ],
    ids=["header", "endless", "many", "address", "trailers", "extension"],
)
def test_what_is_too_large_is_refused(server: Server, sent: bytes) -> None:
    with server.client() as one:
        try:
            one.sendall(sent)
            answer = said(one)
        except ConnectionError:  # closed while the rest was being sent
            answer = b""
    assert answer.startswith(b"HTTP/1.1 431 ") or (b"200" not in answer[:20] and len(sent) > 20_000)
    assert server.answers()


def test_what_is_no_request_is_refused(server: Server) -> None:
    with server.client() as one:
        one.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")  # TLS
        answer = said(one)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'{"error":' in answer


def test_requests_sent_ahead_are_answered_in_order_up_to_a_bound(server: Server) -> None:
    paths = [b"/v1/recommend?user=u1&k=1", b"/v1/nothing", b"/healthz"] * 4
    with server.client() as one:
        one.sendall(b"".join(b"GET " + path + b" HTTP/1.1\r\nhost: x\r\n\r\n" for path in paths[:-1]))
        one.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        codes = [int(part[:3]) for part in said(one).split(b"HTTP/1.1 ")[1:]]
    assert codes == [200, 404, 200] * 4
    with server.client() as one:
        try:
            one.sendall((ASK + b"\r\n") * 100 * MOST_PIPELINED)
            answers = said(one).count(b"HTTP/1.1 200")
        except ConnectionError:
            answers = 0
    assert answers <= MOST_PIPELINED
    assert server.answers()


def test_who_takes_no_answer_in_is_dropped(server: Server) -> None:
    with server.client(receive_buffer=2048) as one:
        one.settimeout(0.2)
        wait_until(lambda: server.connections == 1)
        started, sent = time.monotonic(), 0
        while server.connections:
            try:
                one.sendall(b"GET /docs HTTP/1.1\r\nhost: x\r\n\r\n")
                sent += 1
            except TimeoutError:
                pass
            except ConnectionError:
                break
            assert time.monotonic() < started + 60, f"still there after {sent} requests"
        assert sent > 10


def test_half_a_connection_is_no_connection(server: Server) -> None:
    with server.client() as one:
        one.sendall(ASK + b"\r\n")
        one.shutdown(socket.SHUT_WR)
        said(one)
        wait_until(lambda: server.connections == 0)
    assert server.answers()


def test_a_new_connection_takes_the_place_of_the_one_idle_the_longest(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.protocol, "limits", PATIENT)
    first, *others = [socket.create_connection(server.place, 60) for _ in range(LIMITS.max_connections)]
    wait_until(lambda: server.connections == LIMITS.max_connections)
    assert server.answers()
    assert said(first) == b""
    for one in others:
        one.sendall(ASK + b"connection: close\r\n\r\n")
        assert said(one).startswith(b"HTTP/1.1 200")
    for one in (first, *others):
        one.close()


def test_where_no_connection_is_idle_a_new_one_hears_503(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.protocol, "limits", PATIENT)  # all have to be there before the first is given up
    held, retriever = threading.Event(), server.app.state.follower.retriever
    recommend = retriever.recommend
    monkeypatch.setattr(retriever, "recommend", lambda *asked: held.wait(60) and recommend(*asked))
    busy = [socket.create_connection(server.place, 60) for _ in range(LIMITS.max_connections)]
    try:
        for one in busy:
            one.sendall(ASK + b"\r\n")
        wait_until(lambda: [each.idle_since for each in server.protocols] == [None] * len(busy))
        with server.client() as one:
            answer = said(one)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1\r\n" in answer
    finally:
        held.set()
        for one in busy:
            one.close()
