"""``thaw report`` under papers' conditions: which homes and pages, and published rows beside ours where they belong."""

import io
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from assets.config import Settings
from assets.evaluation.likes import LIKES, Like, chosen, settings_for
from orchestration import likes, report_cli, studies
from orchestration.cli import app
from orchestration.report import write_report
from orchestration.runner import Outcome
from tests.assets.evaluation.toy import toy_settings
from tests.orchestration.homes import write_home

QUIET = Console(file=io.StringIO())
DONE = Outcome("run", True, frozenset(), {}, [])
FAILED = Outcome("run", False, frozenset(), {"step": "it broke"}, [])
IHM, CDN, QUANTILE, HRNN = LIKES


def held(home: Path, dataset: str) -> Settings:
    """Settings of a home that has tables as if the transforms had made them; two models that count."""
    settings = toy_settings(home, ("popularity", "decayed_popularity")).model_copy(update={"dataset": dataset})
    write_home(settings)
    return settings


@pytest.mark.parametrize(
    ("like", "dataset", "rows"),
    [
        (CDN, "ml-1m", ["Two-tower", "26.75 ± 0.12", "BDN", "Head/Tail", "1,000,209 engagements"]),
        (HRNN, "ml-20m", ["HRNN-meta (sequence, user, item, feedback)", "410.0", "GRU, dense", "131,263 items"]),
        (IHM, "amazon-games", ["IHM-CDN", "0.1549", "Zuo et al., KDD 2024, Table 2"]),
        (QUANTILE, "ml-1m", ["SASRec, tuned", "0.1083"]),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_published_rows_stand_beside_ours(
    like: Like, dataset: str, rows: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = held(tmp_path, dataset)
    own = settings_for(like, settings)
    write_home(own)  # what make_tables would have made under the paper's split
    monkeypatch.setattr(studies, "make_tables", lambda *_: None)
    outcome = likes.make(like, settings, QUIET)
    assert outcome is not None
    assert outcome.success, outcome.failed_steps
    page = write_report(own, "make report", tmp_path / "pages", like)
    assert page.name == f"{dataset}-like-{like.name}.md"
    text = page.read_text(encoding="utf-8")
    assert like.paper in text
    assert "| popularity" in text
    for row in rows:
        assert row in text
    rows_of_tables = [line.split("|") for line in text.split("## Headline")[1].splitlines() if line.startswith("|")]
    sources = {cells[2].strip() for cells in rows_of_tables}
    papers = {source.split(",")[0] for source in sources if "KDD 20" in source or "public" in source}
    assert papers == {like.paper.split(" (")[0].split(",")[0]}, "no other paper's rows"
    assert likes.make(like, settings, QUIET) is None, "nothing is made twice"


def test_what_lies_under_the_configured_split_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = held(tmp_path, "ml-1m")
    before = {path: path.read_bytes() for path in settings.storage.base.rglob("*") if path.is_file()}
    asked = []
    monkeypatch.setattr(studies, "run_graph", lambda own, selection, *_: asked.append((own, selection)) or DONE)
    monkeypatch.setattr(likes, "make_missing", lambda own, *_: asked.append((own, "results")) or DONE)
    assert likes.make(CDN, settings, QUIET) == DONE
    assert [selection for _, selection in asked] == [studies.TABLES_OF_RAW, "results"]
    own = settings.storage.base / "like" / "cdn"
    assert {each.home for each, _ in asked} == {own}
    assert {path: path.read_bytes() for path in before} == before
    raw, shared = settings.storage.raw_table("items"), own / "data" / "ml-1m" / "raw" / "items.parquet"
    assert raw.samefile(shared), "linked, not downloaded again"


def test_a_failure_of_the_tables_ends_the_paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studies, "make_tables", lambda *_: FAILED)
    monkeypatch.setattr(likes, "make_missing", lambda *_: pytest.fail("nothing may follow"))
    assert likes.make(CDN, held(tmp_path, "ml-1m"), QUIET) == FAILED


def test_the_papers_studies_are_made_under_the_configured_split(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(studies, "make", lambda study, settings, _: made.append((study.name, settings.home)) or DONE)
    settings = toy_settings(Path("home")).model_copy(update={"dataset": "ml-20m"})
    assert likes.make_studies(HRNN, settings, QUIET) == [DONE] * 3
    assert made == [(name, Path("home")) for name in ("feature_groups", "ratings", "time_sensitivity")]
    assert likes.make_studies(CDN, settings, QUIET) == []


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What the command makes and writes, instead of making and writing it."""
    for name in ("THAW_DATASET", "THAW_MODELS", "THAW_CONFIG", "THAW_DATA_DIR"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("THAW_HOME", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", "")
    calls: list[str] = []
    monkeypatch.setattr(report_cli, "_own", lambda *_: calls.append("own"))
    monkeypatch.setattr(likes, "make", lambda like, *_: calls.append(like.name) or (FAILED if like is IHM else DONE))
    monkeypatch.setattr(likes, "make_studies", lambda *_: [])
    monkeypatch.setattr(likes, "write_pages", lambda like, _, command, __: [Path(f"{like.name}.md {command}")])
    return calls


@pytest.mark.parametrize(
    ("arguments", "calls", "code"),
    [
        (["ml-100k"], ["own"], 0),
        (["book-crossing"], ["own", "cdn"], 0),
        (["ml-1m"], ["own", "ihm", "cdn", "time-to-split", "hrnn"], 1),
        (["ml-1m", "--like", "none"], ["own"], 0),
        (["ml-1m", "--like", "cdn"], ["cdn"], 0),
        (["ml-100k", "--like", "hrnn,cdn"], ["cdn", "hrnn"], 0),
    ],
)
def test_what_the_command_makes(asked: list[str], arguments: list[str], calls: list[str], code: int) -> None:
    result = CliRunner().invoke(app, ["report", "--dataset", *arguments])
    assert (asked, result.exit_code) == (calls, code), result.output
    assert ("Failed: ihm" in result.output) == bool(code)
    for like in chosen(None if len(arguments) == 1 else arguments[-1], arguments[0]):
        command = f"{like.name}.md make report DATASET={arguments[0]} SEEDS=1 LIKE={like.name}"
        assert (command in result.output) == (like is not IHM)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ml-1m", "--like", "dat"], "--like names 'dat'; known: ihm, cdn, time-to-split, hrnn, or none"),
        (["book-crossing", "--like", "ihm"], "--like ihm splits by median_time, and book-crossing has no times"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(asked: list[str], arguments: list[str], words: str) -> None:
    result = CliRunner(env={"COLUMNS": "300"}).invoke(app, ["report", "--dataset", *arguments])
    assert (asked, result.exit_code) == ([], 2)
    assert words in result.output
