"""The winner serves and the loser does not, a rollback takes it back, and a kill anywhere comes to the same end."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from assets.champion import promote as promoting
from assets.champion.challenger import make_challenger
from assets.champion.contest import hold_contest
from assets.champion.files import read_challengers
from assets.champion.grounds import ContestError
from assets.champion.promote import act_on_contest, roll_back
from assets.champion.record import RecordEntry, cooling_until, read_record
from assets.ingestion.landing.removed import add_removed
from assets.schema import Columns
from assets.serving.live import build
from assets.serving.live.build import needs_build, renew
from assets.serving.live.generation import GenerationError, current, generations, previous, require_current
from assets.serving.live.maintain import load_index
from assets.serving.live.replay_state import end_replay, start_replay
from assets.serving.live.succession import RecallError, replace_champion
from assets.serving.promotion import reason_to_build, won_contest
from assets.storage import write_json
from assets.training.checkpoints import read_manifest
from tests.assets.champion.held import LEVEL, held, with_retraining
from tests.assets.serving.live.conftest import MODEL, Live

LATE = [("u01", "i03", "2024-03-06T23:40:00"), ("u09", "brand new", "2024-03-06T23:50:00")]
Act = Callable[[Live], Any]


def act(live: Live) -> RecordEntry:
    return act_on_contest(live.storage, live.settings, live.later()).entry


def back(live: Live) -> RecordEntry:
    return roll_back(live.storage, live.settings, live.later())


def won(live: Live, monkeypatch: pytest.MonkeyPatch) -> RecordEntry:
    held(live, monkeypatch)
    return act(live)


def told(live: Live) -> list[tuple[str, str]]:
    return [(entry.kind, entry.generation) for entry in read_record(live.storage)]


def counts(live: Live) -> "pd.Series[int]":
    """Engagements per item of what serves, and its generation's base."""
    with live.opened() as opened:
        return pd.read_parquet(opened.generation.base("items")).set_index(Columns.ITEM)[Columns.TRAIN_COUNT]


def test_a_winner_serves_everything_that_landed(challenged: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = challenged.storage
    challenged.land(LATE)
    challenged.process()
    (one,) = read_challengers(storage)
    before = require_current(storage)
    entry = won(challenged, monkeypatch)
    after = require_current(storage)
    record = after.record()
    assert (record.checkpoint, record.origin, record.until) == (one.checkpoint, "contest", None)
    assert (entry.kind, entry.generation, entry.previous) == ("won", after.name, before.name)
    assert told(challenged) == [("first", before.name), ("won", after.name)]
    assert entry.event_at == pd.Timestamp(LATE[-1][2]).value // 1000
    assert entry.evidence["difference"]["ci_low"] > 0
    with challenged.opened() as opened, opened.store.read() as reader:
        assert "brand new" in load_index(reader, after).ids
    assert not challenged.compare()
    rows = challenged.tables.interactions
    known = rows[rows[Columns.TIMESTAMP] < np.datetime64("2024-03-04")][Columns.ITEM].value_counts()
    held_counts = counts(challenged)
    assert held_counts[held_counts > 0].to_dict() == known.to_dict()
    assert previous(storage) == before


def test_engagements_go_on_landing_in_the_winners_generation(challenged: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    won(challenged, monkeypatch)
    challenged.land(LATE)
    challenged.process()
    assert not challenged.compare()


def test_a_loser_changes_nothing_but_the_record(challenged: Live) -> None:
    before = require_current(challenged.storage)
    hold_contest(challenged.storage, challenged.settings, challenged.later())
    entry = act(challenged)
    assert (entry.kind, entry.generation, entry.previous) == ("lost", before.name, before.name)
    assert entry.evidence["verdict"] == "champion stays"
    assert require_current(challenged.storage) == before
    assert generations(challenged.storage) == [before]
    assert told(challenged) == [("first", before.name), ("lost", before.name)]
    assert cooling_until(challenged.storage, challenged.settings) == entry.event_at + 7 * 86_400_000_000


@pytest.mark.parametrize("wins", [True, False])
def test_a_contest_is_decided_once(challenged: Live, monkeypatch: pytest.MonkeyPatch, wins: bool) -> None:
    held(challenged, monkeypatch) if wins else held(challenged, monkeypatch, LEVEL)
    entry = act(challenged)
    again = act_on_contest(challenged.storage, challenged.settings, challenged.later())
    assert (again.entry, again.fresh) == (entry, False)
    assert len(read_record(challenged.storage)) == 2


def test_a_contest_that_is_won_when_it_is_held_again_is_decided_anew(
    challenged: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_retraining(challenged, min_cases=100_000)
    held(challenged, monkeypatch)
    assert act(challenged).kind == "lost"
    with_retraining(challenged, min_cases=1)
    assert won(challenged, monkeypatch).kind == "won"
    assert [kind for kind, _ in told(challenged)] == ["first", "lost", "won"]


def test_nobody_is_promoted_over_another_champion(challenged: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    held(challenged, monkeypatch)
    renew(challenged.storage, challenged.settings, challenged.tables, "popularity", 0, challenged.later())
    with pytest.raises(ContestError, match=r"now .* serves: run `thaw retrain`"):
        act(challenged)


def test_a_challenger_that_was_trained_again_or_is_gone_is_not_promoted(
    challenged: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    held(challenged, monkeypatch)
    before = require_current(challenged.storage)
    (one,) = read_challengers(challenged.storage)
    manifest = one.folder(challenged.storage) / "manifest.json"
    write_json(manifest, json.loads(manifest.read_text()) | {"best_epoch": 9})
    with pytest.raises(ContestError, match="was trained again since"):
        act(challenged)
    manifest.unlink()
    with pytest.raises(ContestError, match="is gone"):
        act(challenged)
    assert require_current(challenged.storage) == before


def test_an_unfair_contest_promotes_nobody_though_its_checks_did_not_run(
    challenged: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    held(challenged, monkeypatch)
    before = require_current(challenged.storage)
    monkeypatch.setattr("assets.champion.sound.knows_of_the_window", lambda *_: ["1 user ids were first seen in it"])
    with pytest.raises(ContestError, match="was not fair, nobody is promoted: 1 user ids were first seen in it"):
        act(challenged)
    assert require_current(challenged.storage) == before


def test_a_winner_whose_index_finds_too_little_does_not_serve(
    challenged: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    held(challenged, monkeypatch)
    before = require_current(challenged.storage)
    maintain = build.maintain_index

    def poor(*args: Any) -> Any:
        return replace(maintain(*args), recall=0.949)

    monkeypatch.setattr(build, "maintain_index", poor)
    entry = act(challenged)
    assert (entry.kind, entry.evidence["verdict"]) == ("lost", "index finds too little")
    assert "0.9490, wanted 0.95" in entry.evidence["reason"]
    assert require_current(challenged.storage) == before
    assert generations(challenged.storage) == [before]
    assert (entry.evidence["recall"], entry.evidence["minimum_recall"]) == (0.949, 0.95)
    with monkeypatch.context() as patched:
        patched.setattr(promoting, "_switch", lambda *_: pytest.fail("built again"))
        again = act_on_contest(challenged.storage, challenged.settings, challenged.later())
    assert (again.entry, again.fresh) == (entry, False)
    assert [kind for kind, _ in told(challenged)] == ["first", "lost"]
    settings, index = challenged.settings, challenged.settings.index
    for change in ({"queries": index.queries + 1}, {"minimum_recall": 0.94}):  # the second is enough
        challenged.settings = settings.model_copy(update={"index": index.model_copy(update=change)})
        assert act(challenged).kind == ("won" if "minimum_recall" in change else "lost")


def test_a_champion_that_changed_meanwhile_is_not_replaced(challenged: Live) -> None:
    other = require_current(challenged.storage)
    renew(challenged.storage, challenged.settings, challenged.tables, "popularity", 0, challenged.later())
    with pytest.raises(GenerationError, match="serves by now, not"):
        replace_champion(challenged.storage, challenged.settings, other, None, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("module", "step"),
    [
        (build, "write_base"),
        (build, "switch_to"),
        (build, "remove_outdated"),
        (promoting, "append"),
        (promoting, "prune"),
    ],
)
def test_a_promotion_that_was_killed_is_finished_by_the_next(
    challenged: Live, monkeypatch: pytest.MonkeyPatch, module: Any, step: str
) -> None:
    challenged.land(LATE)
    held(challenged, monkeypatch)
    before = require_current(challenged.storage)
    with monkeypatch.context() as patched:
        patched.setattr(module, step, _killed)
        with pytest.raises(KeyboardInterrupt):
            act(challenged)
    assert current(challenged.storage) is not None
    assert not challenged.compare()  # whichever serves, serves whole
    entry = act(challenged)
    after = require_current(challenged.storage)
    assert told(challenged) == [("first", before.name), ("won", after.name)]
    assert (entry.generation, entry.previous) == (after.name, before.name)
    assert not challenged.compare()


def test_a_rollback_brings_the_former_one_up_to_date_and_twice_comes_back(
    challenged: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = require_current(challenged.storage)
    won(challenged, monkeypatch)
    winner = require_current(challenged.storage)
    challenged.land(LATE)
    challenged.process()
    add_removed(challenged.storage, users=["u02"], items=["i04"])
    entry = back(challenged)
    assert require_current(challenged.storage) == first
    assert (entry.kind, entry.generation, entry.previous) == ("rollback", first.name, winner.name)
    with challenged.opened() as opened, opened.store.read() as reader:
        ids = load_index(reader, first).ids
        assert "brand new" in ids
        assert "i04" not in ids
    assert not challenged.compare()
    assert back(challenged).generation == winner.name
    assert not challenged.compare()
    assert told(challenged)[-2:] == [("rollback", first.name), ("rollback", winner.name)]


def test_a_contest_that_was_rolled_back_promotes_nobody_again(
    challenged: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    won(challenged, monkeypatch)
    entry = back(challenged)
    assert not act_on_contest(challenged.storage, challenged.settings, challenged.later()).fresh
    assert require_current(challenged.storage).name == entry.generation


@pytest.mark.parametrize("step", ["bring_back", "append"])
def test_a_rollback_that_was_killed_is_finished_not_undone(
    challenged: Live, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    first = require_current(challenged.storage)
    won(challenged, monkeypatch)
    with monkeypatch.context() as patched:
        patched.setattr(promoting, step, _killed)
        with pytest.raises(KeyboardInterrupt):
            back(challenged)
    assert back(challenged).generation == first.name
    assert require_current(challenged.storage) == first
    assert [kind for kind, _ in told(challenged)] == ["first", "won", "rollback"]
    assert not (challenged.storage.champion / "rollback.json").exists()


def test_there_has_to_be_something_to_go_back_to(challenged: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GenerationError, match="no generation before"):
        back(challenged)
    won(challenged, monkeypatch)
    former = previous(challenged.storage)
    assert former is not None
    record = json.loads((former.folder / "generation.json").read_text())
    write_json(former.folder / "generation.json", record | {"format": 1})
    with pytest.raises(GenerationError, match="has format 1, this version reads 2: there is nothing to go back to"):
        back(challenged)
    assert [kind for kind, _ in told(challenged)] == ["first", "won"]


def test_going_back_to_an_index_that_finds_too_little_is_refused(
    challenged: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    won(challenged, monkeypatch)
    winner = require_current(challenged.storage)
    index = challenged.settings.index.model_copy(update={"minimum_recall": 1.01})
    challenged.settings = challenged.settings.model_copy(update={"index": index})
    with pytest.raises(RecallError, match="what serves serves on"):
        back(challenged)
    assert require_current(challenged.storage) == winner


def test_thaw_run_keeps_a_winner_unless_told_otherwise(challenged: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, settings = challenged.storage, challenged.settings
    won(challenged, monkeypatch)
    assert reason_to_build(storage, settings) is None
    assert f"of {MODEL}, won a contest and is kept" in str(won_contest(storage))
    chosen = reason_to_build(storage, settings, replace=True)
    assert chosen is not None
    assert (chosen.model, "serves another checkpoint" in chosen.reason) == (MODEL, True)
    generation = require_current(storage)
    record = json.loads((generation.folder / "generation.json").read_text())
    write_json(generation.folder / "generation.json", record | {"format": 1})
    assert won_contest(storage) is None
    assert "format 1" in reason_to_build(storage, settings).reason
    (generation.folder / "generation.json").unlink()
    assert "is incomplete" in reason_to_build(storage, settings).reason


def test_a_contest_in_a_replay_ends_with_it(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """The winner's generation is the replay's: it holds what the replay landed, so it cannot serve on without."""
    storage, settings = live.storage, live.settings
    start_replay(storage, settings, live.tables, MODEL, 0, live.later())
    rows = live.tables.interactions
    test = rows[rows[Columns.TIMESTAMP] >= live.tables.cutoff]
    live.land([(row.user_id, row.item_id, row.timestamp.isoformat()) for row in test.itertuples()])
    live.process()
    with_retraining(live)
    make_challenger(storage, live.settings, MODEL, live.later())
    with pytest.raises(GenerationError, match="end the replay first"):
        back(live)
    entry = won(live, monkeypatch)
    generation = require_current(storage)
    assert (entry.kind, generation.record().until is not None) == ("won", True)
    assert not live.compare()
    assert reason_to_build(storage, live.settings) is None
    back(live)
    back(live)
    end_replay(storage)
    assert "a replay, which is over" in str(needs_build(storage, read_manifest(storage, MODEL, 0)))
    assert reason_to_build(storage, live.settings) is not None
    renew(storage, live.settings, live.tables, MODEL, 0, live.later())
    with pytest.raises(GenerationError, match="a replay, which is over: there is nothing to go back to"):
        back(live)
    assert not live.compare()


def _killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt
