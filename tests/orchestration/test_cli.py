"""The command line's errors come before any work and say what to do."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestration.cli import app


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    for name in ("THAW_DATASET", "THAW_MODELS", "THAW_CONFIG"):
        monkeypatch.setenv(name, "")
    return CliRunner(env={"COLUMNS": "200"})


def test_lists_datasets_and_models(runner: CliRunner) -> None:
    listed = runner.invoke(app, ["datasets"]).output
    assert all(name in listed for name in ("simulated", "ml-100k", "movietweetings-100k", "files"))
    assert "decayed_popularity" in runner.invoke(app, ["models"]).output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--dataset", "ml-101k"], ["ml-101k", "ml-100k"]),
        (["run", "--models", "sasrek"], ["sasrek", "sasrec"]),
    ],
)
def test_unknown_names_are_refused_with_the_known_ones(
    runner: CliRunner, arguments: list[str], words: list[str]
) -> None:
    result = runner.invoke(app, arguments)
    assert result.exit_code == 2
    assert all(word in result.output for word in words)


def test_bad_configuration_names_the_key(runner: CliRunner, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "thaw.yaml"
    config.write_text("split:\n  windoes: 3\n")
    monkeypatch.setenv("THAW_CONFIG", str(config))
    result = runner.invoke(app, ["run"])
    assert result.exit_code == 2
    assert "split.windoes" in result.output


def test_lists_own_folders_with_a_mapping(runner: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mapping = "licence: ours alone\ninteractions: {files: a.csv, user: u, item: i, timestamp: t}\n"
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "mapping.yaml").write_text(mapping)
    monkeypatch.setenv("THAW_DATA_DIR", str(tmp_path))
    (line,) = [line for line in runner.invoke(app, ["datasets"]).output.splitlines() if line.startswith("shop")]
    assert "ours alone" in line
