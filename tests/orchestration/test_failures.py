"""What the user sees when a run cannot go on, and that nothing downstream is made of it."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from orchestration.cli import app


def run_on_files(folder: Path, lines: list[str], monkeypatch: pytest.MonkeyPatch) -> Result:
    """``thaw run --dataset files`` on an interactions.csv of ``lines``, with counting models only."""
    (folder / "files").mkdir()
    (folder / "files" / "interactions.csv").write_text("\n".join(lines) + "\n")
    monkeypatch.setenv("THAW_HOME", str(folder / "home"))
    monkeypatch.setenv("THAW_DATA_DIR", str(folder))
    for name in ("THAW_DATASET", "THAW_MODELS", "DAGSTER_HOME"):  # the command sets them; the test puts them back
        monkeypatch.setenv(name, "")
    return CliRunner().invoke(app, ["run", "--dataset", "files", "--models", "popularity,decayed_popularity"])


def engagements(days: list[int]) -> list[str]:
    """Ten engagements on each of ``days``, each of another user and item."""
    start = datetime(2024, 1, 1)
    return [
        f"u{index % 7},i{index % 11}-{day},{(start + timedelta(days=day, minutes=index)).isoformat()}Z"
        for day in days
        for index in range(10)
    ]


def test_missing_column_ends_the_run_with_file_and_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run_on_files(tmp_path, ["user_id,when", "u,2024-01-01"], monkeypatch)
    assert result.exit_code == 1
    assert "interactions.csv" in result.output
    assert "item_id" in result.output
    assert not (tmp_path / "home" / "data" / "files" / "raw").exists()


def test_a_failed_blocking_check_stops_what_comes_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nobody engages between day 41 and day 99, so windows of equal duration are empty: no decay could be read off them.
    rows = engagements([*range(42), *range(99, 137)])
    result = run_on_files(tmp_path, ["user_id,item_id,timestamp", *rows], monkeypatch)
    base = tmp_path / "home" / "data" / "files"
    assert result.exit_code == 1, result.output
    assert "check failed" in result.output
    assert "split_bounds" in result.output
    assert (base / "tables" / "manifest.json").exists()
    assert "split_bounds" in (base / "quality" / "index.html").read_text()
    assert not (base / "checkpoints").exists()
    assert not (base / "evaluation").exists()
