"""How many queries are computed and waited for at once; whatever is more is refused at once, with 503.

A service that takes every query in answers all of them late once there are more than it can do: those who ask give up
and ask again. Here ``max_running`` threads compute queries, ``max_waiting`` wait for their turn in the order in which
they came, none longer than ``max_wait_seconds``, and all others hear at once that they should come later. Only queries
go this way: health, metrics and the manual have threads of their own.

Threads take the next query from a queue of their own. Handed out by the event loop, one at a time (anyio's limiter),
they stood still while the loop refused others: 256 clients got 10 answers a second, and 135 this way (two busy cores).
"""

import asyncio
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from assets.config import ServiceConfig

T = TypeVar("T")

RETRY_SECONDS: Final = 1
"""After which a client that was refused may try again: a full queue is worked off in less."""

RETRY_AFTER: Final = {"Retry-After": str(RETRY_SECONDS)}
QUERIES: Final = "/v1/"


class OverloadedError(Exception):
    """There are more queries than the service takes in; ``str()`` says why this one is not answered."""


class Admission:
    """Lets queries through; all but the queries themselves happens in the event loop's thread.

    Args:
        config: its bounds.

    Attributes:
        refused: queries that were turned away so far.
    """

    def __init__(self, config: ServiceConfig) -> None:
        self._config = config
        self._threads = ThreadPoolExecutor(config.max_running, "query")
        self._inside = 0
        self.refused = 0

    @property
    def running(self) -> int:
        """Queries that are computed now."""
        return min(self._inside, self._config.max_running)

    @property
    def waiting(self) -> int:
        """Queries that wait for their turn now."""
        return self._inside - self.running

    @property
    def full(self) -> bool:
        """Whether a query that came now would be refused."""
        return self._inside >= self._config.max_running + self._config.max_waiting

    @property
    def why(self) -> str:
        """What who comes while it is full is told."""
        queue = f"{self._config.max_running} are computed and {self._config.max_waiting} wait"
        return f"too many queries at once, {queue}: ask again in {RETRY_SECONDS} s"

    async def run(self, work: Callable[[], T]) -> T:
        """What ``work`` returns, called in a thread when its turn has come.

        Raises:
            OverloadedError: when nobody more may wait, or when the wait was too long.
        """
        if self.full:
            self.refused += 1
            raise OverloadedError(self.why)
        self._inside += 1
        latest = time.monotonic() + self._config.max_wait_seconds
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._in_time, work, latest)
        except OverloadedError:
            self.refused += 1
            raise
        finally:
            self._inside -= 1

    def close(self) -> None:
        """End the threads once their queries have ended; what waits is dropped."""
        self._threads.shutdown(cancel_futures=True)

    def _in_time(self, work: Callable[[], T], latest: float) -> T:
        if time.monotonic() > latest:
            seconds = self._config.max_wait_seconds
            raise OverloadedError(f"no turn within {seconds:g} s: ask again in {RETRY_SECONDS} s")
        return work()


def refused(error: OverloadedError) -> JSONResponse:
    """The answer to a query that is not taken in."""
    return JSONResponse({"error": str(error)}, 503, RETRY_AFTER)


class AdmittedApp:
    """ASGI middleware: refuses queries while the queue is full, before anything of them is looked at.

    Finding and checking an endpoint's parameters costs several times as much as this refusal, and what a flood takes is
    taken from the queries that are answered. So the words are put together once.
    """

    def __init__(self, app: ASGIApp, admission: Admission) -> None:
        self._app, self._admission = app, admission
        self._body = json.dumps({"error": admission.why}).encode()
        self._headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(self._body)).encode()),
            (b"retry-after", str(RETRY_SECONDS).encode()),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._admission.full and scope["path"].startswith(QUERIES):
            self._admission.refused += 1
            await send({"type": "http.response.start", "status": 503, "headers": self._headers})
            await send({"type": "http.response.body", "body": self._body})
        else:
            await self._app(scope, receive, send)
