"""Bounds on what a client may cost the service before, beside and after its queries.

uvicorn takes any number of connections, waits for the rest of a request for ever and keeps headers of any size. Its
protocol is extended by what a front server usually sees to, so that none is needed on one machine:

- ``max_connections``: beyond it the connection that has been idle the longest is closed for the new one; where none is
  idle, the new one hears 503.
- ``max_header_bytes`` of address, headers and trailers together: 431.
- ``client_seconds`` for a whole request to arrive, from its first byte or from the opening of the connection: 408.
- as long again for a client to take in some of its answer: the connection is dropped.
- ``MOST_PIPELINED`` requests sent ahead of their answers: the connection is closed.

A client that closes its sending half is taken to have left (asyncio closes the connection): it gets no answer.
"""

import asyncio
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from assets.config import ServiceConfig

MOST_PIPELINED: Final = 16
KEEP_ALIVE_SECONDS: Final = 5
GRACE_SECONDS: Final = 10

TOO_MANY: Final = "503 Service Unavailable", "too many connections: ask again in 1 s"
TOO_LARGE: Final = "431 Request Header Fields Too Large", "address and headers are too large"
TOO_SLOW: Final = "408 Request Timeout", "the request did not arrive in time"
INVALID: Final = "400 Bad Request", "this is not a request in HTTP/1.1"


class BoundedProtocol(HttpToolsProtocol):
    """One connection.

    Attributes:
        limits: of all connections of a service.
        idle_since: the loop's time since when nothing whole was asked for; ``None`` while a request is answered.
    """

    limits: ClassVar[ServiceConfig]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.idle_since: float | None = None
        self._arriving: asyncio.TimerHandle | None = None
        self._leaving: asyncio.TimerHandle | None = None
        self._unsent = 0
        self._head = 0  # bytes of address, headers and trailers
        self._unparsed = 0  # bytes since the parser last came to the end of anything
        self._reason = INVALID

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.limits.max_connections and not self._make_room():
            self._refuse(TOO_MANY)
            return
        self._wait_for_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        if self._leaving is not None:
            self._leaving.cancel()
        # uvicorn leaves its keep-alive timer running after an error: the handler and all it holds stay as long.
        self._unset_keepalive_if_required()
        self.pipeline.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unparsed += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._unparsed > self.limits.max_header_bytes:
            self._refuse(TOO_LARGE)
        elif len(self.pipeline) > MOST_PIPELINED:
            self.transport.close()
        elif self.cycle is not None and not (self.cycle.response_complete or self.cycle.more_body):
            self.idle_since = None
            self._stop_waiting()
        else:
            self._wait_for_request()

    def on_message_begin(self) -> None:
        self._head = self._unparsed = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._add(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._add(len(name) + len(value))
        super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unparsed = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        """Called for whatever cannot be parsed, and for what :meth:`_add` refuses; uvicorn's own words are left out."""
        self._refuse(self._reason)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._leaving is None and self.transport.get_write_buffer_size():
            self._watch_answer()
        if not self.pipeline:
            self.idle_since = self.loop.time()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._leaving is None:
            self._watch_answer()

    def _add(self, size: int) -> None:
        self._head, self._unparsed = self._head + size, 0
        if self._head > self.limits.max_header_bytes:
            self._reason = TOO_LARGE
            raise ValueError(TOO_LARGE[1])  # the parser stops, and send_400_response is called

    def _wait_for_request(self) -> None:
        if self._arriving is None:
            now = self.loop.time()
            self.idle_since = now if self.idle_since is None else self.idle_since
            self._arriving = self.loop.call_at(now + self.limits.client_seconds, self._refuse, TOO_SLOW)

    def _stop_waiting(self) -> None:
        if self._arriving is not None:
            self._arriving.cancel()
            self._arriving = None

    def _watch_answer(self) -> None:
        """Look again after a while whether any of the answer has been taken in."""
        self._unsent = self.transport.get_write_buffer_size()
        self._leaving = self.loop.call_later(self.limits.client_seconds, self._look_at_answer)

    def _look_at_answer(self) -> None:
        self._leaving, size = None, self.transport.get_write_buffer_size()
        if size and size >= self._unsent:
            self.transport.abort()
        elif size:
            self._watch_answer()

    def _make_room(self) -> bool:
        idle = [
            (each.idle_since, each)
            for each in self.connections
            if isinstance(each, BoundedProtocol) and each.idle_since is not None and not each.transport.is_closing()
        ]
        if not idle:
            return False
        _, longest = min(idle, key=lambda pair: pair[0])
        longest.transport.abort()
        return True

    def _refuse(self, reason: tuple[str, str]) -> None:
        """Say why and close; without a word where an earlier request is still being answered."""
        status, words = reason
        if self.cycle is None or self.cycle.response_complete:
            body = f'{{"error":"{words}"}}'
            head = "content-type: application/json\r\nretry-after: 1\r\nconnection: close"
            self.transport.write(f"HTTP/1.1 {status}\r\n{head}\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
        self.transport.close()
        if self._leaving is None and self.transport.get_write_buffer_size():
            self._watch_answer()


def server_options(config: ServiceConfig) -> dict[str, Any]:
    """What uvicorn is to run the service with.

    The loop is asyncio's: under 256 clients uvloop took in new connections, health probes among them, only when
    the load ended, 5 to 8 s later. A query's own work outweighs what it saves.
    """
    return {
        "loop": "asyncio",
        "http": type("ServiceProtocol", (BoundedProtocol,), {"limits": config}),
        "ws": "none",
        "log_level": "warning",
        "access_log": False,
        "timeout_keep_alive": KEEP_ALIVE_SECONDS,
        "timeout_graceful_shutdown": GRACE_SECONDS,
    }
