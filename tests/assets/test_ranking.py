"""Full ranking against a slow loop over plain Python numbers, and the rules one by one."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from assets import ranking
from assets.config import Protocol
from assets.ranking import Cases, Ranks, rank_cases
from assets.schema import ItemEmbeddings, UserHistory
from assets.stream import DatasetTables, EngagementStream, Queries, load_tables
from tests.support import interactions_frame, write_tables

CUTOFF = "2020-01-05"
HEADLINE = Protocol()
EVERY_PROTOCOL = [Protocol(user_history=user, item_embeddings=item) for user in UserHistory for item in ItemEmbeddings]


class Toy:
    """Depends on all a recommender may see; small integers, so scores are exact and often tie."""

    history_length = 3

    def item_vectors(self, known: EngagementStream, instant: np.datetime64) -> Tensor:
        counts = np.bincount(known.items, minlength=known.n_items)
        return torch.tensor(np.stack([counts, np.arange(known.n_items) % 3], axis=1), dtype=torch.float32)

    def user_vectors(self, queries: Queries, items: Tensor) -> Tensor:
        total = np.where(queries.history_items < 0, 0, queries.history_items).sum(axis=1)
        return torch.tensor(np.stack([np.ones(len(queries)), total % 5 - 2], axis=1), dtype=torch.float32)


class Recent:
    """The fallback: engagements of the last two days."""

    history_length = 1

    def item_vectors(self, known: EngagementStream, instant: np.datetime64) -> Tensor:
        recent = known.items[known.timestamps >= instant - np.timedelta64(2, "D")]
        return torch.tensor(np.bincount(recent, minlength=known.n_items)[:, None], dtype=torch.float32)

    def user_vectors(self, queries: Queries, items: Tensor) -> Tensor:
        return torch.ones(len(queries), 1)


def make_tables(root: Path, seed: int = 0) -> DatasetTables:
    """18 users, 14 items, nine days, whole hours, so that many timestamps are equal; items and users join over time."""
    generator = np.random.default_rng(seed)
    rows, seen = [], set()
    for _ in range(220):
        hour = int(generator.integers(0, 24 * 9))
        user = int(generator.integers(0, 6 + hour // 16))
        item = int(generator.integers(0, 6 + hour // 26))
        if (user, item) not in seen:
            seen.add((user, item))
            rows.append((f"u{user}", f"i{item:02d}", str(pd.Timestamp("2020-01-01") + pd.Timedelta(hour, "h"))))
    return load_tables(write_tables(root, interactions_frame(rows), CUTOFF, "2020-01-04"))


def rows_to_predict(tables: DatasetTables) -> np.ndarray:
    return np.flatnonzero(tables.stream.timestamps >= tables.cutoff)


def cases_of(tables: DatasetTables, rows: np.ndarray) -> Cases:
    stamps = tables.stream.timestamps[rows]
    days = stamps.astype("datetime64[D]").astype("datetime64[us]")
    return Cases(tables.stream.users[rows], tables.stream.items[rows], stamps, days)


def slow_ranks(tables: DatasetTables, cases: Cases, protocol: Protocol) -> list[tuple[int, int, bool, float]]:
    stream, n_items = tables.stream, len(tables.catalog)
    log = list(zip(stream.users.tolist(), stream.items.tolist(), stream.timestamps.tolist(), strict=True))
    available, cutoff = tables.catalog.available_at.tolist(), tables.cutoff.tolist()
    day = pd.Timedelta(1, "D").to_pytimedelta()
    result = []
    for user, target, now, refresh in zip(
        cases.users.tolist(), cases.items.tolist(), cases.timestamps.tolist(), cases.refresh_at.tolist(), strict=True
    ):
        embedded = cutoff if protocol.item_embeddings is ItemEmbeddings.FROZEN else refresh
        known_until = cutoff if protocol.user_history is UserHistory.FROZEN else now
        history = [item for who, item, when in log if who == user and when < known_until]
        seen = {item for who, item, when in log if who == user and when < now}
        if history:
            taste = sum(history[-3:]) % 5 - 2
            counts = [sum(i == item and when < embedded for _, i, when in log) for item in range(n_items)]
            scores = [float(counts[item] + taste * (item % 3)) for item in range(n_items)]
        else:
            scores = [
                float(sum(i == item and embedded - 2 * day <= when < embedded for _, i, when in log))
                for item in range(n_items)
            ]
        rivals = [i for i in range(n_items) if available[i] <= refresh and i not in seen and i != target]
        above = sum(scores[item] > scores[target] for item in rivals)
        tied = sum(scores[item] == scores[target] for item in rivals)
        logits = math.log(sum(math.exp(scores[item]) for item in [*rivals, target]))
        result.append(
            (above, tied, bool(history), logits - scores[target] if available[target] <= refresh else math.nan)
        )
    return result


def ranks_of(tables: DatasetTables, cases: Cases, protocol: Protocol = HEADLINE) -> Ranks:
    return rank_cases(Toy(), Recent(), cases, tables.stream, tables.catalog, protocol, tables.cutoff)


@pytest.mark.parametrize("protocol", EVERY_PROTOCOL, ids=lambda p: f"{p.user_history}-{p.item_embeddings}")
@pytest.mark.parametrize("chunk", [1, 30, 1_000_000])
def test_agrees_with_a_slow_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: Protocol, chunk: int):
    monkeypatch.setattr(ranking, "SCORES_PER_CHUNK", chunk)
    monkeypatch.setattr(ranking, "CASES_PER_CHUNK", 1)
    monkeypatch.setattr(ranking, "QUERIES_PER_BATCH", 7)
    monkeypatch.setattr(ranking, "USERS_PER_CALL", 3)
    tables = make_tables(tmp_path)
    cases = cases_of(tables, rows_to_predict(tables))
    got = ranks_of(tables, cases, protocol)
    expected = slow_ranks(tables, cases, protocol)
    above, tied, has_history, nll = zip(*expected, strict=True)
    assert (got.above.tolist(), got.tied.tolist(), got.has_history.tolist()) == (
        *(list(above), list(tied), list(has_history)),
    )
    np.testing.assert_allclose(got.nll, nll, rtol=1e-5, atol=1e-5)
    assert 0 < np.isnan(got.nll).sum() < len(cases) / 2


def test_the_data_of_these_tests_has_what_the_rules_are_about(tmp_path: Path):
    tables = make_tables(tmp_path)
    cases = cases_of(tables, rows_to_predict(tables))
    ranks = ranks_of(tables, cases)
    assert (ranks.tied > 0).sum() > 20
    assert 0 < (~ranks.has_history).sum() < len(cases) / 2
    assert (tables.catalog.available_at[cases.items] > cases.refresh_at).any()
    assert len(np.unique(cases.timestamps)) < len(cases)


def slow_list(tables: DatasetTables, cases: Cases, row: int, scores: np.ndarray) -> list[float]:
    """Scores of the list, the best first."""
    stream, now = tables.stream, cases.timestamps[row]
    seen = set(stream.items[(stream.users == cases.users[row]) & (stream.timestamps < now)].tolist())
    allowed = [item for item in tables.catalog.rows_at(cases.refresh_at[row]).tolist() if item not in seen]
    return sorted((float(scores[item]) for item in allowed), reverse=True)


@pytest.mark.parametrize("length", [3, 12])
def test_lists_hold_the_best_unseen_items_of_the_catalog(tmp_path: Path, length: int):
    tables, model = make_tables(tmp_path), Toy()
    cases = cases_of(tables, rows_to_predict(tables))
    ranks = rank_cases(
        model, Recent(), cases, tables.stream, tables.catalog, HEADLINE, tables.cutoff, list_length=length
    )
    assert ranks.listed.shape == (len(cases), length)
    plain = ranks_of(tables, cases)
    assert plain.listed.shape == (len(cases), 0)
    np.testing.assert_array_equal(ranks.above, plain.above)
    np.testing.assert_array_equal(ranks.nll, plain.nll)
    short = 0
    for row in range(len(cases)):
        assert ranks.catalog[row] == len(tables.catalog.rows_at(cases.refresh_at[row]))
        one = Toy() if ranks.has_history[row] else Recent()
        items = one.item_vectors(tables.stream.before(cases.refresh_at[row]), cases.refresh_at[row])
        asked = tables.stream.queries(cases.users[[row]], cases.timestamps[[row]], 3)
        scores = (items @ one.user_vectors(asked, items)[0]).numpy()
        expected = slow_list(tables, cases, row, scores)[:length]
        listed = ranks.listed[row]
        assert [float(scores[item]) for item in listed[listed >= 0]] == expected
        assert len(set(listed[listed >= 0].tolist())) == len(expected)
        assert (listed[len(expected) :] == -1).all()
        short += len(expected) < length
    assert short > 0 or length < 12


def test_order_of_cases_does_not_matter(tmp_path: Path):
    tables = make_tables(tmp_path)
    cases = cases_of(tables, rows_to_predict(tables))
    order = np.random.default_rng(0).permutation(len(cases))
    got, shuffled = ranks_of(tables, cases), ranks_of(tables, cases.take(order))
    np.testing.assert_array_equal(got.above[order], shuffled.above)
    np.testing.assert_array_equal(got.tied[order], shuffled.tied)
    np.testing.assert_allclose(got.nll[order], shuffled.nll, rtol=1e-5)


class Spy(Toy):
    """Asserts that nothing at or after the refresh, or after a request, is handed over."""

    def __init__(self) -> None:
        self.refreshes: list[np.datetime64] = []
        self.latest_history: np.datetime64 | None = None

    def item_vectors(self, known: EngagementStream, instant: np.datetime64) -> Tensor:
        assert len(known) == 0 or known.timestamps.max() < instant
        self.refreshes.append(instant)
        return super().item_vectors(known, instant)

    def user_vectors(self, queries: Queries, items: Tensor) -> Tensor:
        held = queries.history_items >= 0
        assert (queries.history_timestamps < queries.instants[:, None])[held].all()
        latest = queries.history_timestamps[held].max()
        self.latest_history = latest if self.latest_history is None else max(latest, self.latest_history)
        return super().user_vectors(queries, items)


@pytest.mark.parametrize("protocol", EVERY_PROTOCOL, ids=lambda p: f"{p.user_history}-{p.item_embeddings}")
def test_a_model_sees_only_the_past(tmp_path: Path, protocol: Protocol):
    tables, spy = make_tables(tmp_path), Spy()
    cases = cases_of(tables, rows_to_predict(tables))
    rank_cases(spy, Recent(), cases, tables.stream, tables.catalog, protocol, tables.cutoff)
    frozen = protocol.item_embeddings is ItemEmbeddings.FROZEN
    assert spy.refreshes == ([tables.cutoff] if frozen else np.unique(cases.refresh_at).tolist())
    assert spy.latest_history is not None
    assert (spy.latest_history < tables.cutoff) == (protocol.user_history is UserHistory.FROZEN)


def without_future(stream: EngagementStream, instant: np.datetime64) -> EngagementStream:
    return replace(stream.before(instant))


def with_shuffled_future(stream: EngagementStream, instant: np.datetime64) -> EngagementStream:
    past = len(stream.before(instant))
    order = np.random.default_rng(5).permutation(len(stream) - past) + past
    tail = stream.items[order]
    return replace(stream, items=np.concatenate([stream.items[:past], (tail + 1) % stream.n_items]))


@pytest.mark.parametrize("change", [without_future, with_shuffled_future])
@pytest.mark.parametrize("protocol", EVERY_PROTOCOL, ids=lambda p: f"{p.user_history}-{p.item_embeddings}")
def test_changing_the_future_changes_no_rank_before_it(
    tmp_path: Path, protocol: Protocol, change: Callable[[EngagementStream, np.datetime64], EngagementStream]
):
    tables, instant = make_tables(tmp_path), np.datetime64("2020-01-07T05:00", "us")
    rows = rows_to_predict(tables)
    cases = cases_of(tables, rows[tables.stream.timestamps[rows] < instant])
    assert len(cases) > 20
    expected = ranks_of(tables, cases, protocol)
    # Items first engaged with later are not yet in the catalog of any of these cases' refreshes.
    changed = replace(tables, stream=change(tables.stream, instant))
    assert not np.array_equal(changed.stream.items, tables.stream.items)
    got = ranks_of(changed, cases, protocol)
    for field in ("above", "tied", "has_history", "nll"):
        np.testing.assert_array_equal(getattr(got, field), getattr(expected, field))


def test_a_repeat_among_the_cases_is_refused_by_name(tmp_path: Path):
    tables = make_tables(tmp_path)
    row = rows_to_predict(tables)[-1]
    past = int(np.flatnonzero(tables.stream.users == tables.stream.users[row])[0])
    repeat = replace(cases_of(tables, np.array([row])), items=tables.stream.items[[past]])
    with pytest.raises(ValueError, match=f"user row {repeat.users[0]} .* item row {repeat.items[0]}, before 2020"):
        ranks_of(tables, repeat)


@pytest.mark.parametrize("protocol", EVERY_PROTOCOL[:3], ids=lambda p: f"{p.user_history}-{p.item_embeddings}")
def test_frozen_after_the_case_is_refused(tmp_path: Path, protocol: Protocol):
    tables = make_tables(tmp_path)
    with pytest.raises(ValueError, match="before the cutoff"):
        ranks_of(tables, cases_of(tables, np.array([3])), protocol)


class NotFinite(Toy):
    def user_vectors(self, queries: Queries, items: Tensor) -> Tensor:
        return super().user_vectors(queries, items) * torch.nan


class NotFiniteItems(Toy):
    def item_vectors(self, known: EngagementStream, instant: np.datetime64) -> Tensor:
        return super().item_vectors(known, instant) / 0


@pytest.mark.parametrize(("model", "what"), [(NotFinite(), "user"), (NotFiniteItems(), "item")])
def test_vectors_that_are_not_finite_are_refused(tmp_path: Path, model: Toy, what: str):
    tables = make_tables(tmp_path)
    cases = cases_of(tables, rows_to_predict(tables))
    with pytest.raises(FloatingPointError, match=f"vector of a {what} is not finite"):
        rank_cases(model, Recent(), cases, tables.stream, tables.catalog, Protocol(), tables.cutoff)


class Shared(Toy):
    """Every item has the same vector, as items without an id of their own do."""

    def item_vectors(self, known: EngagementStream, instant: np.datetime64) -> Tensor:
        return torch.randn(1, 48, generator=torch.Generator().manual_seed(1)).repeat(known.n_items, 1)

    def user_vectors(self, queries: Queries, items: Tensor) -> Tensor:
        return torch.randn(len(queries), 48, generator=torch.Generator().manual_seed(2)) * 30


def test_equal_vectors_tie_whatever_rounding_does(tmp_path: Path):
    tables = make_tables(tmp_path)
    cases = cases_of(tables, rows_to_predict(tables))
    ranks = rank_cases(Shared(), Shared(), cases, tables.stream, tables.catalog, Protocol(), tables.cutoff)
    assert (ranks.above == 0).all()
    assert (ranks.tied > 0).all()
    known = np.isfinite(ranks.nll)
    np.testing.assert_allclose(ranks.nll[known], np.log(ranks.tied[known] + 1), atol=1e-3)  # a uniform guess


class Steep(Toy):
    """Scores far beyond what an exponential of float32 holds."""

    def user_vectors(self, queries: Queries, items: Tensor) -> Tensor:
        return super().user_vectors(queries, items) * 1000


def test_large_scores_overflow_nothing(tmp_path: Path):
    tables = make_tables(tmp_path)
    cases = cases_of(tables, rows_to_predict(tables))
    ranks = rank_cases(Steep(), Steep(), cases, tables.stream, tables.catalog, Protocol(), tables.cutoff)
    on_catalog = tables.catalog.available_at[cases.items] <= cases.refresh_at
    assert np.isfinite(ranks.nll[on_catalog]).all()
    assert (ranks.nll[on_catalog] >= 0).all()
    assert np.isnan(ranks.nll[~on_catalog]).all()


def test_a_refresh_without_a_catalog_has_no_likelihood(tmp_path: Path):
    tables = make_tables(tmp_path)
    empty = replace(tables.catalog, available_at=np.full(len(tables.catalog), np.datetime64("2030-01-01", "us")))
    cases = cases_of(tables, rows_to_predict(tables))
    ranks = rank_cases(Toy(), Recent(), cases, tables.stream, empty, Protocol(), tables.cutoff)
    assert np.isnan(ranks.nll).all()
    assert (ranks.above == 0).all()


def test_progress_counts_every_case_and_no_cases_is_no_error(tmp_path: Path):
    tables, done = make_tables(tmp_path), []
    cases = cases_of(tables, rows_to_predict(tables))
    rank_cases(Toy(), Recent(), cases, tables.stream, tables.catalog, Protocol(), tables.cutoff, done.append)
    assert sum(done) == len(cases)
    assert len(ranks_of(tables, cases.take(np.zeros(0, np.int64))).above) == 0
