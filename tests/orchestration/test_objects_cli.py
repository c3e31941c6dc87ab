"""``thaw push`` and ``thaw pull``, and how a pod waits; the whole way is in ``tests/extras/objects``."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from assets import keys
from assets.config import Settings, load_settings
from assets.objects.store import ObjectsError
from orchestration.cli import app
from orchestration.pod_storage import around, wait_for
from orchestration.stations import STATIONS
from orchestration.unchanged import Unit


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    config = tmp_path / "thaw.yaml"
    config.write_text(f"objects: {{url: 'file://{tmp_path}/objects'}}\n")
    for name, value in {"THAW_HOME": tmp_path, "THAW_CONFIG": config, "DAGSTER_HOME": "", "THAW_DATASET": ""}.items():
        monkeypatch.setenv(name, str(value))
    return tmp_path


def test_a_fresh_home_has_nothing_to_send_or_fetch(home: Path) -> None:
    for command, said in (("push", "nothing to be sent"), ("pull", "nothing to be fetched")):
        done = CliRunner().invoke(app, [command])
        assert (done.exit_code, done.output.strip()) == (0, said)


def test_a_name_that_is_no_stage_is_answered_with_those_there_are(home: Path) -> None:
    done = CliRunner().invoke(app, ["pull", "--replace", "nonsense"])
    assert done.exit_code == 1
    assert "'nonsense' is no stage; there are" in done.output
    assert "transforms__tables" in done.output


def test_without_objects_the_commands_say_what_to_set(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THAW_CONFIG")
    done = CliRunner().invoke(app, ["push"])
    assert done.exit_code == 2
    assert "objects.url is not set" in done.output


def unit(name: str, *parents: str, checks: tuple[str, ...] = ()) -> Unit:
    asset = name.replace("__", "/")
    return Unit(name, (asset,), checks, (), STATIONS.get(asset), parents)


TABLES, TRAIN, RANKS = "__".join(keys.TABLES), "training__popularity", "evaluation__popularity_ranks"
UNITS = [
    unit("ingest"),
    unit("staging__stg_interactions", "ingest"),
    unit(TABLES, "staging__stg_interactions", checks=("transforms/tables:leakage",)),
    unit(TRAIN, TABLES),
    unit(RANKS, TRAIN, TABLES),
]


@pytest.mark.parametrize(
    ("step", "fetched", "waited"),
    [
        (None, {held.name for held in UNITS}, set()),
        (RANKS, {"ingest", TABLES, TRAIN}, {TRAIN, TABLES}),
        (TABLES, {"ingest", "staging__stg_interactions"}, {"staging__stg_interactions"}),
        ("transforms__tables_leakage", {"ingest", TABLES}, {TABLES}),
        ("studies__sweep", {held.name for held in UNITS}, set()),
    ],
)
def test_a_pod_fetches_what_comes_before_its_step_and_waits_for_what_it_follows(
    step: str | None, fetched: set[str], waited: set[str]
) -> None:
    chosen, direct = around(UNITS, step)
    assert {held.name for held in chosen} == fetched
    assert {held.name for held in direct} == waited


class Late:
    """Objects that get a stage of a run after some looks."""

    url = "s3://bucket"

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def manifest(self, stage: str) -> Any:
        self.looks -= 1
        return SimpleNamespace(run_id="new" if self.looks < 0 else "old")


def settings() -> Settings:
    return load_settings({}, objects={"url": "s3://bucket", "wait_seconds": 5})


def test_a_pod_waits_until_its_input_is_that_of_the_latest_run() -> None:
    clock: list[float] = []
    wait_for(Late(3), settings(), UNITS[3:4], {"training/popularity": "new"}, lambda: len(clock), clock.append)  # type: ignore[arg-type]
    assert len(clock) == 3


def test_a_pod_gives_up_after_the_stated_seconds_and_names_both_runs() -> None:
    clock: list[float] = []
    with pytest.raises(ObjectsError, match="of run new is not in s3://bucket, but that of run old, after 5 s"):
        wait_for(Late(99), settings(), UNITS[3:4], {"training/popularity": "new"}, lambda: len(clock), clock.append)  # type: ignore[arg-type]
    assert len(clock) == 5


def test_an_input_that_no_run_made_is_not_waited_for() -> None:
    wait_for(Late(99), settings(), UNITS[3:4], {}, lambda: 0.0, lambda _: pytest.fail("waited"))  # type: ignore[arg-type]
