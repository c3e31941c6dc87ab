"""Challengers know what was served, landed engagements included, and nothing of the newest window."""

import json
import shutil

import numpy as np
import pytest

from assets.champion.challenger import SERVABLE_NETS, challenging_models, make_challenger, newest_window, prune
from assets.champion.files import Challenger, read_challengers, write_challenger
from assets.champion.grounds import why_not_comparable
from assets.champion.history import read_served
from assets.config import ConfigError
from assets.serving.live.build import renew
from assets.serving.live.generation import NoIndexError, require_current
from assets.storage import write_json
from assets.training.checkpoints import checkpoint_digest, load_net, read_manifest_in
from tests.assets.champion.held import with_retraining
from tests.assets.serving.live.conftest import MODEL, NOW, Live

LANDED = [
    ("u01", "i03", "2024-03-08T01:00:00"),
    ("u02", "brand new", "2024-03-08T02:00:00"),
    ("u03", "i04", "2024-03-11T12:00:00"),
    ("u04", "later still", "2024-03-11T13:00:00"),
]


def served_of(live: Live):
    with live.opened() as opened:
        return read_served(opened)


def test_the_newest_window_begins_at_a_midnight_and_ends_behind_the_last_engagement(live: Live) -> None:
    served = served_of(live)
    with_retraining(live, window_days=1.5)
    starts_at, ends_at = newest_window(served, live.settings)
    assert ends_at == served.ends_at
    assert ends_at - np.timedelta64(1, "us") == np.datetime64("2024-03-06T23:30")
    assert starts_at == np.datetime64("2024-03-05T00:00")  # 1.5 days before is at half past eleven


def test_it_learns_what_landed_before_the_window_and_nothing_of_it(live: Live) -> None:
    live.land(LANDED)
    live.process()
    with_retraining(live)
    lines: list[str] = []
    made = make_challenger(live.storage, live.settings, MODEL, NOW, lines.append).challenger
    folder = made.folder(live.storage)
    assert folder.is_relative_to(live.storage.champion / "challengers" / MODEL)
    manifest = read_manifest_in(folder)
    assert np.datetime64(manifest["bounds"]["cutoff"]) == np.datetime64("2024-03-09")
    items = load_net(folder, manifest).encodings.items.ids
    assert "brand new" in items
    assert "later still" not in items
    assert made.engagements == len(served_of(live).interactions) - 2
    assert made.champion == require_current(live.storage).record().checkpoint
    assert made.version == manifest["data_version"] == served_of(live).version
    assert read_challengers(live.storage) == [made]
    assert f"{made.engagements:,} engagements before 2024-03-09" in lines[0]


def test_the_same_again_takes_the_place_of_the_former(challenged: Live) -> None:
    (before,) = read_challengers(challenged.storage)
    again = make_challenger(challenged.storage, challenged.settings, MODEL, challenged.later()).challenger
    assert read_challengers(challenged.storage) == [again]
    assert (again.name, again.checkpoint) == (before.name, before.checkpoint)


def test_a_training_that_was_killed_before_its_account_leaves_no_challenger(challenged: Live) -> None:
    (one,) = read_challengers(challenged.storage)
    manifest = one.folder(challenged.storage) / "manifest.json"
    write_json(manifest, json.loads(manifest.read_text()) | {"best_epoch": 77})
    assert read_challengers(challenged.storage) == []
    shutil.rmtree(one.folder(challenged.storage))
    assert read_challengers(challenged.storage) == []


def test_the_champions_own_model_challenges_unless_others_are_named(live: Live) -> None:
    assert challenging_models(live.storage, live.settings) == (MODEL,)
    with_retraining(live, models=("two_tower", "sasrec"))
    assert challenging_models(live.storage, live.settings) == ("two_tower", "sasrec")
    with_retraining(live, models=("popularity",))
    with pytest.raises(ConfigError, match=r"retraining.models: 'popularity' is no net that can serve"):
        challenging_models(live.storage, live.settings)
    assert MODEL in SERVABLE_NETS
    assert "popularity" not in SERVABLE_NETS


def test_a_counting_champion_is_challenged_by_the_nets_of_the_roster(unbuilt: Live) -> None:
    with pytest.raises(NoIndexError, match="run `thaw run` first"):
        challenging_models(unbuilt.storage, unbuilt.settings)
    renew(unbuilt.storage, unbuilt.settings, unbuilt.tables, "popularity", 0, NOW)
    assert challenging_models(unbuilt.storage, unbuilt.settings) == (MODEL,)
    none = unbuilt.settings.model_copy(update={"models": ("popularity",)})
    with pytest.raises(ConfigError, match="the roster has no net"):
        challenging_models(unbuilt.storage, none)


def test_it_is_told_before_the_training_that_the_champion_knows_the_window(live: Live) -> None:
    assert why_not_comparable(live.storage, with_retraining(live, window_days=2).settings) is None
    assert "was trained on engagements until 2024-03-04" in str(
        why_not_comparable(live.storage, with_retraining(live, window_days=3).settings)
    )


def test_challengers_that_met_in_no_recent_contest_are_removed(challenged: Live) -> None:
    storage = challenged.storage
    (one,) = read_challengers(storage)
    assert prune(storage, 1) == []  # no contest yet
    for place in range(4):
        copy = _copy(challenged, one, f"copy-{place}", NOW + place)
        if place < 3:
            account = {"name": str(place), "at": NOW + 10 + place, "challenger": {"checkpoint": copy.checkpoint}}
            write_json(storage.champion / "contests" / f"{place}.json", account)
    young = _copy(challenged, one, "young", NOW + 50)
    assert sorted(prune(storage, 2)) == [f"{MODEL}/{one.name}", f"{MODEL}/copy-0", f"{MODEL}/copy-3"]
    assert [each.name for each in read_challengers(storage)] == ["copy-1", "copy-2", "young"]
    assert young.folder(storage).exists()
    assert not one.folder(storage).exists()


def _copy(live: Live, one: Challenger, name: str, at: int) -> Challenger:
    """Another challenger, with a checkpoint of its own."""
    folder = one.folder(live.storage).with_name(name)
    shutil.copytree(one.folder(live.storage), folder)
    manifest = json.loads((folder / "manifest.json").read_text()) | {"git_revision": name}
    write_json(folder / "manifest.json", manifest)
    made = one.model_copy(update={"name": name, "at": at, "checkpoint": checkpoint_digest(manifest)})
    write_challenger(live.storage, made)
    return made
