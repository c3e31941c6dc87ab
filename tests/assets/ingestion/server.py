"""A small HTTP server on 127.0.0.1 for download tests: ranges, errors, broken connections, all on request."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What is served, and what was asked.

    Args:
        files: path to content.
        honours_ranges: whether a Range header gets a partial answer.
        break_after: bytes after which the connection breaks, per request in turn; absent means never.
        fail_first: how many requests are answered with status 503 first.
        asked: (path, Range header) of every request.
        named: headers that name the version of what is served, e.g. an ETag.
        honours_conditions: whether an If-Range header of another version gets the whole file.
    """

    files: dict[str, bytes]
    honours_ranges: bool = True
    break_after: list[int] = field(default_factory=list)
    fail_first: int = 0
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    address: str = ""
    named: dict[str, str] = field(default_factory=dict)
    honours_conditions: bool = True


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _answer(self, site)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Keep the test's output quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        site.address = f"http://127.0.0.1:{server.server_address[1]}"
        yield site
        server.shutdown()
        thread.join()


def _answer(handler: BaseHTTPRequestHandler, site: Site) -> None:
    wanted = handler.headers.get("Range")
    site.asked.append((handler.path, wanted))
    if site.fail_first > 0:
        site.fail_first -= 1
        return handler.send_error(503)
    if handler.path not in site.files:
        return handler.send_error(404)
    body, start = site.files[handler.path], 0
    condition = handler.headers.get("If-Range")
    is_same = condition is None or not site.honours_conditions or condition in site.named.values()
    if wanted and site.honours_ranges and is_same:
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(body):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(body)}")
            handler.send_header("Content-Length", "0")
            return handler.end_headers()
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
    else:
        handler.send_response(200)
    for name, value in site.named.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body) - start))
    handler.end_headers()
    if site.break_after:
        handler.wfile.write(body[start : start + site.break_after.pop(0)])
        handler.close_connection = True
        return None
    handler.wfile.write(body[start:])
    return None
