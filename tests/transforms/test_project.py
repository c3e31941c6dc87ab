"""The prepared manifest: parsed when the project changed, once however many ask, never half-written."""

import os
import threading
import time
from pathlib import Path

import pytest

from assets.storage import Storage
from assets.transforms import project
from assets.transforms.project import DbtParseError, dbt_environment, environment, prepare_manifest, project_digest


class Parses:
    """Counts parses and writes a manifest that says which it was."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, project_dir: Path, manifest: Path) -> None:
        self.count += 1
        time.sleep(0.05)
        manifest.write_text(str(self.count))


@pytest.fixture
def parses(monkeypatch: pytest.MonkeyPatch) -> Parses:
    fake = Parses()
    monkeypatch.setattr(project, "_parse", fake)
    return fake


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "one.sql").write_text("select 1 as one")
    (tmp_path / "dbt_project.yml").write_text("name: one")
    return tmp_path


def test_parses_once_and_again_after_a_change(folder: Path, parses: Parses) -> None:
    assert prepare_manifest(folder).read_text() == "1"
    assert prepare_manifest(folder).read_text() == "1"
    (folder / "models" / "one.sql").write_text("select 2 as one")
    assert prepare_manifest(folder).read_text() == "2"
    (folder / "models" / "one.sql").unlink()
    assert prepare_manifest(folder).read_text() == "3"
    assert prepare_manifest(folder, force=True).read_text() == "4"


def test_what_dbt_writes_is_no_change(folder: Path) -> None:
    before = project_digest(folder)
    for name in ("target", "logs"):
        (folder / name / "compiled").mkdir(parents=True)
        (folder / name / "compiled" / "one.sql").write_text("select 1")
    assert project_digest(folder) == before


def test_a_missing_manifest_is_made_again(folder: Path, parses: Parses) -> None:
    prepare_manifest(folder).unlink()
    assert prepare_manifest(folder).exists()
    assert parses.count == 2


def test_several_at_once_parse_once(folder: Path, parses: Parses) -> None:
    threads = [threading.Thread(target=prepare_manifest, args=(folder,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert parses.count == 1


def test_a_project_that_does_not_parse_says_why_and_leaves_the_old_manifest(folder: Path) -> None:
    target = folder / "target"
    target.mkdir()
    (target / "manifest.json").write_text("old")
    with pytest.raises(DbtParseError, match="profile"):
        prepare_manifest(folder)
    assert [path.name for path in sorted(target.iterdir())] == ["manifest.json", "manifest.lock"]
    assert (target / "manifest.json").read_text() == "old"


def test_environment_names_one_dataset_and_is_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THAW_WAREHOUSE", "before")
    monkeypatch.delenv("THAW_RAW_DIR", raising=False)
    with environment(dbt_environment(Storage(tmp_path, "toy"))):
        assert os.environ["THAW_WAREHOUSE"] == str(tmp_path / "toy" / "warehouse.duckdb")
        assert os.environ["THAW_RAW_DIR"] == str(tmp_path / "toy" / "raw")
    assert os.environ["THAW_WAREHOUSE"] == "before"
    assert "THAW_RAW_DIR" not in os.environ
