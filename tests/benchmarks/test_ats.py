"""The benchmark of action-to-serving latency: it replays for real, and its children end with all that they started."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from assets.config import Settings
from assets.serving.live import ats as latency
from assets.serving.live.generation import require_current
from assets.serving.live.replay import inline
from assets.serving.retrieval.served import served_path
from assets.stream import load_tables
from assets.training.saving import save_checkpoint
from assets.training.train import train
from benchmarks import ats, children
from benchmarks.ats import Replayed, environment_of, held_back, hops, replayed, wall_clock
from benchmarks.children import ChildError, child, free_port
from orchestration.home import QUIET, open_instance
from orchestration.jobs import FRESHEN
from tests.assets.serving.live.conftest import MODEL, make_dataset, tiny_rows, tiny_settings

SERVER = """
import http.server, os, signal, subprocess, sys
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
if sys.argv[2] == "parent":  # a child of its own, which ignores the same
    inner = subprocess.Popen([sys.executable, __file__, "0", "leaf"])
    print(inner.pid, os.environ["COLOUR"], flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


@pytest.fixture
def server(tmp_path: Path) -> str:
    path = tmp_path / "server.py"
    path.write_text(SERVER)
    return str(path)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter where it goes between opening and reading
        return False


def ends(pid: int) -> bool:
    """Whether a process is gone soon: after SIGKILL, a busy machine takes a moment to carry it out."""
    until = time.monotonic() + 30
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.05)
    return not alive(pid)


def test_a_child_answers_and_ends_with_what_it_started_whatever_it_ignores(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "GRACE_SECONDS", 0.2)
    port, log = free_port(), tmp_path / "log"
    with child([server, str(port), "parent"], {"COLOUR": "blue"}, log, f"http://127.0.0.1:{port}/", 120) as process:
        inner, colour = log.read_text().split()[:2]
        assert colour == "blue"
        assert alive(process.pid)
        assert alive(int(inner))
    assert process.poll() == -signal.SIGKILL
    assert ends(int(inner))


def test_a_child_that_ends_is_quoted(tmp_path: Path) -> None:
    ending = ["-c", "print('what a pity'); raise SystemExit(3)"]
    with (
        pytest.raises(ChildError, match=r"ended with status 3:\nwhat a pity"),
        child(ending, {}, tmp_path / "log", "http://127.0.0.1:9/", 120),
    ):
        raise AssertionError("the block must not begin")


def test_a_child_that_does_not_answer_in_time_is_stopped(tmp_path: Path) -> None:
    waiting = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    with (
        pytest.raises(ChildError, match="does not answer"),
        child(["-c", waiting], {}, tmp_path / "log", "http://127.0.0.1:9/", 0.5),
    ):
        raise AssertionError("the block must not begin")
    said = (tmp_path / "log").read_text().split()
    assert not said or ends(int(said[0]))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    home = tmp_path_factory.mktemp("home")
    settings = tiny_settings(home).model_copy(update={"models": (MODEL,)})
    storage = make_dataset(home, tiny_rows())
    save_checkpoint(storage, train(MODEL, load_tables(storage), settings))
    return settings


def test_a_replay_measures_every_engagement_of_its_days(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ats, "QUERY_SECONDS", 0.0)
    days = held_back(settings, 2)
    assert len(days) == 2
    began: list[str] = []

    def serve() -> None:
        """Stands for a service that answers a query ten minutes after the first delta: longer than the replay."""
        assert not list(settings.storage.landing.rglob("*.parquet"))
        began.append(require_current(settings.storage).name)
        line = {"generation": began[-1], "seq": 10_000, "first_query_at": wall_clock() + 600_000_000}
        path = served_path(settings.storage, "made-up")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(line) + "\n")

    for _ in range(2):  # the second replay begins at the cutoff again
        found = replayed(settings, 2, None, inline(settings.storage, settings, wall_clock), serve)
        assert found.days == 2
        assert found.value("searchable", "engagements") == sum(day.rows.num_rows for day in days)
        assert 0 < found.value("searchable", "p50") < found.seconds
        assert found.value("served", "p50") == pytest.approx(600, abs=300)
    assert len(set(began)) == 2


def replayed_in(seconds: float) -> Replayed:
    """A replay of one batch whose hops took ``seconds`` each."""
    batch = {"digest": "d", "partition": "2024-01-01", "kind": "engagements", "engagements": 5}
    batch |= {station: 1e6 * seconds * place for place, station in enumerate(latency.STATIONS)}
    report = latency.report(latency.samples(pd.DataFrame([batch]), {}, from_landing=True))
    return Replayed(report, 1, 9.0)


def test_hops_stand_side_by_side_with_what_dagster_adds() -> None:
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in hops(replayed_in(3), replayed_in(1)).splitlines()
    ]
    found = {row[0]: row[1:] for row in rows[2:]}
    assert list(found) == list(ats.SHOWN.values())
    assert found["landed, until the sensor saw it"] == ["3.000"] * 3 + ["1.000"] * 3 + ["2.000"]
    assert found["landed to searchable"] == ["12.000"] * 3 + ["4.000"] * 3 + ["8.000"]
    assert found["landed to served"] == ["15.000"] * 3 + ["5.000"] * 3 + ["10.000"]


def test_children_use_the_same_home_dataset_and_roster(settings: Settings) -> None:
    environment = {**os.environ, **environment_of(settings)}
    command = "from assets.config import load_settings as l; s = l(); print(s.home, s.dataset, *s.models)"
    done = subprocess.run([sys.executable, "-c", command], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(settings.home), settings.dataset, *settings.models]


def test_what_is_trained_is_not_trained_again(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(ats.subprocess, "run", lambda command, **_: commands.append(command))
    ats.train(settings)
    assert not commands
    ats.train(settings.model_copy(update={"models": (MODEL, "popularity")}))
    assert commands[0][-3:] == ["run", "--dataset", settings.dataset]


def test_runs_are_counted_by_how_they_ended_from_an_instant_on(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DAGSTER_HOME", *QUIET):  # opening a home sets them; the test puts them back
        monkeypatch.setenv(name, "")

    @dg.op
    def nothing() -> None: ...

    @dg.job(name=FRESHEN)
    def freshen() -> None:
        nothing()

    with open_instance(settings) as instance:
        freshen.execute_in_process(instance=instance)
        instant = time.time()
        freshen.execute_in_process(instance=instance)
    assert ats.runs_since(settings, instant) == {"success": 1}
    assert ats.runs_since(settings, instant - 600) == {"success": 2}


def test_progress_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    tell = ats._told()
    for progress in ("a", "a", "b"):
        tell(progress)
    assert capsys.readouterr().err.split() == ["a", "b"]
