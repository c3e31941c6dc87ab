"""``thaw studies`` on a small dataset: what it runs, where, and the page of what is there."""

import io
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

from assets import keys
from assets.config import Settings, TrainingConfig
from assets.evaluation.studies import assets as study_assets
from assets.evaluation.studies.files import text_path, write_study
from assets.evaluation.studies.homes import settings_for
from assets.evaluation.studies.registry import STUDIES, Partitions, Step, Study, find
from assets.storage import write_text
from orchestration import cli, studies, study_cli
from orchestration.runner import Outcome
from orchestration.studies import chosen, make, write_page
from tests.assets.evaluation.toy import toy_settings
from tests.orchestration.homes import write_home
from tests.support import write_manifest

QUIET = Console(file=io.StringIO())
TABLE = pd.DataFrame({"value": [1.0]})
DONE = Outcome("run", True, frozenset(), {}, [])
FAILED = Outcome("run", False, frozenset(), {"studies__x": "RuntimeError: the disk is full"}, [])
WEEKLY = Study(
    "weekly",
    "By week",
    (Step(["studies", "frames"]), Step(["studies", "each"], Partitions("frames", lambda *_: ["w0", "w1", "w2"]))),
    {"kind": "fraction", "frame": "week"},
)
Call = tuple[Path, str, tuple[str, ...]]


def home_with_tables(home: Path) -> Settings:
    """A home with raw and exported tables, as if the graph had made them."""
    tiny = {"dim": 4, "users.history_length": 5}
    training = TrainingConfig(max_epochs=1, hyper_parameters={"gru": tiny, "hrnn": tiny, "hgru": tiny})
    settings = toy_settings(home).model_copy(update={"dataset": "simulated", "training": training})
    write_home(settings)
    return settings


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return home_with_tables(tmp_path_factory.mktemp("home"))


@pytest.fixture
def settings(original: Settings, tmp_path: Path) -> Settings:
    """A copy of one's own."""
    shutil.copytree(original.home / "data", tmp_path / "data")
    return original.model_copy(update={"home": tmp_path})


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """(home, selection, partitions) of every run, none of which is done."""
    found: list[Call] = []

    def instead(settings: Settings, selection: str, console: Console, partitions: Sequence[str] = ()) -> Outcome:
        del console
        found.append((settings.home, selection, tuple(partitions)))
        return DONE

    monkeypatch.setattr(studies, "run_graph", instead)
    return found


def test_a_study_is_made_by_its_asset_on_the_tables_that_are_there(settings: Settings) -> None:
    outcome = make(find("sessions"), settings, QUIET)
    assert outcome.success, outcome.failed_steps
    assert outcome.materialized == {"studies/sessions"}
    table = pd.read_parquet(settings.storage.studies / "sessions.parquet")
    assert table["variant"].tolist() == [f"{model}, {size}" for size in (50, 200) for model in ("gru", "hrnn", "hgru")]
    assert "| 200 " in text_path(settings.storage, "sessions").read_text(encoding="utf-8")


def test_missing_tables_are_made_first(settings: Settings, calls: list[Call]) -> None:
    (settings.storage.tables / "manifest.json").unlink()
    make(find("sessions"), settings, QUIET)
    assert calls == [
        (settings.home, '+key:"transforms/tables"', ()),
        (settings.home, 'key:"studies/sessions"', ()),
    ]


def test_another_split_is_made_in_a_home_of_its_own_over_the_same_raw_tables(
    settings: Settings, calls: list[Call]
) -> None:
    own = settings_for(WEEKLY, settings)
    assert make(WEEKLY, settings, QUIET).success
    assert calls == [
        (own.home, '+key:"transforms/tables" and not group:ingestion', ()),
        (own.home, 'key:"studies/frames"', ()),
        (own.home, 'key:"studies/each"', ("w0", "w1", "w2")),
    ]
    assert own.storage.raw_table("items").samefile(settings.storage.raw_table("items"))


def test_without_raw_tables_the_datasets_own_are_made_first(settings: Settings, calls: list[Call]) -> None:
    (settings.storage.raw_table("items")).unlink()
    with pytest.raises(FileNotFoundError):  # the run that would have made them is none here
        make(WEEKLY, settings, QUIET)
    assert calls == [(settings.home, '+key:"transforms/tables"', ())]


def test_a_step_that_fails_is_the_last(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fails(settings: Settings, selection: str, *rest: Any) -> Outcome:
        del settings, rest
        asked.append(selection)
        return FAILED if "frames" in selection else DONE

    monkeypatch.setattr(studies, "run_graph", fails)
    assert make(WEEKLY, settings, QUIET) is FAILED
    assert asked[-1] == 'key:"studies/frames"'


def test_studies_are_chosen_by_name_in_the_registrys_order() -> None:
    names = [study.name for study in STUDIES]
    assert [study.name for study in chosen(None)] == names
    assert [study.name for study in chosen("sessions, feature_groups")] == ["feature_groups", "sessions"]
    for wrong in ("sessions,sesions", ","):
        with pytest.raises(ValueError, match=r"--only names .*; known: feature_groups, sessions"):
            chosen(wrong)


def test_every_study_is_registered_with_its_assets() -> None:
    assert len({study.name for study in STUDIES}) == len(STUDIES)
    registered = [step.key for study in STUDIES for step in study.steps]
    made = [list(asset.key.path) for asset in study_assets.ASSETS]
    assert sorted(registered) == sorted(made)
    assert keys.SESSIONS in registered
    partitioned = {tuple(step.key): step.partitions for study in STUDIES for step in study.steps}
    for asset in study_assets.ASSETS:
        held = partitioned[tuple(asset.key.path)]
        definition = asset.partitions_def
        assert (held.name if held else None) == (definition.name if definition else None)  # type: ignore[attr-defined]


def test_the_page_shows_what_is_there_and_names_the_rest(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no study of simulated"):
        write_page(settings, "c", tmp_path / "pages")
    write_study(settings.storage, settings, "sessions", TABLE, "the numbers\n\n![f](sessions.png)\n", b"png")
    path = write_page(settings, "thaw studies --dataset simulated", tmp_path / "pages")
    text = path.read_text(encoding="utf-8")
    assert path.name == "simulated-hrnn.md"
    assert "## Sessions: one level or two\n\nthe numbers\n\n![f](simulated-hrnn-sessions.png)" in text
    assert (path.parent / "simulated-hrnn-sessions.png").read_bytes() == b"png"
    assert "*Split: everything before the median of time trains" in text
    assert "| users" in text
    missing = text.split("## Not on this page")[1]
    assert (
        "- Perplexity by feature group: not made yet: run `thaw studies --dataset simulated --only feature_groups`"
        in missing
    )
    assert str(settings.home) not in text


def test_a_stale_study_is_not_shown(settings: Settings, tmp_path: Path) -> None:
    for name in ("sessions", "feature_groups"):
        write_study(settings.storage, settings, name, TABLE, f"the numbers of {name}\n")
    write_text(text_path(settings.storage, "sessions"), "edited")
    text = write_page(settings, "c", tmp_path / "pages").read_text(encoding="utf-8")
    assert "edited" not in text
    assert "- Sessions: one level or two: data/simulated/studies/sessions.parquet rests on another files" in text
    assert str(settings.home) not in text


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    for name in ("THAW_DATASET", "THAW_MODELS", "THAW_CONFIG"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("THAW_HOME", str(tmp_path))
    return CliRunner(env={"COLUMNS": "200"})


def test_the_command_refuses_unknown_names_before_anything_runs(command: CliRunner, calls: list[Call]) -> None:
    result = command.invoke(cli.app, ["studies", "--only", "sesions"])
    assert result.exit_code == 2
    assert "sesions" in result.output
    assert "sessions" in result.output
    assert not calls


def test_the_command_makes_the_other_studies_when_one_fails(
    command: CliRunner, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def run(settings: Settings, selection: str, *rest: Any) -> Outcome:
        del rest
        if "feature_groups" in selection:
            return FAILED
        if "sessions" in selection:
            seeds = str(settings.training.seeds)
            write_study(settings.storage, settings, "sessions", TABLE, f"the numbers of {seeds} seeds\n")
        if "tables" in selection:
            write_manifest(settings.storage)
        return DONE

    monkeypatch.setattr(studies, "run_graph", run)
    only = ["--only", "sessions,feature_groups"]
    arguments = ["studies", "--dataset", "simulated", *only, "--seeds", "2", "--to", str(tmp_path / "pages")]
    result = command.invoke(cli.app, arguments)
    assert result.exit_code == 1
    assert "the disk is full" in result.output
    assert "Failed: feature_groups" in result.output
    text = (tmp_path / "pages" / "simulated-hrnn.md").read_text(encoding="utf-8")
    assert "the numbers of 2 seeds" in text
    assert "`thaw studies --dataset simulated --seeds 2 --only feature_groups,sessions`" in text


def test_an_interrupt_ends_the_command_and_not_only_the_study(
    command: CliRunner, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def run(settings: Settings, selection: str, *rest: Any) -> Outcome:
        del settings, rest
        asked.append(selection)
        return Outcome("run", False, frozenset(), {"x": "dagster._core.errors.DagsterExecutionInterruptedError"}, [])

    monkeypatch.setattr(studies, "run_graph", run)
    result = command.invoke(cli.app, ["studies", "--dataset", "simulated", "--only", "sessions,feature_groups"])
    assert result.exit_code == study_cli.INTERRUPTED
    assert "goes on from there" in result.output
    assert len(asked) == 1
    assert not FAILED.interrupted
