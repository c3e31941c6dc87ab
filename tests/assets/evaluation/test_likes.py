"""The conditions of published experiments: whose, for which datasets, and what becomes of the settings."""

from pathlib import Path

import pytest

from assets.config import Settings, load_settings
from assets.evaluation.likes import LIKES, Like, chosen, settings_for, words
from assets.evaluation.published import TABLES
from assets.evaluation.studies.registry import find as find_study
from assets.ingestion.registry import find
from assets.training.registry import roster

PAIRS = [(like, dataset) for like in LIKES for dataset in like.datasets]


def names(likes: list[Like]) -> list[str]:
    return [like.name for like in likes]


def held(like: Like, dataset: str, home: Path, **changed: object) -> Settings:
    return settings_for(like, load_settings({}, dataset=dataset, home=home, **changed))


def test_a_dataset_gets_the_papers_that_have_figures_of_it() -> None:
    assert names(chosen(None, "ml-1m")) == ["ihm", "cdn", "time-to-split", "hrnn"]
    assert names(chosen(None, "amazon-books")) == ["ihm"]
    assert names(chosen(None, "book-crossing")) == ["cdn"]
    assert chosen(None, "ml-100k") == chosen("none", "ml-1m") == []
    assert names(chosen("hrnn, cdn", "ml-100k")) == ["cdn", "hrnn"]


@pytest.mark.parametrize(("asked", "wrong"), [("ihm,sasrec", "'sasrec'"), ("", "nothing"), ("none,ihm", "'none'")])
def test_an_unknown_paper_is_refused_with_the_known_ones(asked: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=f"--like names {wrong}; known: ihm, cdn, time-to-split, hrnn, or none"):
        chosen(asked, "ml-1m")


@pytest.mark.parametrize(("like", "dataset"), PAIRS, ids=lambda value: getattr(value, "name", value))
def test_every_paper_has_figures_of_what_it_names_and_settings_that_hold(
    like: Like, dataset: str, tmp_path: Path
) -> None:
    assert find(dataset).name == dataset
    settings = held(like, dataset, tmp_path)
    protocols = {
        "median_time": "sampled_legacy",
        "leave_one_out": "leave_one_out",
        "quantile": "quantile",
        "held_out_users": "held_out_users",
    }
    assert protocols[settings.split.kind] in {table.protocol for table in TABLES if table.dataset == dataset}
    assert set(roster(settings)) >= {"popularity", "decayed_popularity"}
    assert settings.storage.base == tmp_path / "data" / dataset / "like" / like.name / "data" / dataset
    for study in like.studies.get(dataset, ()):
        find_study(study)


def test_every_published_table_of_a_paper_has_its_conditions() -> None:
    """The public code's are on the usual page."""
    covered = {(like.paper.split(",")[0].split(" (")[0], dataset) for like, dataset in PAIRS}
    for table in TABLES:
        if "reference code" not in table.source:
            assert (table.source.split(",")[0], table.dataset) in covered, table.source


def test_the_papers_splits_and_heads(tmp_path: Path) -> None:
    ihm, cdn, split, hrnn = LIKES
    engagement = held(ihm, "ml-1m", tmp_path).engagement
    assert (engagement.k_core, engagement.looks_ahead, engagement.k_core_passes) == (5, True, 1)
    books = held(cdn, "book-crossing", tmp_path).split
    assert (books.kind, books.held_out_by, books.head_rule, books.head_share) == (
        "leave_one_out",
        "random",
        "pareto",
        0.001,
    )
    films = held(cdn, "ml-1m", tmp_path).split
    assert (films.held_out_by, films.head_share) == ("time", 0.2)
    assert held(split, "amazon-sports", tmp_path).split.quantile == 0.9
    assert held(hrnn, "ml-20m", tmp_path).split.share_held_out == 0.2


def test_what_is_configured_besides_the_split_stays(tmp_path: Path) -> None:
    changed = {
        "models": ("popularity",),
        "engagement": {"minimum_value": 4, "k_core": 3},
        "split": {"windows": 2, "history_length": 9},
    }
    settings = held(LIKES[0], "ml-100k", tmp_path, **changed)
    assert settings.models == ("popularity",)
    assert (settings.engagement.minimum_value, settings.engagement.k_core) == (4, 5)
    assert (settings.split.windows, settings.split.history_length) == (5, 9)
    said = dict(words(LIKES[0], settings))
    assert said["conditions of"].endswith("which has no figures of ml-100k")
    assert said["engagements kept"] == "values of at least 4"


def test_a_split_by_time_is_refused_where_there_are_no_times(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--like ihm splits by median_time, and book-crossing has no times"):
        held(LIKES[0], "book-crossing", tmp_path)
