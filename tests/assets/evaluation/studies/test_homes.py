"""Under which split and in which home a study is made."""

import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from assets.config import Settings, SplitConfig
from assets.evaluation.studies.homes import settings_for, share_raw, split_for
from assets.evaluation.studies.registry import Step, Study
from assets.storage import Storage, write_json, write_text

STEPS = (Step(["studies", "mine"]),)
ANY = Study("mine", "My study", STEPS)
WEEKLY = Study("mine", "My study", STEPS, {"kind": "fraction", "frame": "week"})
RAW = ("interactions", "items", "users", "quarantine")


def configured(tmp_path: Path, **split: object) -> Settings:
    return Settings(dataset="toy", home=tmp_path, split=SplitConfig.model_validate(split))


def test_a_study_of_any_split_is_made_at_home(tmp_path: Path) -> None:
    settings = configured(tmp_path, kind="quantile", quantile=0.8)
    assert settings_for(ANY, settings) == settings


def test_another_split_has_a_home_of_its_own(tmp_path: Path) -> None:
    settings = configured(tmp_path)
    own = settings_for(WEEKLY, settings)
    assert (own.split.kind, own.split.frame, own.split.fraction) == ("fraction", "week", 0.7)
    assert own.home == tmp_path / "data" / "toy" / "splits" / "fraction"
    assert own.storage.tables != settings.storage.tables
    assert own.model_copy(update={"home": settings.home, "split": settings.split}) == settings


def test_what_is_configured_already_needs_no_other_home(tmp_path: Path) -> None:
    settings = configured(tmp_path, kind="fraction", frame="week", fraction=0.6)
    assert settings_for(WEEKLY, settings) == settings
    daily = configured(tmp_path, kind="fraction", frame="day", fraction=0.6)
    own = settings_for(WEEKLY, daily)
    assert (own.split.frame, own.split.fraction) == ("week", 0.6)
    assert own.home != daily.home


def test_what_every_kind_has_is_kept_and_the_rest_is_left() -> None:
    kept = {"tail_max_count": 3, "qualified_user_min": 4, "history_length": 7, "validation_fraction": 0.2}
    split = SplitConfig(kind="quantile", quantile=0.9, windows=3, cut_by="count", **kept)
    found = split_for(WEEKLY, split)
    assert found == SplitConfig(kind="fraction", frame="week", **kept)


def test_a_wrong_split_is_refused() -> None:
    with pytest.raises(ValidationError, match="frames"):
        split_for(Study("mine", "My study", STEPS, {"kind": "fraction", "frames": "week"}), SplitConfig())


def raw(storage: Storage, version: str) -> Storage:
    for name in RAW:
        write_text(storage.raw_table(name), f"{name} {version}")
    write_json(storage.raw / "ingestion.json", {"data_version": version})
    return storage


def test_raw_tables_are_shared_once_per_version(tmp_path: Path) -> None:
    source, target = raw(Storage(tmp_path / "one", "toy"), "v1"), Storage(tmp_path / "two", "toy")
    assert share_raw(source, target)
    assert sorted(path.name for path in target.raw.iterdir()) == sorted(path.name for path in source.raw.iterdir())
    assert target.raw_table("items").samefile(source.raw_table("items"))
    assert not share_raw(source, target)
    raw(source, "v2")
    assert target.raw_table("items").read_text() == "items v1"  # replaced at the source, not written into
    assert share_raw(source, target)
    assert target.raw_table("items").read_text() == "items v2"


def test_an_interrupted_sharing_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = raw(Storage(tmp_path / "one", "toy"), "v1"), Storage(tmp_path / "two", "toy")
    share_raw(source, target)
    raw(source, "v2")
    linked: list[str] = []

    def fails_at_the_last(path: Path, temporary: Path) -> None:
        linked.append(path.name)
        if path.name == "ingestion.json":
            raise KeyboardInterrupt
        shutil.copy(path, temporary)

    with monkeypatch.context() as patched:
        patched.setattr("assets.evaluation.studies.homes.os.link", fails_at_the_last)
        with pytest.raises(KeyboardInterrupt):
            share_raw(source, target)
    assert sorted(linked[:-1]) == sorted(f"{name}.parquet" for name in RAW)  # the version comes last
    assert share_raw(source, target)
    assert {target.raw_table(name).read_text() for name in RAW} == {f"{name} v2" for name in RAW}


def test_without_raw_tables_there_is_nothing_to_share(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="ingestion"):
        share_raw(Storage(tmp_path / "one", "toy"), Storage(tmp_path / "two", "toy"))
