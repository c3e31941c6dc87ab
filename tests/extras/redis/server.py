"""A Redis server of one's own, on a unix socket, that syncs every write."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SETTINGS = ("--port", "0", "--appendonly", "yes", "--appendfsync", "always", "--save", "", "--daemonize", "no")


class RedisServer:
    """A server whose data lie in ``folder``.

    Attributes:
        url: for ``THAW_REDIS_URL``.
    """

    def __init__(self, folder: Path, *more: str) -> None:
        self.folder, self._more = folder, more
        self.socket = Path(tempfile.mkdtemp(prefix="thaw-redis-")) / "s"  # a socket's path has at most 107 bytes
        self.url = f"unix://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, with whatever its folder holds."""
        import redis  # noqa: PLC0415 - an extra

        command = ["redis-server", "--unixsocket", str(self.socket), "--dir", str(self.folder), *SETTINGS, *self._more]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        client = redis.Redis.from_url(self.url)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                client.ping()
            except redis.RedisError:
                time.sleep(0.02)
            else:
                client.close()
                return
        raise TimeoutError(f"redis-server did not answer at {self.url}")

    def kill(self) -> None:
        """SIGKILL, as a machine that loses its power does to it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()


@contextmanager
def running(folder: Path, *more: str) -> Iterator[RedisServer]:
    """A server until the block ends."""
    server = RedisServer(folder, *more)
    server.start()
    try:
        yield server
    finally:
        server.kill()
        shutil.rmtree(server.socket.parent)
