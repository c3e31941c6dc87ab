"""One machine begins, another one, with a fresh home, goes on: same objects, same records of Dagster."""

import io
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.errors import DagsterResourceFunctionError
from rich.console import Console

from assets.config import Settings, load_settings
from assets.objects.store import ObjectsError, ObjectStore
from assets.storage import file_digest
from orchestration.definitions import build_definitions
from orchestration.home import open_instance
from orchestration.pod_storage import STEP_VARIABLE
from orchestration.postgres import DAGSTER_URL, URL
from orchestration.runner import Outcome, run_graph
from orchestration.units import units_of
from tests.extras.needs import needs

needs("dagster_postgres", "fsspec")

from tests.extras.postgres.server import running  # noqa: E402 - after the extra is known to be there

MODELS = ("popularity", "decayed_popularity")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with running() as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv(URL, url)
        patch.setenv("DAGSTER_HOME", "")  # opening a home sets these; they are put back
        patch.setenv(DAGSTER_URL, "")
        yield tmp_path_factory.mktemp("machines")


def machine(root: Path, name: str) -> Settings:
    return load_settings(
        {},
        home=root / name,
        models=MODELS,
        datasets={"simulated": {"users": 100, "items": 80, "days": 30, "engagements": 2000}},
        evaluation={"bootstrap_samples": 20},
        drift={"sample_rows": 500},
        state={"kind": "postgres"},
        objects={"url": f"file://{root}/objects", "wait_seconds": 0},
    )


def run(settings: Settings, selection: str | None = None) -> tuple[Outcome, str]:
    console = Console(file=io.StringIO(), width=300)
    outcome = run_graph(settings, selection, console)
    assert outcome.success, (outcome.failed_steps, outcome.failed_checks)
    return outcome, console.file.getvalue()  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def first(root: Path) -> tuple[Settings, Outcome, str]:
    """A machine that makes the tables and stops there."""
    settings = machine(root, "a")
    return settings, *run(settings, 'key:"transforms/tables" or +key:"transforms/tables"')


def digests(settings: Settings, *folders: Path) -> dict[str, str]:
    base = settings.storage.base
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {path.relative_to(base).as_posix(): file_digest(path) for path in files}


@pytest.fixture(scope="module")
def second(root: Path, first: tuple[Settings, Outcome, str]) -> tuple[Settings, Outcome, str]:
    settings = machine(root, "b")
    return settings, *run(settings)


def test_the_first_sends_what_it_made(first: tuple[Settings, Outcome, str]) -> None:
    settings, _, printed = first
    assert "sent to file://" in printed
    store = ObjectStore(settings.objects.url or "", settings.dataset)
    assert {"ingest", "dbt_models", "transforms__tables"} <= set(store.stages())


def test_the_second_makes_the_rest_alone(
    first: tuple[Settings, Outcome, str], second: tuple[Settings, Outcome, str]
) -> None:
    (before, made, _), (after, outcome, printed) = first, second
    assert "fetched from file://" in printed
    assert {"transforms/tables", "ingestion/interactions", "staging/stg_interactions"} <= outcome.unchanged
    assert not made.materialized & outcome.materialized
    assert "evaluation/leaderboard" in outcome.materialized
    tables = (before.storage.tables, before.storage.raw)
    assert digests(before, *tables) == digests(after, after.storage.tables, after.storage.raw)
    assert digests(before, *tables)


def test_the_first_then_has_nothing_to_do_but_what_stays_on_a_machine(
    first: tuple[Settings, Outcome, str], second: tuple[Settings, Outcome, str]
) -> None:
    settings, (there, _, _) = first[0], second
    outcome, printed = run(settings)
    assert "evaluation/leaderboard" in outcome.unchanged
    assert "training/popularity" in outcome.unchanged
    assert "serving/item_index" in outcome.materialized
    folders = [(held.storage.evaluation, held.storage.base / "checkpoints") for held in (settings, there)]
    assert digests(settings, *folders[0]) == digests(there, *folders[1])
    assert "fetched from" in printed


@pytest.mark.parametrize(
    ("step", "reads_warehouse"), [("evaluation__popularity_ranks", False), ("transforms__tables", True)]
)
def test_a_pod_brings_what_its_step_reads_and_leaves_what_it_made(
    root: Path,
    second: tuple[Settings, Outcome, str],
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    reads_warehouse: bool,
) -> None:
    pod = machine(root, f"pod-of-{step}")
    monkeypatch.setenv(STEP_VARIABLE, step)
    done = execute(pod, step)
    assert done.success
    assert pod.storage.tables.is_dir()
    assert pod.storage.warehouse.exists() is reads_warehouse
    manifest = ObjectStore(pod.objects.url or "", pod.dataset).manifest(step)
    assert manifest is not None
    assert manifest.run_id == done.run_id


def test_a_pod_does_not_start_from_what_an_older_run_sent(
    root: Path, second: tuple[Settings, Outcome, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = machine(root, "late")
    store = ObjectStore(pod.objects.url or "", pod.dataset)
    held = store.manifest("training__popularity")
    assert held is not None
    monkeypatch.setenv(STEP_VARIABLE, "evaluation__popularity_ranks")
    store.publish(type(held)(held.stage, "an-older-run", held.places, held.files, held.account))
    try:
        with pytest.raises(DagsterResourceFunctionError) as failed:
            execute(pod, "evaluation__popularity_ranks")
        assert isinstance(failed.value.__cause__, ObjectsError)
        assert "training__popularity" in str(failed.value.__cause__)
        assert "an-older-run" in str(failed.value.__cause__)
    finally:
        store.publish(held)


def test_every_step_has_a_stage_or_stays_on_its_machine(second: tuple[Settings, Outcome, str]) -> None:
    settings = second[0]
    sent = set(ObjectStore(settings.objects.url or "", settings.dataset).stages())
    assert {unit.name for unit in units_of(build_definitions(settings))} - sent == {"serving__item_index"}


def execute(settings: Settings, step: str) -> dg.ExecuteInProcessResult:
    """One asset of ``refresh_all`` and its checks, as a run that Dagster itself launched."""
    with open_instance(settings) as instance:
        return (
            build_definitions(settings)
            .resolve_job_def("refresh_all")
            .execute_in_process(instance=instance, asset_selection=[dg.AssetKey(step.split("__", 1))])
        )
