"""``thaw embed`` and ``thaw score`` where there is nothing to compute with; what they compute is in assets/serving."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestration import cli


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THAW_HOME", str(tmp_path))
    monkeypatch.setenv("THAW_DATASET", "simulated")
    monkeypatch.setenv("THAW_MODELS", "")  # the command sets it; the test puts it back


@pytest.mark.parametrize("command", ["embed", "score"])
def test_a_model_that_is_none_is_named(command: str) -> None:
    done = CliRunner(env={"COLUMNS": "200"}).invoke(cli.app, [command, "nonsense"])
    assert done.exit_code == 2
    assert "nonsense" in done.output


@pytest.mark.parametrize("command", ["embed", "score"])
def test_missing_tables_end_the_command_with_what_to_do(command: str) -> None:
    done = CliRunner().invoke(cli.app, [command, "sasrec"])
    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit)
    assert "does not exist: materialize" in done.output
