"""Options that replace a setting keep to its bounds."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from assets.config import load_settings
from orchestration import cli, report_cli, study_cli
from orchestration.options import with_seeds


def test_seeds_replace_the_settings_and_nothing_else() -> None:
    settings = load_settings({}, training={"seed": 3, "hyper_parameters": {"sasrec": {"dim": 8}}})
    assert with_seeds(settings, None) == settings
    asked = with_seeds(settings, 2).training
    assert asked == settings.training.model_copy(update={"seeds": 2})


def test_seeds_that_there_are_not_are_refused() -> None:
    settings = load_settings({}, training={"seed": 2**32 - 2})
    assert with_seeds(settings, 2).training.seeds == 2
    with pytest.raises(typer.BadParameter, match="seeds end at 4294967295"):
        with_seeds(settings, 3)


@pytest.mark.parametrize("command", ["report", "studies"])
def test_the_commands_name_the_option(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "thaw.yaml"
    config.write_text("training: {seed: 4294967295}")
    monkeypatch.setenv("THAW_CONFIG", str(config))
    monkeypatch.setenv("THAW_HOME", str(tmp_path))
    monkeypatch.setenv("THAW_DATASET", "simulated")
    for module in (report_cli, study_cli):
        monkeypatch.setattr(module, "prepare_home", lambda _: pytest.fail("begun"))
    done = CliRunner(env={"COLUMNS": "200"}).invoke(cli.app, [command, "--seeds", "3"])
    assert done.exit_code == 2
    assert "Invalid value for --seeds" in done.output
    assert "seeds end at 4294967295" in done.output
