"""The real web server on this project: the lineage page shows every group and the index, and nothing breaks."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from assets import keys
from assets.config import PROJECT_ROOT
from tests.browser import chromium_page, chromium_path

pytestmark = pytest.mark.browser

HOST = "127.0.0.1"
START_SECONDS = 90
PAGE_MS = 60_000


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


def environment(home: Path) -> dict[str, str]:
    """State in ``home``, no telemetry, no sign-up window."""
    dagster_home = home / ".dagster"
    dagster_home.mkdir()
    shutil.copy(PROJECT_ROOT / "orchestration" / "dagster.yaml", dagster_home)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("THAW_")}
    return inherited | {"DAGSTER_HOME": str(dagster_home), "THAW_HOME": str(home), "DO_NOT_TRACK": "1"}


def wait_until_up(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/server_info", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    pytest.fail(f"the web server did not come up:\n{log.read_text(errors='replace')[-4000:]}")


@pytest.fixture
def web_server(tmp_path: Path) -> Iterator[str]:
    """Address of a web server on the project's definitions, in a process group of its own."""
    chromium_path()  # without a browser there is nothing to start a server for
    port, log = free_port(), tmp_path / "server.log"
    command = [sys.executable, "-m", "dagster_webserver", "-m", "orchestration.definitions"]
    with log.open("wb") as output:
        server = subprocess.Popen(
            [*command, "-h", HOST, "-p", str(port)],
            cwd=PROJECT_ROOT,
            env=environment(tmp_path),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until_up(f"http://{HOST}:{port}", server, log)
        yield f"http://{HOST}:{port}"
    finally:
        stop(server)


def stop(server: subprocess.Popen[bytes]) -> None:
    """End the server and the code server it started."""
    for chosen in (signal.SIGINT, signal.SIGKILL):
        try:
            os.killpg(server.pid, chosen)
        except ProcessLookupError:
            break
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            continue


def test_the_lineage_page_shows_the_graph(web_server: str, tmp_path: Path) -> None:
    with chromium_page(hosts=(HOST,)) as browsing:
        page = browsing.page
        page.set_default_timeout(PAGE_MS)
        page.goto(f"{web_server}/asset-groups")
        graph = page.locator("svg")
        for group in keys.STAGES:
            graph.get_by_text(group, exact=True).first.wait_for()
        graph.get_by_text(keys.SERVING, exact=True).first.click()  # opens the group
        graph.get_by_text(keys.ITEM_INDEX[-1], exact=True).first.wait_for()
        page.screenshot(path=tmp_path / "lineage.png")
        assert browsing.errors == []
        assert browsing.blocked == []
