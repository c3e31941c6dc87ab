"""Dagster's state: made once, kept as the user left it, safe to open from several processes at once."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dagster._core.scheduler.instigation import InstigatorType, TickStatus
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager

from assets.config import load_settings
from orchestration import home
from orchestration.automation import HEAVY, WEIGHT_TAG
from orchestration.home import open_instance, prepare_home

OPEN = """
import sys
from assets.config import load_settings
from orchestration.home import open_instance
from pathlib import Path
with open_instance(load_settings({}, home=Path(sys.argv[1]))) as instance:
    assert instance.get_runs() == []
"""


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "")  # opening a home sets it; the test puts it back


def test_telemetry_is_off_and_the_warehouse_has_one_place(tmp_path: Path) -> None:
    folder = prepare_home(load_settings({}, home=tmp_path))
    written = yaml.safe_load((folder / "dagster.yaml").read_text())
    assert written["telemetry"] == {"enabled": False}
    assert written["nux"] == {"enabled": False}
    assert written["concurrency"]["pools"] == {"default_limit": 1, "granularity": "op"}


def test_the_template_is_one_that_dagster_takes_and_runs_start_at_once(tmp_path: Path) -> None:
    settings = load_settings({}, home=tmp_path)
    with open_instance(settings) as instance:
        assert instance.run_coordinator.dequeue_interval_seconds == 1
        assert instance.get_tick_retention_settings(InstigatorType.SENSOR)[TickStatus.SKIPPED] == 1


def test_an_edited_file_is_kept(tmp_path: Path) -> None:
    settings = load_settings({}, home=tmp_path)
    edited = "telemetry:\n  enabled: false\n"
    (prepare_home(settings) / "dagster.yaml").write_text(edited)
    assert (prepare_home(settings) / "dagster.yaml").read_text() == edited


def test_a_copy_that_nobody_edited_follows_the_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings({}, home=tmp_path)
    copy = prepare_home(settings) / "dagster.yaml"
    newer = tmp_path / "newer.yaml"
    newer.write_text(copy.read_text() + "# more\n")
    monkeypatch.setattr(home, "TEMPLATE", newer)
    assert (prepare_home(settings) / "dagster.yaml").read_text() == newer.read_text()
    copy.write_text("# mine\n")
    newer.write_text("# newest\n")
    assert (prepare_home(settings) / "dagster.yaml").read_text() == "# mine\n"


def test_a_copy_whose_writer_was_killed_before_the_note_beside_it_follows_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings({}, home=tmp_path)
    folder = prepare_home(settings)
    (folder / home.ORIGIN).unlink()
    left = folder / "dagster.yaml.partial-999999999-0.origin"
    left.touch()
    prepare_home(settings)
    assert (folder / home.ORIGIN).exists()
    assert not left.exists()
    newer = tmp_path / "newer.yaml"
    newer.write_text(home.TEMPLATE.read_text() + "# more\n")
    monkeypatch.setattr(home, "TEMPLATE", newer)
    assert (prepare_home(settings) / "dagster.yaml").read_text() == newer.read_text()


def test_a_home_older_than_the_note_beside_the_copy_follows_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, first = load_settings({}, home=tmp_path), "# the first template\n"
    monkeypatch.setattr(home, "FIRST_TEMPLATE", hashlib.sha256(first.encode()).hexdigest())
    folder = tmp_path / ".dagster" / settings.dataset
    folder.mkdir(parents=True)
    (folder / "dagster.yaml").write_text(first)
    assert (prepare_home(settings) / "dagster.yaml").read_text() == home.TEMPLATE.read_text()


def test_heavy_runs_go_one_at_a_time_and_logs_are_kept(tmp_path: Path) -> None:
    with open_instance(load_settings({}, home=tmp_path)) as instance:
        limits = instance.get_concurrency_config().run_queue_config.tag_concurrency_limits
        assert limits == [{"key": WEIGHT_TAG, "value": HEAVY, "limit": 1}]
        assert isinstance(instance.compute_log_manager, LocalComputeLogManager)
        assert Path(instance.storage_directory()).is_relative_to(tmp_path)


def test_datasets_have_homes_of_their_own(tmp_path: Path) -> None:
    homes = {prepare_home(load_settings({}, home=tmp_path, dataset=name)) for name in ("simulated", "ml-100k")}
    assert len(homes) == 2


def test_processes_may_open_a_fresh_home_at_once(tmp_path: Path) -> None:
    started = [
        subprocess.Popen([sys.executable, "-c", OPEN, str(tmp_path)], stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for process in started:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    with open_instance(load_settings({}, home=tmp_path)) as instance:
        assert instance.get_runs() == []
