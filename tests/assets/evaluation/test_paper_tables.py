"""Tables laid out like the papers', from metrics written by hand."""

import math

import pandas as pd
import pytest

from assets.config import Protocol, SampledConfig, SplitConfig
from assets.evaluation.board import Board
from assets.evaluation.paper_tables import (
    head_words,
    leave_one_out_table,
    published_full,
    sampled_boards,
    sampled_table,
    sampled_windows,
)
from assets.evaluation.sampled.cases import LEGACY, SAMPLED
from assets.schema import SEED_MEAN_COLUMNS, UserHistory

FROZEN = Protocol(user_history=UserHistory.FROZEN)


def means_row(model: str, slice_name: str, metric: str, k: int, value: float, **other: object) -> dict[str, object]:
    """A row of the metrics over seeds; an interval of 0.01 to both sides."""
    held = {
        "dataset": "ml-100k",
        "model": model,
        "seeds": 1,
        "protocol": SAMPLED,
        "user_history": "frozen",
        "item_embeddings": "refreshed",
        "window": "0",
        "slice": slice_name,
        "metric": metric,
        "k": k,
        "value": value,
        "ci_low": value - 0.01,
        "ci_high": value + 0.01,
        "n": 200,
        "standard_error": math.nan,
    }
    return {**held, **other}


def means(*models: str, metrics: tuple[tuple[str, int], ...] = (("hr", 10), ("ndcg", 10)), **other: object):
    """Values that differ in every cell: models by 0.1, slices by 0.01, metrics by 0.001."""
    slices = ("overall", "head", "tail", "cold", "tail_and_cold")
    rows = [
        means_row(model, name, metric, k, 0.1 * (place + 1) + 0.01 * row + 0.001 * column, **other)
        for place, model in enumerate(models)
        for row, name in enumerate(slices)
        for column, (metric, k) in enumerate(metrics)
    ]
    return pd.DataFrame(rows)[list(SEED_MEAN_COLUMNS)]


def test_sampled_table_by_hand():
    board = sampled_table(means("a", "b"), SAMPLED, FROZEN, 100)
    assert board.headers == [
        "method", "source", "Overall HR@10", "Overall NDCG@10", "Tail HR@10", "Tail NDCG@10", "Head HR@10",
        "Head NDCG@10",
    ]  # fmt: skip
    assert board.rows == [
        ["a", "ours", "0.1000", "0.1010", "0.1400", "0.1410", "0.1100", "0.1110"],
        ["b", "ours", "0.2000", "0.2010", "0.2400", "0.2410", "0.2100", "0.2110"],
        ["cases", "ours", *["200"] * 6],
    ]
    assert board.best == {(1, column) for column in range(2, 8)}
    assert board.title == "ml-100k: sampled, frozen user history, refreshed items, window 0"


def test_published_rows_stand_under_the_mimicking_protocol_in_the_first_window_only():
    frame = pd.concat([means("a", protocol=LEGACY), means("a", protocol=LEGACY, window="all"), means("a")])
    rows = sampled_table(frame, LEGACY, FROZEN, 100).rows
    assert rows[2] == [
        "random", "public reference code, run on this data", "0.0990", "0.0450", "0.0990", "-", "0.0990", "-",
    ]  # fmt: skip
    assert len(rows) == 2 + 9
    assert len(sampled_table(frame, LEGACY, FROZEN, 100, window="all").rows) == 2
    assert len(sampled_table(frame, SAMPLED, FROZEN, 100).rows) == 2
    for board in (sampled_table(frame, LEGACY, FROZEN, 100), sampled_table(frame, LEGACY, FROZEN, 100, "all")):
        assert "For comparison with published tables only" in board.markdown()
        assert "For comparison with published tables only" in board.text()


def test_seeds_and_few_cases_are_marked():
    frame = means("a", n=40, standard_error=0.0123, seeds=3)
    board = sampled_table(frame, SAMPLED, FROZEN, 100)
    assert board.rows[0][2] == "0.1000 ± 0.0123"
    assert board.rows[1][2] == "40†"
    assert any("fewer than 100 cases" in note for note in board.notes)
    assert any("standard error over seeds" in note for note in board.notes)


def test_a_cell_that_one_model_lacks_is_empty_and_nobodys_best():
    frame = means("a", "b")
    frame = frame[~((frame["model"] == "b") & (frame["slice"] == "head"))]
    board = sampled_table(frame, SAMPLED, FROZEN, 100)
    assert board.rows[1][6:] == ["", ""]
    assert board.best == {(1, column) for column in range(2, 6)}


def left_out(board: Board | None) -> str:
    """Why a table is left out; both renderings have its title and this, and no table."""
    assert board is not None
    (note,) = board.notes
    assert board.markdown() == f"### {board.title}\n\n- {note}\n"
    assert board.text() == f"{board.title}\n\n{note}\n"
    return note


def test_a_table_without_numbers_is_left_out_and_says_why():
    other = (("hr", 5), ("ndcg", 5))
    whole = Protocol()
    unranked = sampled_table(means("a"), LEGACY, FROZEN, 100)
    assert unranked.title == "ml-100k: sampled_legacy, frozen user history, refreshed items, window 0"
    assert left_out(unranked) == "This table is left out: no case was ranked so."
    words = "This table is left out: it shows {}, and {} does not list {}."
    told = words.format("hr@10, ndcg@10", "sampled.ks", 10)
    assert left_out(sampled_table(means("a", metrics=other), SAMPLED, FROZEN, 100)) == told
    told = words.format("hr@10", "sampled.ks", 10)
    assert left_out(sampled_windows(means("a", metrics=other), SAMPLED, FROZEN, "head", 100)) == told
    full = means("a", metrics=other, protocol="full", user_history="rolling", window="all")
    told = words.format("hr@50, ndcg@50", "evaluation.ks", 50)
    assert left_out(leave_one_out_table(full, whole, 100, "some")) == told
    told = words.format("hr@10, ndcg@10", "evaluation.ks", 10)
    assert left_out(published_full(full.assign(window="0"), whole, "full", "0")) == told


def test_a_bucket_without_cases_costs_its_table_by_window_alone():
    runs = ((SAMPLED, "refreshed"), (LEGACY, "refreshed"), (LEGACY, "frozen"))
    frame = pd.concat([means("a", protocol=protocol, item_embeddings=items) for protocol, items in runs])
    frame = frame[frame["slice"].isin(["overall", "head"])]
    boards = sampled_boards(frame, SampledConfig(protocols=(FROZEN,)), 100)
    assert [bool(board.headers) for board in boards] == [True, True, True, False, True, False, True]
    for board in boards[3::2]:
        assert "HR@10 tail by window" in board.title
        assert left_out(board) == "This table is left out: no case is in tail."
    assert boards[0].rows[0][4:6] == ["", ""], "the columns of a bucket without cases are empty"


def test_leave_one_out_table_by_hand():
    frame = means(
        "a", metrics=(("hr", 50), ("ndcg", 50)), protocol="full", user_history="rolling", window="all",
        standard_error=0.0004, dataset="book-crossing",
    )  # fmt: skip
    board = leave_one_out_table(frame, Protocol(), 100, "the 0.001 most frequent share of items")
    assert board.headers[2:] == [
        "Overall HR@50", "Overall NDCG@50", "Head HR@50", "Head NDCG@50", "Tail HR@50", "Tail NDCG@50",
    ]  # fmt: skip
    assert board.rows[0] == [
        "a", "ours", "10.00 ± 0.04", "10.10 ± 0.04", "11.00 ± 0.04", "11.10 ± 0.04", "14.00 ± 0.04", "14.10 ± 0.04",
    ]  # fmt: skip
    assert board.rows[2] == [
        "Two-tower", "Zhang et al., KDD 2023, Table 3", "2.32 ± 0.45", "0.81 ± 0.17", "19.76 ± 4.62", "7.58 ± 1.81",
        "0.72 ± 0.08", "0.19 ± 0.02",
    ]  # fmt: skip
    assert "Head: the 0.001 most frequent share of items" in board.notes[0]


def test_windows_with_the_published_series_below():
    frames = [means("a", protocol=LEGACY, window=str(window), n=90 + 10 * window) for window in range(5)]
    board = sampled_windows(pd.concat(frames), LEGACY, FROZEN, "head", 100)
    assert board.rows[0] == ["a", "ours", *["0.110 [0.100, 0.120]"] * 5]
    assert board.rows[1] == ["cases", "", "90†", "100", "110", "120", "130"]
    assert board.rows[2][0] == "SASRec (300 steps)"
    assert board.rows[2][2:] == ["0.481", "0.430", "0.378", "0.358", "0.323"]
    assert len(sampled_windows(pd.concat(frames[:3]), LEGACY, FROZEN, "head", 100).rows) == 2  # another windowing


def test_every_rendering_of_the_mimicking_protocol_says_what_it_is_for():
    frames = [means("a", protocol=LEGACY, window=str(window)) for window in range(2)]
    board = sampled_windows(pd.concat(frames), LEGACY, FROZEN, "tail_and_cold", 100)
    assert "For comparison with published tables only" in board.markdown()


@pytest.mark.parametrize(
    ("split", "words"),
    [
        (SplitConfig(), "items with more than 10 train engagements"),
        (SplitConfig(head_rule="pareto"), "the most frequent 20% of the items"),
        (SplitConfig(head_rule="pareto", head_share=0.001), "the most frequent 0.1% of the items"),
    ],
)
def test_head_in_words(split: SplitConfig, words: str):
    assert head_words(split) == words


def test_full_ranking_beside_the_reference_code():
    frame = means("a", protocol="full", user_history="rolling")
    board = published_full(frame, Protocol(), "full", "0")
    assert board is not None
    assert [row[0] for row in board.rows] == [
        "a",
        "cases",
        "SASRec",
        "IHM, H = 1",
        "popularity (last 10 % of train time)",
    ]
    assert board.rows[2][2:] == ["0.0400", "-"]
    assert published_full(frame.assign(dataset="simulated"), Protocol(), "full", "0") is None


def test_perplexity_beside_the_hrnn_paper():
    frame = means("a", "b", metrics=(("perplexity", 0),), dataset="ml-20m", protocol="full", user_history="rolling")
    board = published_full(frame.assign(window="all"), Protocol(), "held_out_users", "all")
    assert board is not None
    assert board.headers == ["method", "source", "Overall perplexity"]
    assert [row[0] for row in board.rows[:2]] == ["a", "b"]
    assert board.best == {(0, 2)}, "lower is better"
    assert [row[2] for row in board.rows[3:]] == ["2,228.0", "1,342.0", "447.0", "410.0", "455.0", "494.0"]
    assert "Perplexity: lower is better." in board.notes
    assert published_full(frame.assign(window="all", dataset="ml-100k"), Protocol(), "held_out_users", "all") is None


def test_published_rows_of_one_split_stand_beside_no_other():
    frame = pd.concat([means("a", protocol=LEGACY, window=str(window)) for window in range(5)])
    assert len(sampled_table(frame, LEGACY, FROZEN, 100).rows) == 2 + 9
    assert len(sampled_table(frame, LEGACY, FROZEN, 100, kind="quantile").rows) == 2
    assert len(sampled_windows(frame, LEGACY, FROZEN, "head", 100).rows) == 3
    assert len(sampled_windows(frame, LEGACY, FROZEN, "head", 100, "fraction").rows) == 2


def test_every_run_has_its_table():
    config = SampledConfig()
    frames = [
        means("a", protocol=protocol, user_history=users, item_embeddings=items, window=window)
        for protocol in (SAMPLED, LEGACY)
        for users, items in (("rolling", "refreshed"), ("frozen", "refreshed"), ("frozen", "frozen"))
        for window in ("0", "1", "all")
    ]
    titles = [board.title for board in sampled_boards(pd.concat(frames), config, 100)]
    assert len(titles) == len(set(titles)) == 3 + 2 + 2 * 2
