"""Processes of one training: what the failure of one says, and a training that somebody starts by hand."""

import json
import logging
import multiprocessing
import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import torch
from torch import distributed
from typer.testing import CliRunner

from assets import keys
from assets.config import PROJECT_ROOT, Settings
from assets.storage import Storage, partial_of
from assets.stream import load_tables
from assets.training.assets import ASSETS
from assets.training.checkpoints import load_recommender, tables_version
from assets.training.distributed import launch, worker
from assets.training.distributed.apart import trained_apart, write_job
from assets.training.distributed.job import Job, TogetherError, collect, failure, leave, leave_error
from assets.training.train import Trained, train
from orchestration.cli import app
from tests.models.contract import checkerboard_rows, write_checkerboard

MODEL = "two_tower"


def settings_of(root: Path, **training: Any) -> Settings:
    quick = {"max_epochs": 1, "hyper_parameters": {MODEL: {"dim": 4}}}
    return Settings(home=root, dataset="simulated", training={**quick, **training})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with tables under a registered dataset's name, which commands ask for."""
    root = tmp_path_factory.mktemp("to gether")  # what is to be typed has to be quoted
    written = write_checkerboard(root, checkerboard_rows())
    shutil.move(written.base, Storage(root / "data", "simulated").base)
    return root


# Failures


def fail_together(folder: Path, bodies: list[Callable[[], object]]) -> Job:
    """Run a job in as many processes as there are bodies, each of which stands for the training in one of them."""
    job = Job(MODEL, settings_of(folder, parallel={"processes": len(bodies)}), folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])

    def one(rank: int) -> None:
        names = {"RANK": rank, "WORLD_SIZE": len(bodies), "LOCAL_RANK": rank, "MASTER_ADDR": "127.0.0.1"}
        os.environ |= {name: str(value) for name, value in names.items()} | {"MASTER_PORT": port}
        worker.load_tables = lambda _: None  # type: ignore[assignment]
        worker.train = lambda *_: bodies[rank]()  # type: ignore[assignment]
        try:
            worker.work(job)
        finally:
            os._exit(1)

    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=one, args=(rank,), daemon=True) for rank in range(len(bodies))]
    for process in processes:
        process.start()
    for process in processes:
        process.join(200)
    assert [process.exitcode for process in processes] == [1] * len(bodies)
    return job


def wait_for_all() -> None:
    distributed.all_reduce(torch.zeros(1))


def find_fault() -> None:
    raise ValueError("nothing to train on")


def die() -> None:
    os._exit(1)


def test_the_process_that_failed_first_is_quoted(tmp_path: Path) -> None:
    """Process 0 fails too, because its partner is gone, and says only that."""
    job = fail_together(tmp_path, [wait_for_all, find_fault])
    assert str(failure(job, "it ended")) == (
        f"training {MODEL} in 2 processes: it ended: process 1: ValueError: nothing to train on"
    )


def test_of_a_process_that_was_killed_the_log_tells(tmp_path: Path) -> None:
    job = fail_together(tmp_path, [wait_for_all, die])
    assert "process 0: " in str(failure(job, "it ended"))
    assert "another process ended without a message, killed perhaps" in str(failure(job, "it ended"))


def test_the_earliest_message_counts_not_the_lowest_rank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(MODEL, settings_of(tmp_path), tmp_path)
    assert "no process left a message" in str(failure(job, "it ended"))
    for rank, at in [(0, 30.0), (2, 10.0), (10, 20.0)]:
        monkeypatch.setattr("time.time", lambda at=at: at)
        leave_error(job, rank, ValueError(f"of {rank}"))
    assert str(failure(job, "it ended")).endswith("it ended: process 2: ValueError: of 2")


def test_a_message_that_was_being_written_when_its_process_was_killed_hides_no_other(tmp_path: Path) -> None:
    job = Job(MODEL, settings_of(tmp_path), tmp_path)
    leave_error(job, 0, ValueError("of 0"))
    partial_of(tmp_path / "error-1.json").write_text('{"rank": 1')
    assert str(failure(job, "it ended")).endswith("it ended: process 0: ValueError: of 0")


# By hand


def by_hand(job: Path) -> subprocess.CompletedProcess[str]:
    """What the documentation says to start on every machine, for one machine."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT_ROOT)}
    return subprocess.run(
        [*command, "-m", launch.WORKER, str(job)], env=environment, capture_output=True, text=True, check=False
    )


def materialized(settings: Settings) -> dg.ExecuteInProcessResult:
    (asset,) = [asset for asset in ASSETS if list(asset.key.path) == keys.checkpoint(MODEL)]
    return dg.materialize([asset], resources={"storage": settings.storage, "settings": settings})


def test_what_torchrun_leaves_is_taken_by_the_graph(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_of(root)
    config = root / "thaw.json"
    config.write_text(json.dumps({"training": settings.training.model_dump(mode="json")}))
    for name, value in {
        "THAW_CONFIG": config,
        "THAW_HOME": root,
        "THAW_DATASET": "simulated",
        "THAW_MODELS": "",
    }.items():
        monkeypatch.setenv(name, str(value))
    told = CliRunner().invoke(app, ["together", MODEL])
    assert told.exit_code == 0, told.output
    (line,) = [line for line in told.output.splitlines() if line.startswith("torchrun ")]
    words = shlex.split(line)
    assert words[-3:-1] == ["-m", launch.WORKER]
    assert f"thaw run --select 'key:\"training/{MODEL}\"' && thaw run" in told.output
    with caplog.at_level(logging.WARNING):
        assert trained_apart(MODEL, settings) is None
    assert "nothing was left there yet" in caplog.text
    done = by_hand(Path(words[-1]))
    assert done.returncode == 0, done.stderr

    def refuse(*_: object) -> Trained:
        raise AssertionError("trained again")

    monkeypatch.setattr(launch, "train_as_configured", refuse)
    assert materialized(settings).success
    tables = load_tables(settings.storage)
    load_recommender(settings.storage, MODEL, 0, tables)
    assert sorted(path.name for path in settings.storage.checkpoint(MODEL, 0).parent.iterdir()) == ["seed-0"]


@pytest.fixture
def left(root: Path) -> Job:
    """A job that was done."""
    settings = settings_of(root)
    job = Job.load(json.loads(write_job(MODEL, settings).read_text()))
    leave(job, train(MODEL, load_tables(settings.storage), settings))
    return job


def test_only_what_was_trained_with_these_settings_on_these_tables_is_taken(
    root: Path, left: Job, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    taken, given = trained_apart(MODEL, settings_of(root, parallel={"processes": 2})), collect(left)
    assert taken is not None
    assert (taken.history, taken.bounds, taken.encodings) == (given.history, given.bounds, given.encodings)
    others = settings_of(root, hyper_parameters={MODEL: {"dim": 8}})
    assert trained_apart(MODEL, others) is None
    assert trained_apart(MODEL, settings_of(root, seed=1)) is None
    monkeypatch.setattr("assets.training.distributed.apart.tables_version", lambda _: "others")
    assert trained_apart(MODEL, settings_of(root)) is None
    assert caplog.text.count("is for other settings or tables") == 2
    assert materialized(others).success
    assert left.folder.exists()  # somebody's hours of work, that other settings may ask for


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"model": "sasrec", "settings": {"of_another_version": 1}}'])
def test_a_job_that_cannot_be_read_is_left_alone(
    root: Path, left: Job, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    (left.folder / "job.json").write_text(text)
    assert trained_apart(MODEL, settings_of(root)) is None
    assert "cannot be read" in caplog.text
    assert left.folder.exists()


def test_a_job_is_done_on_its_own_tables_alone(root: Path, left: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    assert left.tables == tables_version(left.settings.storage)
    monkeypatch.setattr(worker, "tables_version", lambda _: "others")
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(TogetherError, match="write it again"):
        worker.work(left)


@pytest.mark.parametrize(
    ("model", "training", "problem"),
    [
        ("popularity", {}, "popularity is no net"),
        ("unheard", {}, "unheard is no net"),
        (MODEL, {"hyper_parameters": {MODEL: {"dmi": 4}}}, "dmi"),
    ],
)
def test_jobs_that_nobody_could_do_are_not_written(
    tmp_path: Path, model: str, training: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        write_job(model, settings_of(tmp_path, **training))
    assert not list(tmp_path.rglob("*.json"))
