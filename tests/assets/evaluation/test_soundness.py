"""The checks' pure functions on results that are wrong, and on a model that looks ahead."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from assets.config import Protocol
from assets.evaluation.protocol import build_cases
from assets.evaluation.slices import metrics_frame
from assets.evaluation.soundness import future_report, missing_windows, unsound_rows, without_future
from assets.ranking import Recommender
from assets.schema import ItemEmbeddings, UserHistory
from assets.storage import Storage
from assets.stream import DatasetTables, EngagementStream, Queries, load_tables
from assets.training.counting import CountDecayed, CountingRecommender
from tests.assets.evaluation.toy import random_ranks, toy_rows
from tests.support import interactions_frame, write_tables

FROZEN = Protocol(user_history=UserHistory.FROZEN, item_embeddings=ItemEmbeddings.FROZEN)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return write_tables(tmp_path, interactions_frame(toy_rows()), "2020-01-07", "2020-01-06")


class LooksAhead:
    """Ignores what it is handed at a refresh and counts the whole stream it was loaded with."""

    history_length = 1

    def __init__(self, tables: DatasetTables) -> None:
        self.counts = np.bincount(tables.stream.items, minlength=tables.stream.n_items)

    def item_vectors(self, known: EngagementStream, instant: np.datetime64) -> Tensor:
        return torch.from_numpy(self.counts).float()[:, None]

    def user_vectors(self, queries: Queries, items: Tensor) -> Tensor:
        return torch.ones(len(queries), 1)


def decayed(tables: DatasetTables) -> Recommender:
    return CountingRecommender(CountDecayed(), 0.02, tables.cutoff)


def test_a_model_that_looks_ahead_is_found_out(storage: Storage):
    tables = load_tables(storage)
    case_set = build_cases(storage.read_table("test_cases"), tables)
    report = future_report(LooksAhead, decayed(tables), case_set, tables, (Protocol(), FROZEN))
    assert report.compared >= 40
    assert report.changed > 5


def test_a_model_that_does_not_look_ahead_passes(storage: Storage):
    tables = load_tables(storage)
    case_set = build_cases(storage.read_table("test_cases"), tables)
    report = future_report(decayed, decayed(tables), case_set, tables, (Protocol(), FROZEN), limit=10)
    assert (report.compared, report.changed) == (20, 0)


def test_without_future_keeps_users_and_items(storage: Storage):
    tables = load_tables(storage)
    instant = np.datetime64("2020-01-08", "us")
    past = without_future(tables, instant)
    assert past.stream.timestamps.max() < instant
    assert len(past.interactions) == len(past.stream) < len(tables.stream)
    assert (past.stream.n_users, past.stream.n_items) == (tables.stream.n_users, tables.stream.n_items)


@pytest.mark.parametrize(
    ("column", "value"),
    [("value", np.nan), ("value", 1.1), ("ci_low", -0.1), ("ci_high", np.inf), ("ci_low", 1.0), ("n", 0)],
)
def test_wrong_numbers_are_unsound(column: str, value: float):
    metrics = metrics_frame(random_ranks(), (10,), 20, 0)
    assert unsound_rows(metrics).empty
    metrics.loc[1, column] = value
    assert unsound_rows(metrics).index.tolist() == [1]


@pytest.mark.parametrize(
    ("metric", "value", "sound"),
    [
        ("nll", 9.0, True),
        ("perplexity", 8000.0, True),
        ("hr", 9.0, False),
        ("perplexity", 0.9, False),
        ("nll", -0.1, False),
    ],
)
def test_every_metric_has_its_range(metric: str, value: float, sound: bool):
    metrics = metrics_frame(random_ranks(), (10,), 20, 0)
    row = metrics.index[metrics["metric"] == metric][0]
    metrics.loc[row, ["ci_low", "value", "ci_high"]] = value
    assert unsound_rows(metrics).index.tolist() == ([] if sound else [row])


def test_missing_columns_are_named():
    metrics = metrics_frame(random_ranks(), (10,), 5, 0)
    with pytest.raises(KeyError, match="lack ci_low, n"):
        unsound_rows(metrics.drop(columns=["ci_low", "n"]))


def test_missing_windows_are_named():
    metrics = metrics_frame(random_ranks(), (10,), 5, 0)
    assert missing_windows(metrics, ["m"], [Protocol()], [0, 1, 2]) == []
    assert missing_windows(metrics, ["m"], [Protocol()], [2, 3]) == ["m rolling/refreshed 3"]
    assert missing_windows(metrics, ["m"], [FROZEN], [0]) == ["m frozen/frozen 0"]
    assert missing_windows(metrics, ["other"], [Protocol()], [0]) == ["other rolling/refreshed 0"]
