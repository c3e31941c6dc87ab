"""``thaw report`` on a small dataset: it runs what is missing, once, and writes a page that holds together."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from assets.config import EngagementRule, Settings, SplitConfig
from assets.evaluation.needed import _is_ranked, needed
from orchestration.definitions import build_definitions
from orchestration.report import filter_words, make_missing, page_stem, split_words, write_report
from orchestration.runner import resolve
from tests.assets.evaluation.toy import toy_settings
from tests.orchestration.homes import write_home

MODELS = ("popularity", "decayed_popularity")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with exported tables, as if the transforms had made them, and nothing else."""
    home = tmp_path_factory.mktemp("home")
    settings = toy_settings(home, MODELS).model_copy(update={"dataset": "simulated"})
    write_home(settings)
    return settings


@pytest.fixture(scope="module")
def page(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a home that had tables only."""
    folder = tmp_path_factory.mktemp("pages")
    outcome = make_missing(settings, Console(file=io.StringIO()))
    assert outcome is not None
    assert outcome.success, outcome.failed_steps
    return write_report(settings, "make report DATASET=simulated SEEDS=1", folder)


def test_without_tables_everything_before_them_is_made(settings: Settings, tmp_path: Path) -> None:
    empty = settings.model_copy(update={"home": tmp_path})
    selection = needed(empty.storage, empty).selection
    assert selection is not None
    chosen = {key.to_user_string() for key in resolve(selection, build_definitions(empty))}
    assert {"ingestion/interactions", "splits/split_bounds", "transforms/tables", "training/popularity"} <= chosen
    assert {"evaluation/popularity_sampled", "evaluation/comparisons"} <= chosen
    assert "training/recent_popularity" not in chosen


def test_the_page_and_its_figures_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert page.name == "simulated.md"
    assert text.startswith("# simulated: results")
    for heading in ("Headline", "Slices", "Perplexity", "Windows and decay", "Sampled negatives", "Time"):
        assert f"\n## {heading}\n" in text
    figures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    assert figures == ["simulated-decay.png", "simulated-decay-relative.png"]
    assert all((page.parent / name).read_bytes().startswith(b"\x89PNG") for name in figures)
    assert str(page.parent) not in text


def test_nothing_is_made_twice(settings: Settings, page: Path) -> None:
    assert needed(settings.storage, settings).selection is None
    assert make_missing(settings, Console()) is None
    again = write_report(settings, "make report DATASET=simulated SEEDS=1", page.parent)
    before, after = (path.read_text(encoding="utf-8").split("## Time")[0] for path in (page, again))
    assert before == after


def test_only_what_rests_on_a_change_is_made_again(settings: Settings, page: Path) -> None:
    def wanted(**changed: object) -> list[str]:
        found = needed(settings.storage, settings.model_copy(update=changed))
        return ["tables"] * found.tables + ["/".join(key) for key in found.assets]

    drawn = settings.sampled.model_copy(update={"negatives": 50})
    assert wanted(sampled=drawn) == [
        "evaluation/popularity_sampled",
        "evaluation/decayed_popularity_sampled",
        "evaluation/sampled_metrics",
        "evaluation/sampled_tables",
    ]
    assert wanted(models=("popularity",)) == []
    assert [name for name in wanted(models=(*MODELS, "recent_popularity")) if "recent" in name] == [
        "training/recent_popularity",
        "evaluation/recent_popularity_ranks",
        "evaluation/recent_popularity_sampled",
    ]
    smoothed = settings.evaluation.model_copy(update={"smoothing": 0.5})
    assert wanted(evaluation=smoothed)[:2] == ["training/popularity", "training/decayed_popularity"]
    half_life = {"decayed_popularity": {"half_life_days": 9}}
    other = settings.training.model_copy(update={"hyper_parameters": half_life})
    assert "training/decayed_popularity" in wanted(training=other)
    assert wanted(split=SplitConfig(windows=3))[0] == "tables"


@pytest.mark.parametrize("harm", ["no manifest", "another table", "no table", "no raw table"])
def test_without_a_valid_export_everything_is_made_again(settings: Settings, page: Path, harm: str) -> None:
    """Though checkpoints, ranks and metrics are there."""
    assert page.exists()
    path = {
        "no manifest": settings.storage.tables / "manifest.json",
        "no raw table": settings.storage.raw_table("items"),
    }.get(harm, settings.storage.table("items"))
    content = path.read_bytes()
    try:
        path.write_bytes(content + b" ") if harm == "another table" else path.unlink()
        found = needed(settings.storage, settings)
        ranked = [_is_ranked(settings.storage, settings, model) for model in MODELS]
    finally:
        path.write_bytes(content)
    names = {"/".join(key) for key in found.assets}
    assert found.tables
    assert {f"training/{model}" for model in MODELS} | {f"evaluation/{model}_ranks" for model in MODELS} <= names
    assert {"evaluation/metrics", "evaluation/comparisons", "evaluation/sampled_metrics"} <= names
    assert ranked == [harm == "no raw table"] * len(MODELS)
    assert needed(settings.storage, settings).selection is None


def test_a_split_has_a_page_of_its_own(settings: Settings) -> None:
    split = SplitConfig(kind="leave_one_out", head_rule="pareto")
    other = settings.model_copy(update={"split": split})
    assert page_stem("simulated", split.kind) == "simulated-leave-one-out"
    assert split_words(split).startswith("leave-one-out: of every user's latest engagements")
    found = {"/".join(key) for key in needed(settings.storage, other).assets}
    assert "evaluation/leave_one_out" in found
    assert not any("sampled" in name for name in found)


@pytest.mark.parametrize(
    ("split", "stem", "words"),
    [
        (SplitConfig(), "toy", "everything before the median of time trains; 5 test windows by duration; head: "),
        (
            SplitConfig(kind="quantile", quantile=0.9, windows=2, cut_by="count"),
            "toy-quantile",
            "everything before the 0.9 quantile of time trains; 2 test windows by count; head: ",
        ),
        (
            SplitConfig(kind="fraction", frame="hour"),
            "toy-fraction",
            "the first 70% of the engagements train; test windows of one hour each; head: ",
        ),
        (
            SplitConfig(kind="held_out_items", held_out_share=0.3, held_out_seed=2),
            "toy-held-out-items",
            "held-out items: 30% of all items, drawn uniformly with seed 2, are tested after training on the others; ",
        ),
        (
            SplitConfig(kind="held_out_users", held_out_seed=2),
            "toy-held-out-users",
            "held-out users: 20% of all users, drawn uniformly with seed 2, are tested after training on the others, ",
        ),
    ],
)
def test_every_split_is_said_in_words(split: SplitConfig, stem: str, words: str) -> None:
    assert page_stem("toy", split.kind) == stem
    assert split_words(split).startswith(words)


def test_a_filter_that_looks_ahead_is_said_so() -> None:
    assert filter_words(EngagementRule()) == ""
    known = filter_words(EngagementRule(k_core=5))
    assert known.startswith("; kept are users and items with 5 engagements or more each, counted before the cutoff;")
    ahead = filter_words(EngagementRule(k_core=5, k_core_counts="all_looking_ahead", k_core_passes=1))
    assert "in 1 pass(es)" in ahead
    assert "it looks ahead" in ahead
    assert "looks ahead" not in known


@pytest.mark.parametrize(("kind", "sampled"), [("fraction", True), ("held_out_items", False)])
def test_only_a_cutoff_in_time_has_sampled_protocols(settings: Settings, kind: str, sampled: bool) -> None:
    other = settings.model_copy(update={"split": SplitConfig(kind=kind)})
    found = {"/".join(key) for key in needed(settings.storage, other).assets}
    assert ("evaluation/sampled_tables" in found, "evaluation/popularity_sampled" in found) == (sampled, sampled)
    assert "evaluation/leave_one_out" not in found
