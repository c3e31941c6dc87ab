from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from orchestration.cli import app

SMALL = ["--engagements", "3000", "--days", "40", "--seed", "3"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("THAW_HOME", str(tmp_path / "home"))
    for name in ("THAW_DATASET", "THAW_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("THAW_DATASET", "simulated")
    return tmp_path


def test_a_folder_is_made_and_described(home: Path) -> None:
    made = home / "tiny"
    done = CliRunner().invoke(app, ["simulate", str(made), *SMALL, "--set", "zipf_exponent=1.2"])
    assert done.exit_code == 0, done.output
    assert "60 items, 300 users" in done.output
    assert pq.read_table(made / "users.parquet").num_rows == 300
    pages = home / "pages"
    done = CliRunner().invoke(app, ["statistics", "--folder", str(made), "--to", str(pages)])
    assert done.exit_code == 0, done.output
    text = (pages / "statistics.md").read_text()
    assert "# What engagement logs are like: tiny" in text
    assert "zipf_exponent 1.2" in text
    assert (pages / "statistics.png").exists()


def test_a_dataset_is_ingested_where_it_is_not_yet(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = home / "thaw.yaml"
    config.write_text("datasets: {simulated: {users: 100, items: 60, days: 40, engagements: 1500}}\n")
    monkeypatch.setenv("THAW_CONFIG", str(config))
    done = CliRunner().invoke(app, ["statistics", "--to", str(home / "pages")])
    assert done.exit_code == 0, done.output
    report = home / "home" / "data" / "simulated" / "raw" / "ingestion.json"
    made = report.stat().st_mtime_ns
    assert "engagements 1500" in (home / "pages" / "statistics.md").read_text()
    assert CliRunner().invoke(app, ["statistics", "--to", str(home / "pages")]).exit_code == 0
    assert report.stat().st_mtime_ns == made


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "dirft=1"], "dirft"),
        (["--set", "drift"], "NAME=VALUE"),
        (["--set", "users=5"], "--users"),
        (["--set", "max_quarantine_share=0.1"], "for ingestion"),
        (["--set", "catalog_share=2"], "catalog_share"),
        (["--set", "start=2990-01-01"], "in the future"),
    ],
)
def test_what_cannot_be_simulated_is_said_before_anything_is_made(home: Path, arguments: list[str], words: str) -> None:
    done = CliRunner().invoke(app, ["simulate", str(home / "out"), *SMALL, *arguments])
    assert done.exit_code == 2
    assert words in done.output
    assert not (home / "out").exists()


def test_a_folder_that_is_none_of_ours_is_refused(home: Path) -> None:
    done = CliRunner().invoke(app, ["statistics", "--folder", str(home)])
    assert done.exit_code == 2
    assert "thaw simulate" in done.output
