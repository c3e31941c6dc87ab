"""`thaw retrain`, `thaw rollback` and `thaw champion`, on a tiny dataset that is served."""

import shutil
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from click.testing import Result
from typer.testing import CliRunner

from assets import keys
from assets.champion import contest
from assets.champion.files import read_challengers
from assets.config import Settings
from assets.serving.live.generation import require_current
from orchestration import champion_cli, runner
from orchestration.champion_cli import app
from orchestration.home import open_instance, prepare_home
from orchestration.jobs import RETRAIN
from orchestration.run_requests import PART_OF, retrain_requests
from orchestration.runner import Outcome
from orchestration.slots import PID_TAG
from tests.assets.champion.held import BETTER, with_retraining
from tests.assets.serving.live.conftest import MODEL, Live, live, served_home, trained_home, unbuilt

__all__ = ["live", "served_home", "trained_home", "unbuilt"]

Command = Callable[..., Result]


@pytest.fixture
def thaw(monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setenv("DAGSTER_HOME", "")  # set by the command, and put back

    def command(settings: Settings, *arguments: str) -> Result:
        monkeypatch.setattr(champion_cli, "settings_of", lambda *_: settings)
        return CliRunner().invoke(app, list(arguments))

    return command


def test_retrain_promote_look_and_roll_back(live: Live, thaw: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way, in a home of its own, through Dagster."""
    with_retraining(live)
    monkeypatch.setattr(contest, "difference", lambda *_: BETTER)
    before = require_current(live.storage).name
    done = thaw(live.settings, "retrain")
    assert done.exit_code == 0, done.output
    after = require_current(live.storage).name
    assert "challenger wins: the challenger is better: +0.1000 [+0.0500, +0.1500] ndcg@10" in done.output
    assert f"{MODEL} serves, generation {after}." in done.output
    shown = thaw(live.settings, "champion")
    assert f"generation {after}, won a contest." in shown.output
    assert [word for word in ("won", "first") if f" {word} " in shown.output] == ["won", "first"]
    rolled = thaw(live.settings, "rollback")
    assert rolled.exit_code == 0, rolled.output
    assert f"{MODEL} serves again, generation {before}; `thaw rollback` goes back to {after}." in rolled.output
    assert "made by `thaw run`" in thaw(live.settings, "champion").output
    with open_instance(live.settings) as instance:
        assert {run.tags[PART_OF] for run in instance.get_runs()} == {RETRAIN}


def test_beside_a_retrain_none_begins(live: Live, thaw: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two would write the same challengers; whoever launched the other one."""
    with_retraining(live)
    monkeypatch.setattr(runner, "run_assets", lambda *_: pytest.fail("trained"))
    prepare_home(live.settings)
    with open_instance(live.settings) as instance:
        run = instance.create_run_for_job(dg.job(name=RETRAIN)(lambda: None), status=dg.DagsterRunStatus.STARTING)
    refused = thaw(live.settings, "retrain")
    assert refused.exit_code == 1
    assert (
        f"Nothing was trained: run {run.run_id} of retrain has not ended (starting); wait for it, or" in refused.output
    )
    assert "`thaw ui`" in refused.output


def test_a_retrain_whose_process_is_gone_bars_nobody(
    live: Live, thaw: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_retraining(live)
    began = []

    def begin(*given: object) -> Outcome:
        began.append(given)
        return Outcome("id", False, frozenset(), {"step": "failed"}, [])

    monkeypatch.setattr(runner, "run_assets", begin)
    prepare_home(live.settings)
    requests = retrain_requests(live.settings, "monthly", {})
    with open_instance(live.settings) as instance:
        gone = {**requests[-1].tags, PID_TAG: "4194304"}  # no process has so high a number
        instance.create_run_for_job(dg.job(name=RETRAIN)(lambda: None), status=dg.DagsterRunStatus.STARTED, tags=gone)
    thaw(live.settings, "retrain")
    assert began


def test_each_challenger_is_a_run_of_its_own(live: Live, thaw: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Partitions between two of them in the list are not trained."""
    with_retraining(live)
    runs = []

    def noted(settings: Settings, chosen: list[keys.Key], console: object, partitions: list[str] = ()) -> Outcome:
        runs.append((list(chosen), list(partitions)))
        return Outcome("id", len(runs) < 3, frozenset(), {"step": "failed"}, [])

    monkeypatch.setattr(runner, "run_assets", noted)
    done = thaw(live.settings, "retrain", "--models", "two_tower,sasrec")
    assert done.exit_code == 1
    assert runs == [
        ([keys.CHALLENGER], ["two_tower"]),
        ([keys.CHALLENGER], ["sasrec"]),
        ([keys.CONTEST, keys.PROMOTION], []),
    ]


def test_what_cannot_be_is_said_before_anything_is_trained(live: Live, thaw: Command, tmp_path: Path) -> None:
    with_retraining(live, window_days=3)
    known = thaw(live.settings, "retrain")
    assert known.exit_code == 1
    assert "Nothing was trained: the champion was trained on engagements until 2024-03-04" in known.output
    assert "'popularity' is no net that can serve" in thaw(live.settings, "retrain", "--models", "popularity").output
    assert "no generation before" in thaw(live.settings, "rollback").output
    shutil.rmtree(live.storage.live)
    for command in ("retrain", "rollback", "champion"):
        done = thaw(live.settings, command)
        assert done.exit_code == 1
        assert "run `thaw run` first" in done.output
    assert read_challengers(live.storage) == []


def test_replacing_by_hand_lets_the_index_be_built_anew(
    live: Live, thaw: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def noted(settings: Settings, chosen: list[keys.Key], console: object, config: dict[str, object]) -> Outcome:
        asked.append((chosen, config))
        return Outcome("id", True, frozenset(), {}, [])

    monkeypatch.setattr(runner, "run_assets", noted)
    done = thaw(live.settings, "champion", "--replace")
    assert done.exit_code == 0, done.output
    values = {"build": True, "retrain": False, "replace": True}
    assert asked == [([keys.ITEM_INDEX], {"serving__item_index": {"config": values}})]
