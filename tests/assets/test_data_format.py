"""The data root's format: stamped by the first write, brought up to date, or refused before anything is touched."""

import json
import multiprocessing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from assets.config import data_format as module
from assets.config import load_settings
from assets.config.data_format import FORMAT, STAMP, DataFormatError, claim, require_format
from assets.ingestion.ingest import ingest
from assets.storage import Storage, write_json
from orchestration.cli import app
from orchestration.definitions import build_definitions

SMALL = {"users": 30, "items": 20, "days": 10, "engagements": 200}


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path / "data", "simulated")


def files(storage: Storage) -> dict[str, bytes]:
    found = [path for path in storage.base.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {str(path.relative_to(storage.base)): path.read_bytes() for path in found}


def stamp(storage: Storage) -> int:
    held: int = json.loads((storage.base / STAMP).read_text())["format"]
    return held


def old_root(storage: Storage) -> None:
    """As versions before the stamp left it."""
    write_json(storage.raw / "ingestion.json", {"data_version": "d"})
    write_json(storage.tables / "manifest.json", {"version": "t", "tables": {}, "data_version": "d", "vars": {}})
    write_json(storage.live / "current.json", {"generation": "g", "previous": None})


def test_where_nothing_is_nothing_is_written(storage: Storage) -> None:
    assert require_format(storage) is None
    assert not storage.base.exists()
    storage.base.mkdir(parents=True)
    (storage.base / ".hidden").write_text("")
    (storage.base / "raw.partial-1-2.parquet").write_text("")
    assert require_format(storage) is None
    assert not (storage.base / STAMP).exists()


def test_the_first_write_stamps(storage: Storage, tmp_path: Path) -> None:
    settings = load_settings({}, home=tmp_path, datasets={"simulated": SMALL})
    ingest(settings, storage, datetime(2026, 1, 1, tzinfo=UTC))
    assert stamp(storage) == FORMAT
    assert require_format(storage) == FORMAT


def test_a_root_of_before_the_stamp_is_recognised_and_kept(storage: Storage) -> None:
    old_root(storage)
    before = files(storage)
    assert require_format(storage) == 0
    assert files(storage) == before | {STAMP: (storage.base / STAMP).read_bytes()}
    assert stamp(storage) == FORMAT


def test_the_old_index_goes_and_what_else_lies_there_stays(storage: Storage) -> None:
    old_root(storage)
    (storage.base / "index").mkdir()
    (storage.base / "index" / "item_index.safetensors").write_bytes(b"old")
    (storage.base / "index" / "notes.txt").write_text("mine")
    require_format(storage)
    assert [path.name for path in (storage.base / "index").iterdir()] == ["notes.txt"]
    (storage.base / STAMP).unlink()
    (storage.base / "index" / "notes.txt").unlink()
    require_format(storage)
    assert not (storage.base / "index").exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("report.doc", "{}", "report.doc is not of Thaw"),
        ("raw/ingestion.json", "{}", "ingestion.json does not name its data_version"),
        ("tables/manifest.json", '{"version": 1}', "manifest.json does not name its tables"),
        ("live/current.json", '{"name": 1}', "current.json does not name its generation"),
    ],
)
def test_what_no_version_wrote_is_refused_and_left_alone(storage: Storage, name: str, content: str, words: str) -> None:
    path = storage.base / name
    path.parent.mkdir(parents=True)
    path.write_text(content)
    before = files(storage)
    with pytest.raises(DataFormatError, match=words):
        claim(storage)
    assert files(storage) == before


def test_a_damaged_manifest_is_its_readers_business(storage: Storage) -> None:
    storage.tables.mkdir(parents=True)
    (storage.tables / "manifest.json").write_text("{")
    assert require_format(storage) == 0


def test_a_newer_root_is_refused_by_every_entry_point(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_root(storage)
    write_json(storage.base / STAMP, {"format": FORMAT + 1})
    before = files(storage)
    settings = load_settings({}, home=tmp_path, datasets={"simulated": SMALL})
    with pytest.raises(DataFormatError, match="a newer version wrote"):
        build_definitions(settings)
    with pytest.raises(DataFormatError, match="a newer version wrote"):
        ingest(settings, storage, datetime(2026, 1, 1, tzinfo=UTC))
    for name, value in {"THAW_HOME": str(tmp_path), "THAW_DATASET": "", "THAW_MODELS": "", "THAW_CONFIG": ""}.items():
        monkeypatch.setenv(name, value)
    for command in (["run"], ["serve"], ["replay"], ["recommend", "--user", "u"], ["verify", "--model", "sasrec"]):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 1, command
        assert f"has format {FORMAT + 1} and this version of Thaw reads format {FORMAT}" in result.output
    assert files(storage) == before
    assert not (tmp_path / ".dagster").exists()


@pytest.mark.parametrize("content", ["", "[]", '{"format": "1"}', '{"format": true}', '{"format": 0}', "[" * 100_000])
def test_a_damaged_stamp_is_told(storage: Storage, content: str) -> None:
    old_root(storage)
    (storage.base / STAMP).write_text(content)
    with pytest.raises(DataFormatError, match=f"{STAMP} is damaged"):
        require_format(storage)


def test_migrations_go_step_by_step_and_a_killed_one_goes_on(storage: Storage) -> None:
    write_json(storage.base / STAMP, {"format": 2})
    done: list[int] = []

    def killed(_: Storage) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        require_format(storage, 5, {2: lambda _: done.append(2), 3: lambda _: done.append(3), 4: killed})
    assert stamp(storage) == 4
    assert require_format(storage, 5, {4: lambda _: done.append(4)}) == 4
    assert done == [2, 3, 4]
    assert stamp(storage) == 5


def test_a_format_that_nothing_leads_from_is_refused_before_the_first_step(storage: Storage) -> None:
    write_json(storage.base / STAMP, {"format": 2})
    done: list[int] = []
    with pytest.raises(DataFormatError, match="nothing leads from format 3 to format 4"):
        require_format(storage, 4, {2: lambda _: done.append(2)})
    assert done == []
    assert stamp(storage) == 2


def test_what_cannot_be_written_is_read_where_only_the_stamp_is_missing(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(module, "locked", read_only)
    old_root(storage)
    assert require_format(storage) == 0
    (storage.base / "index").mkdir()
    with pytest.raises(DataFormatError, match="make it writable"):
        require_format(storage)


def _migrate_once(storage: Storage) -> None:
    def step(_: Storage) -> None:
        with (storage.base / "steps.lock").open("a") as log:
            log.write("x")

    require_format(storage, 2, {1: step})


def test_two_processes_migrate_once(storage: Storage) -> None:
    write_json(storage.base / STAMP, {"format": 1})
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_migrate_once, args=(storage,)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert (storage.base / "steps.lock").read_text() == "x"


def test_the_migrations_lead_from_no_stamp_to_today() -> None:
    assert sorted(module.MIGRATIONS) == list(range(FORMAT))
