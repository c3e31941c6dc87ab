"""Challenger, contest and promotion as assets, and the checks that stand between them."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from assets import keys
from assets.champion import contest, sound
from assets.champion.assets import ASSETS
from assets.champion.checks import CHECKS
from assets.champion.files import read_challengers
from assets.evaluation.soundness import FutureReport
from assets.serving.assets import item_index
from assets.serving.live.generation import require_current
from assets.serving.record import read_record
from tests.assets.champion.held import BETTER, held, with_retraining
from tests.assets.serving.live.conftest import MODEL, Live

MEETING = [keys.CONTEST, keys.PROMOTION]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def run(
    live: Live, instance: dg.DagsterInstance, selection: list[keys.Key], **values: Any
) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [*ASSETS, *CHECKS, item_index],
        resources={"storage": live.storage, "settings": live.settings},
        selection=dg.AssetSelection.assets(*map(dg.AssetKey, selection)),
        instance=instance,
        raise_on_error=False,
        **values,
    )


def metadata(result: dg.ExecuteInProcessResult, key: keys.Key) -> dict[str, Any]:
    assert result.success, [event for event in result.all_events if event.is_failure]
    found = {}
    for event in result.get_asset_materialization_events():
        if event.asset_key == dg.AssetKey(key):
            found |= {name: value.value for name, value in event.materialization.metadata.items()}
    return found


def test_one_run_trains_meets_and_promotes(
    live: Live, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_retraining(live)
    monkeypatch.setattr(contest, "difference", lambda *_: BETTER)
    result = run(live, instance, list(keys.RETRAINING), partition_key=MODEL)
    trained = metadata(result, keys.CHALLENGER)
    (one,) = read_challengers(live.storage)
    assert trained["trained until"] == "2024-03-04 00:00Z"
    assert trained["engagements"] == one.engagements
    assert "data:image/png;base64," in trained["loss curve"]
    met = metadata(result, keys.CONTEST)
    assert (met["verdict"], met["window"]) == ("challenger wins", "2024-03-04 to 2024-03-06")
    assert "data:image/png;base64," in met["figure"]
    assert "| ndcg" in met["table"]
    promoted = metadata(result, keys.PROMOTION)
    assert (promoted["outcome"], promoted["decided now"]) == ("won", True)
    assert promoted["generation"] == require_current(live.storage).name
    assert promoted["no alert asks for another until"] == "2024-03-13 23:30Z (event clock)"
    passed = {each.check_name: each.passed for each in result.get_asset_check_evaluations()}
    assert passed == {"challenger_knows_no_window": True, "same_cases": True, "contest_sees_no_future": True}


def test_a_contest_that_nobody_was_ranked_in_is_lost(live: Live, instance: dg.DagsterInstance) -> None:
    with_retraining(live, window_days=3)
    result = run(live, instance, list(keys.RETRAINING), partition_key=MODEL)
    assert metadata(result, keys.CONTEST)["verdict"] == "not comparable"
    assert metadata(result, keys.PROMOTION)["outcome"] == "lost"
    assert all(each.passed for each in result.get_asset_check_evaluations())


@pytest.mark.parametrize("name", ["knows_of_the_window", "unlike_cases", "future_reports"])
def test_no_check_lets_an_unfair_contest_promote(
    challenged: Live, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    before = require_current(challenged.storage)
    monkeypatch.setattr(contest, "difference", lambda *_: BETTER)
    wrong = {"challenger": FutureReport(20, 3, None)} if name == "future_reports" else ["a reason"]
    monkeypatch.setattr(sound, name, lambda *_: wrong)
    result = run(challenged, instance, MEETING)
    assert not result.success
    (failed,) = [each for each in result.get_asset_check_evaluations() if not each.passed]
    assert failed.severity is dg.AssetCheckSeverity.ERROR
    assert failed.blocking
    assert ("3 ranks of the challenger change" if name == "future_reports" else "a reason") in failed.description
    assert require_current(challenged.storage) == before
    assert read_record(challenged.storage) == []


def test_deciding_again_says_so(
    challenged: Live, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    held(challenged, monkeypatch)
    first = metadata(run(challenged, instance, [keys.PROMOTION]), keys.PROMOTION)
    again = metadata(run(challenged, instance, [keys.PROMOTION]), keys.PROMOTION)
    assert (first["decided now"], again["decided now"]) == (True, False)
    assert again["generation"] == first["generation"]


def test_the_index_keeps_a_winner_and_records_what_it_makes(
    challenged: Live, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = metadata(run(challenged, instance, [keys.ITEM_INDEX]), keys.ITEM_INDEX)
    assert (first["origin"], "kept" in first) == ("run", False)
    held(challenged, monkeypatch)
    run(challenged, instance, [keys.PROMOTION])
    kept = metadata(run(challenged, instance, [keys.ITEM_INDEX]), keys.ITEM_INDEX)
    assert (kept["origin"], "won a contest and is kept" in kept["kept"]) == ("contest", True)
    config = {"ops": {"serving__item_index": {"config": {"replace": True}}}}
    replaced = metadata(run(challenged, instance, [keys.ITEM_INDEX], run_config=config), keys.ITEM_INDEX)
    assert replaced["origin"] == "run"
    served = [(entry.kind, entry.generation) for entry in read_record(challenged.storage)]
    assert served == [("first", first["generation"]), ("won", kept["generation"]), ("run", replaced["generation"])]


def test_assets_name_group_owner_kinds_and_description() -> None:
    for asset in ASSETS:
        (key,) = asset.keys
        spec = asset.get_asset_spec(key)
        assert (spec.group_name, list(spec.owners)) == (keys.CHAMPION, [keys.OWNER])
        assert spec.description
        assert spec.kinds
    assert [asset.key.path for asset in ASSETS] == [list(key) for key in keys.RETRAINING]


def test_definitions_load_neither_torch_nor_the_index_library() -> None:
    command = (
        "import sys, assets.champion.assets, assets.champion.checks, assets.champion.record;"
        " sys.exit(bool({'faiss', 'torch', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0
