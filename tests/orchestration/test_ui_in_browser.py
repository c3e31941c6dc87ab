"""`thaw ui` in a real browser: lineage, a plot, switches, a launch that succeeds; and nothing of it is left behind."""

import base64
import io
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import matplotlib.pyplot as plt
import pytest

from assets import keys
from assets.config import PROJECT_ROOT, load_settings
from orchestration.home import open_instance
from tests.browser import Browsing, chromium_page, chromium_path

pytestmark = pytest.mark.browser

HOST = "127.0.0.1"
START_SECONDS = 200
PAGE_MS = 60_000


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


def environment(home: Path) -> dict[str, str]:
    """State in ``home``, a small dataset, nobody told, no telemetry."""
    config = home / "thaw.yaml"
    config.write_text("datasets: {simulated: {users: 100, items: 60, days: 30, engagements: 1500}}\n")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("THAW_", "DAGSTER_"))}
    return inherited | {"THAW_HOME": str(home), "THAW_CONFIG": str(config), "DO_NOT_TRACK": "1"}


def wait_until_up(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/server_info", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    pytest.fail(f"the web server did not come up:\n{log.read_text(errors='replace')[-4000:]}")


def trained(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training, as far as the UI knows: its loss curve is on record."""
    monkeypatch.setenv("DAGSTER_HOME", "")  # opening a home sets it; put back at the end
    image = io.BytesIO()
    figure, axes = plt.subplots(figsize=(4, 3))
    axes.plot([3.0, 2.0, 1.5])
    figure.savefig(image, format="png")
    plt.close(figure)
    curve = f"![loss curve](data:image/png;base64,{base64.b64encode(image.getvalue()).decode()})"
    with open_instance(load_settings({}, home=home)) as instance:
        event = dg.AssetMaterialization(keys.checkpoint("sasrec"), metadata={"loss": dg.MetadataValue.md(curve)})
        instance.report_runless_asset_event(event)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of `thaw ui`: web server, daemon, schedules and sensors, ended as a user would."""
    chromium_path()  # without a browser there is nothing to start a server for
    home, port = tmp_path_factory.mktemp("home"), free_port()
    log = home / "server.log"
    with pytest.MonkeyPatch.context() as monkeypatch:
        trained(home, monkeypatch)
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "orchestration.cli", "ui", "--port", str(port)],
            cwd=PROJECT_ROOT,
            env=environment(home),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until_up(f"http://{HOST}:{port}", server, log)
        yield f"http://{HOST}:{port}"
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0
        assert not orphans(home), "processes of the UI are left"


def orphans(home: Path) -> list[str]:
    """Command lines of processes whose state lies in ``home``."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(home).encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def screenshot(browsing: Browsing, name: str, tmp_path: Path) -> None:
    folder = Path(os.environ.get("THAW_ARTIFACTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    browsing.page.screenshot(path=folder / f"{name}.png")


@pytest.fixture
def browsing() -> Iterator[Browsing]:
    with chromium_page(hosts=(HOST,)) as held:
        held.page.set_default_timeout(PAGE_MS)
        yield held


def test_the_lineage_page_shows_every_group(address: str, browsing: Browsing, tmp_path: Path) -> None:
    page = browsing.page
    page.goto(f"{address}/asset-groups")
    graph = page.locator("svg")
    for group in keys.STAGES:
        graph.get_by_text(group, exact=True).first.wait_for()
    graph.get_by_text(keys.SERVING, exact=True).first.click()  # opens the group
    graph.get_by_text(keys.ITEM_INDEX[-1], exact=True).first.wait_for()
    screenshot(browsing, "lineage", tmp_path)
    assert browsing.errors == []
    assert browsing.blocked == []


def test_an_assets_page_shows_its_plot(address: str, browsing: Browsing, tmp_path: Path) -> None:
    page = browsing.page
    page.goto(f"{address}/assets/training/sasrec?view=overview")
    page.get_by_text("Show Markdown").or_(page.get_by_text("Show markdown")).first.click()
    image = page.get_by_alt_text("loss curve")
    image.wait_for()
    assert image.evaluate("image => image.naturalWidth") > 100
    screenshot(browsing, "asset-plot", tmp_path)
    assert browsing.blocked == []


STATES = """{
  repositoriesOrError { ... on RepositoryConnection { nodes {
    sensors { name sensorState { status } } schedules { name scheduleState { status } } } } } }"""


def test_schedules_and_sensors_stand_as_stated(address: str, browsing: Browsing, tmp_path: Path) -> None:
    answer = browsing.page.request.post(f"{address}/graphql", data={"query": STATES}).json()
    (found,) = answer["data"]["repositoriesOrError"]["nodes"]
    states = {each["name"]: each["sensorState"]["status"] for each in found["sensors"]}
    states |= {each["name"]: each["scheduleState"]["status"] for each in found["schedules"]}
    on = {"landing", "automation", "decay", "run_failures", "daily_quantizer", "weekly_drift"}
    assert states == dict.fromkeys(on, "RUNNING") | dict.fromkeys(("daily_refresh", "monthly_retrain"), "STOPPED")
    browsing.page.goto(f"{address}/automation")
    for name in states:
        browsing.page.get_by_text(name, exact=True).first.wait_for()
    screenshot(browsing, "automation", tmp_path)
    assert browsing.blocked == []


def test_a_materialization_launched_in_the_ui_succeeds(address: str, browsing: Browsing, tmp_path: Path) -> None:
    page = browsing.page
    page.goto(f"{address}/assets/ingestion/users")
    page.get_by_role("button", name="Materialize").first.click()
    page.get_by_role("button", name="Confirm").click()  # one op reads the three raw tables
    page.get_by_text("Launched run").or_(page.get_by_text("View run")).first.wait_for()
    page.goto(f"{address}/runs")
    page.get_by_text("Success", exact=True).first.wait_for()
    screenshot(browsing, "runs", tmp_path)
    assert browsing.blocked == []
