"""Contests: who meets whom, on what, and what is written of it; and what must hold before anybody is promoted."""

import json

import numpy as np
import pandas as pd
import pytest

from assets.champion import contest, grounds, sound
from assets.champion.challenger import make_challenger
from assets.champion.contest import compared, difference, hold_contest, latest_contest
from assets.champion.files import contest_path, contest_ranks_path, read_challengers, write_challenger
from assets.champion.grounds import ContestError, grounds_of
from assets.champion.sound import future_reports, knows_of_the_window, unlike_cases
from assets.config import Settings
from assets.metrics import ndcg
from assets.schema import Columns
from assets.serving.live.build import renew
from assets.serving.live.generation import require_current
from assets.storage import read_parquet, write_json
from assets.training.checkpoints import checkpoint_digest, recommender_in
from tests.assets.champion.held import LEVEL, held, with_retraining
from tests.assets.serving.live.conftest import MODEL, NOW, Live


def test_everyone_is_ranked_on_every_case_of_the_window(challenged: Live) -> None:
    account = hold_contest(challenged.storage, challenged.settings, NOW).account
    ranks = read_parquet(contest_ranks_path(challenged.storage, account["name"]))
    rows = challenged.tables.interactions
    window = rows[rows[Columns.TIMESTAMP] >= np.datetime64("2024-03-04")]
    first = ~rows.sort_values(Columns.TIMESTAMP).duplicated([Columns.USER, Columns.ITEM])
    assert account["cases"] == int(first.loc[window.index].sum()) == account["available"]
    assert set(ranks.groupby("contender").size()) == {account["cases"]}
    assert set(ranks["contender"]) == {"champion", "challenger", "floor"}
    assert account["compared"] == int(ranks.loc[ranks["contender"] == "floor", "has_history"].sum())
    known = ranks[(ranks["contender"] == "challenger") & ranks["has_history"]]
    expected = ndcg(known["above"].to_numpy(), known["tied"].to_numpy(), 10).mean()
    shown = pd.DataFrame(account["metrics"]).set_index(["contender", "slice", "metric", "k"])["value"]
    assert shown["challenger", "overall", "ndcg", 10] == pytest.approx(expected)
    told = shown["challenger", "overall", "ndcg", 10] - shown["champion", "overall", "ndcg", 10]
    assert account["difference"]["value"] == pytest.approx(told)
    assert {"coverage", "hr", "ndcg", "perplexity", "train_frequency"} == set(
        pd.DataFrame(account["metrics"])["metric"]
    )
    assert latest_contest(challenged.storage) == account
    json.loads(contest_path(challenged.storage, account["name"]).read_text(), parse_constant=pytest.fail)


def test_a_challenger_that_learned_the_same_is_not_better(challenged: Live) -> None:
    """The tiny champion was trained until the window too, with another validation tail."""
    account = hold_contest(challenged.storage, challenged.settings, NOW).account
    assert account["difference"]["ci_low"] <= 0 <= account["difference"]["ci_high"]
    assert (account["verdict"], account["promoted"]) == ("champion stays", False)
    assert account["champion"]["checkpoint"] != account["challenger"]["checkpoint"]


def test_the_same_contest_has_the_same_name_and_numbers(challenged: Live) -> None:
    first = hold_contest(challenged.storage, challenged.settings, NOW).account
    again = hold_contest(challenged.storage, challenged.settings, NOW + 1).account
    assert again | {"at": NOW} == first
    challenged.land([("u01", "i03", "2024-03-06T23:45:00")])
    challenged.process()
    assert hold_contest(challenged.storage, challenged.settings, NOW).account["name"] != first["name"]


def test_a_difference_is_the_mean_over_cases_of_users_with_history() -> None:
    frame = pd.DataFrame(
        {
            "contender": ["champion"] * 3 + ["challenger"] * 3,
            "user_id": ["a", "b", "c"] * 2,
            "item_id": ["x", "y", "z"] * 2,
            "source_row": [0, 1, 2] * 2,
            "window": 0,
            "slice": "head",
            "engagements_seen": 1,
            "has_history": [True, True, False] * 2,
            "above": [99, 99, 0, 0, 99, 99],
            "tied": 0,
            "nll": 1.0,
            "seed": 0,
        }
    )
    found = difference(frame, "challenger", "champion", Settings())
    assert found is not None
    assert found.value == pytest.approx(0.5)
    assert compared(frame) == 2
    assert difference(frame.assign(has_history=False), "challenger", "champion", Settings()) is None


def test_of_many_cases_some_are_drawn_alike(challenged: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contest, "MOST_CASES", 20)
    one, two = (hold_contest(challenged.storage, challenged.settings, NOW) for _ in range(2))
    assert (one.account["cases"], one.account["available"] > 20) == (20, True)
    pd.testing.assert_frame_equal(one.ranks, two.ranks)


def test_the_best_challenger_by_validation_meets_the_champion(challenged: Live) -> None:
    storage = challenged.storage
    make_challenger(storage, challenged.settings, "gru", NOW)
    best = max(read_challengers(storage), key=lambda one: one.validation["ndcg@10"])
    account = held(challenged, pytest.MonkeyPatch()).account
    assert account["challenger"]["model"] == best.model
    assert {one["model"] for one in account["field"]} == {MODEL, "gru"}
    for one in read_challengers(storage):
        value = float("nan") if one.checkpoint == best.checkpoint else 0.0
        write_challenger(storage, one.model_copy(update={"validation": {"ndcg@10": value}}))
    assert held(challenged, pytest.MonkeyPatch()).account["challenger"]["model"] != best.model


def test_a_champion_that_was_trained_on_the_window_is_not_compared(live: Live) -> None:
    with_retraining(live, window_days=3)  # from the 3rd on, and the champion was trained until the 4th
    make_challenger(live.storage, live.settings, MODEL, NOW)
    account = hold_contest(live.storage, live.settings, NOW).account
    assert (account["verdict"], account["promoted"], account["cases"]) == ("not comparable", False, 0)
    assert "trained on engagements until 2024-03-04T00:00:00.000000Z" in account["reason"]
    assert not contest_ranks_path(live.storage, account["name"]).exists()


def test_too_few_cases_promote_nobody(challenged: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    with_retraining(challenged, min_cases=100_000)
    account = held(challenged, monkeypatch).account
    assert (account["verdict"], account["promoted"]) == ("too few cases", False)
    assert account["cases"] > 0


def test_without_a_challenger_there_is_no_contest(live: Live) -> None:
    with pytest.raises(ContestError, match=r"no challenger of .* trained until 2024-03-04"):
        grounds_of(live.storage, with_retraining(live).settings)


def test_challengers_of_long_ago_do_not_count(challenged: Live) -> None:
    challenged.land([("u01", "i03", "2024-03-08T01:00:00")])
    challenged.process()
    assert grounds_of(challenged.storage, challenged.settings).starts_at == np.datetime64("2024-03-04")
    challenged.land([("u01", "i04", "2024-03-12T01:00:00")])
    challenged.process()
    with pytest.raises(ContestError, match="trained until 2024-03-10"):
        grounds_of(challenged.storage, challenged.settings)


def test_another_champion_wants_another_challenger(challenged: Live) -> None:
    renew(challenged.storage, challenged.settings, challenged.tables, "popularity", 0, challenged.later())
    with pytest.raises(ContestError, match="there is no challenger"):
        grounds_of(challenged.storage, challenged.settings)
    make_challenger(challenged.storage, challenged.settings, MODEL, NOW)
    account = hold_contest(challenged.storage, challenged.settings, NOW).account
    assert (account["champion"]["model"], account["challenger"]["model"]) == ("popularity", MODEL)
    assert account["champion"]["generation"] == require_current(challenged.storage).name


def test_no_contest_no_account(live: Live) -> None:
    with pytest.raises(ContestError, match="no contest was held"):
        latest_contest(live.storage)


def test_an_honest_challenger_knows_nothing_of_the_window(challenged: Live) -> None:
    found = grounds_of(challenged.storage, challenged.settings)
    assert knows_of_the_window(challenged.storage, found) == []


def test_a_challenger_that_saw_the_window_is_found_out(challenged: Live) -> None:
    """Trained until later than its account says: its bounds tell, and its id map names items of the window."""
    storage = challenged.storage
    (one,) = read_challengers(storage)
    with_retraining(challenged, window_days=0.5)
    late = make_challenger(storage, challenged.settings, MODEL, NOW).challenger
    assert late.trained_until > one.trained_until
    found = grounds_of(storage, challenged.settings)
    early = np.datetime64(one.trained_until, "us")
    lying = grounds.Grounds(**{**vars(found), "starts_at": early})
    problems = knows_of_the_window(storage, lying)
    assert any(problem.startswith("cutoff 2024-03-06") for problem in problems)
    assert any("item ids were first seen in the window" in problem for problem in problems)
    folder = late.folder(storage)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["bounds"] = {"cutoff": str(early), "validation_start": str(early)}
    write_json(folder / "manifest.json", manifest)
    assert checkpoint_digest(manifest) != late.checkpoint
    (only,) = knows_of_the_window(storage, lying)
    assert "item ids" in only


def test_contenders_with_other_cases_are_found_out(challenged: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    done = held(challenged, monkeypatch, LEVEL)
    assert unlike_cases(done.ranks, done.account) == []
    row = np.flatnonzero(done.ranks["contender"] == "challenger")[0]
    (problem, count) = unlike_cases(done.ranks.drop(index=row), done.account)
    assert problem == "challenger was ranked on other cases than the champion"
    assert f"the account {done.account['cases']}" in count
    other = done.ranks.copy()
    other.loc[row, "item_id"] = "another"
    assert unlike_cases(other, done.account) == ["challenger was ranked on other cases than the champion"]


def test_ranks_do_not_change_when_the_future_is_removed(challenged: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    found = grounds_of(challenged.storage, challenged.settings)
    reports = future_reports(challenged.storage, found, challenged.settings, 20)
    assert {name: report.changed for name, report in reports.items()} == {"champion": 0, "challenger": 0}
    assert all(report.compared == 20 for report in reports.values())

    def ahead(folder: object, tables: object) -> object:
        """Keeps the tables that it was loaded over, and counts all of them."""
        made = recommender_in(folder, tables)
        first = made.item_vectors
        monkeypatch.setattr(
            made, "item_vectors", lambda known, instant: first(tables.stream, tables.stream.timestamps[-1])
        )
        return made

    monkeypatch.setattr(sound, "recommender_in", ahead)
    changed = future_reports(challenged.storage, found, challenged.settings, 20)
    assert all(report.changed > 0 for report in changed.values())
