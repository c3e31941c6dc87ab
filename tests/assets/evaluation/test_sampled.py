"""Ranking among sampled negatives: which cases, which negatives, and their ranks against loops that do it slowly."""

from dataclasses import replace
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from assets import keys
from assets.config import ConfigError, Protocol, SampledConfig, Settings
from assets.evaluation.files import StaleResultsError
from assets.evaluation.protocol import CaseSet, build_cases, taken
from assets.evaluation.sampled import assets
from assets.evaluation.sampled.cases import LEGACY, LEGACY_PROTOCOLS, SAMPLED, legacy_cases, sampled_cases
from assets.evaluation.sampled.draws import case_keys, draw_items
from assets.evaluation.sampled.rank import Run, rank_runs
from assets.evaluation.sampled.run import (
    build_leave_one_out,
    gather_sampled,
    read_sampled,
    read_sampled_means,
    sample_model,
    sampled_path,
)
from assets.schema import CaseSlice, ItemEmbeddings, UserHistory
from assets.storage import Storage
from assets.stream import PADDING, DatasetTables, EngagementStream, Queries, load_tables
from assets.training.counting import CountDecayed, CountingRecommender
from tests.assets.evaluation.toy import ROSTER, toy_rows
from tests.support import Row, interactions_frame, write_tables

Toy = tuple[Storage, Settings]
CUTOFF, VALIDATION = "2020-01-07", "2020-01-06"
NOTHING = (np.zeros(0, np.int64), np.zeros(0, np.int64))


def load(root: Path, rows: list[Row], tail_max_count: int = 10) -> tuple[CaseSet, DatasetTables]:
    written = [(user, item, str(pd.Timestamp(when))) for user, item, when in rows]
    storage = write_tables(root, interactions_frame(written), CUTOFF, VALIDATION, tail_max_count=tail_max_count)
    tables = load_tables(storage)
    return build_cases(storage.read_table("test_cases"), tables), tables


class Linear:
    """Fixed vectors per item; a user's vector is the sum of its history's, plus a constant."""

    history_length = 4

    def __init__(self, items: int) -> None:
        self.items = torch.randint(-3, 4, (items, 3), generator=torch.Generator().manual_seed(0)).float()

    def item_vectors(self, known: EngagementStream, instant: np.datetime64) -> Tensor:
        counts = np.bincount(known.items, minlength=known.n_items)
        return self.items + torch.from_numpy(counts).float()[:, None]

    def user_vectors(self, queries: Queries, items: Tensor) -> Tensor:
        filled = torch.from_numpy(queries.history_items != PADDING).float()
        gathered = items[torch.from_numpy(queries.history_items).clamp(min=0)]
        return (gathered * filled[:, :, None]).sum(dim=1) + 1.0


def test_draws_are_distinct_allowed_and_complete():
    keys_, pool = case_keys(np.arange(50), 0), np.arange(100, 140)
    banned = (np.repeat(np.arange(50), 2), np.tile([100, 139], 50))
    drawn = draw_items(keys_, pool, banned, 12, distinct=True)
    for row in drawn:
        assert len(set(row)) == 12
        assert set(row) <= set(range(101, 139))


@pytest.mark.parametrize(("size", "pool"), [(12, 15), (3, 400)])
def test_every_item_is_drawn_equally_often(size: int, pool: int):
    """Binomial counts: five standard deviations around the mean, for a dense and a sparse draw."""
    cases = 4000
    drawn = draw_items(case_keys(np.arange(cases), 1), np.arange(pool), NOTHING, size, distinct=True)
    share = size / pool
    counts = np.bincount(drawn.ravel(), minlength=pool)
    assert np.abs(counts - cases * share).max() < 5 * np.sqrt(cases * share * (1 - share))


def test_a_pool_that_is_too_small_is_taken_whole():
    drawn = draw_items(
        case_keys(np.arange(3), 0), np.array([4, 7, 9]), (np.array([1]), np.array([7])), 5, distinct=True
    )
    assert [sorted(row[row != PADDING]) for row in drawn] == [[4, 7, 9], [4, 9], [4, 7, 9]]
    assert (draw_items(case_keys(np.arange(1), 0), np.zeros(0, np.int64), NOTHING, 5, distinct=True) == PADDING).all()


def test_draws_with_replacement_repeat_and_end_where_everything_is_banned():
    pool = np.array([3, 5])
    drawn = draw_items(case_keys(np.arange(2), 0), pool, (np.array([0, 1, 1]), np.array([3, 3, 5])), 6, distinct=False)
    assert drawn[0].tolist() == [5] * 6
    assert drawn[1].tolist() == [PADDING] * 6


def test_a_case_keeps_its_draw_whatever_the_others_are():
    names, pool = np.array([11, 5, 8]), np.arange(500)
    drawn = draw_items(case_keys(names, 0), pool, NOTHING, 20, distinct=True)
    backwards = draw_items(case_keys(names[::-1].copy(), 0), pool, NOTHING, 20, distinct=True)
    np.testing.assert_array_equal(drawn, backwards[::-1])
    assert (drawn != draw_items(case_keys(names, 1), pool, NOTHING, 20, distinct=True)).any()


ROWS = [
    *[("a", "h1", "2020-01-01"), ("b", "h1", "2020-01-01T01"), ("c", "h1", "2020-01-02")],
    *[("a", "h2", "2020-01-02"), ("b", "h2", "2020-01-03"), ("d", "h3", "2020-01-03"), ("c", "h3", "2020-01-04")],
    *[("d", "t1", "2020-01-04"), ("d", "t2", "2020-01-06T02")],
    ("c", "h2", "2020-01-07T01"),  # c's first head case of window 0
    ("c", "h2", "2020-01-07T02"),  # a repeat: no case
    ("c", "t1", "2020-01-07T03"),  # c's first tail case
    ("c", "t2", "2020-01-07T04"),  # a second tail case: not taken
    ("a", "n1", "2020-01-07T05"),  # a's first tail case: cold
    ("a", "h3", "2020-01-08T05"),
    ("e", "n1", "2020-01-09T05"),  # nobody knew e
]
"""tail_max_count 1: h1 (3), h2 (2), h3 (2) are head; t1, t2 tail; n1 cold. Two windows: 7th-8th 03:00, then on."""


def test_first_case_per_user_window_and_bucket_and_negatives_by_hand(tmp_path: Path):
    case_set, tables = load(tmp_path, ROWS, tail_max_count=1)
    sampled = sampled_cases(case_set, tables, 100, 0)
    ids = tables.catalog.item_ids
    assert sampled.labels[["user_id", "item_id"]].to_numpy().tolist() == [
        ["c", "h2"], ["c", "t1"], ["a", "n1"], ["a", "h3"], ["e", "n1"],
    ]  # fmt: skip
    held = [sorted(ids[row[row != PADDING]]) for row in sampled.negatives]
    # c knows h1, h3 before its head case; the tail exists on the 7th as t1 and t2, on the 9th with n1.
    assert held == [[], ["t2"], ["t1", "t2"], [], ["t1", "t2"]]
    assert sampled.short == 5
    assert sampled.copies.sum() == 0


def test_clean_negatives_against_a_loop(tmp_path: Path):
    case_set, tables = load(tmp_path, toy_rows(), tail_max_count=20)
    sampled = sampled_cases(case_set, tables, 6, 0)
    stream, catalog, cases = tables.stream, tables.catalog, sampled.cases
    assert len(sampled) < len(case_set)
    for case in range(len(cases)):
        seen = set(stream.items[(stream.users == cases.users[case]) & (stream.timestamps < cases.timestamps[case])])
        head = catalog.slices[cases.items[case]] == "head"
        allowed = {
            item
            for item in range(len(catalog))
            if catalog.available_at[item] <= cases.refresh_at[case]
            and (catalog.slices[item] == "head") == head
            and item not in seen
            and item != cases.items[case]
        }
        drawn = sampled.negatives[case][sampled.negatives[case] != PADDING]
        assert len(drawn) == len(set(drawn)) == min(6, len(allowed))
        assert set(drawn) <= allowed


def test_shuffled_cases_draw_the_same_negatives(tmp_path: Path):
    case_set, tables = load(tmp_path, toy_rows(), tail_max_count=20)
    sampled = sampled_cases(case_set, tables, 5, 0)
    fewer = case_set.labels["user_id"].isin(["u1", "u4"]).to_numpy().nonzero()[0]
    of_two = taken(case_set, fewer)
    part = sampled_cases(of_two, tables, 5, 0)
    inside = sampled.labels["user_id"].isin(["u1", "u4"]).to_numpy()
    np.testing.assert_array_equal(part.negatives, sampled.negatives[inside])


def legacy_rows() -> list[Row]:
    """Users p, q, r, s, t engage with five items (two before the cutoff); z is too rare, and so is item rare."""
    before = [(user, item, f"2020-01-0{day}") for day, item in ((1, "a"), (2, "b")) for user in "pqrst"]
    after = [
        (user, item, f"2020-01-{day}") for day, item in (("07T01", "c"), ("09", "d"), ("10", "e")) for user in "pqrst"
    ]
    return [*before, *after, ("z", "a", "2020-01-03"), ("z", "c", "2020-01-08"), ("p", "rare", "2020-01-07T03")]


def test_legacy_filters_the_whole_dataset_and_draws_from_the_future_with_replacement(tmp_path: Path):
    case_set, tables = load(tmp_path, legacy_rows(), tail_max_count=4)
    sampled = legacy_cases(case_set, tables, 50, 0, tail_max_count=4)
    ids = tables.catalog.item_ids
    assert "z" not in set(sampled.labels["user_id"])  # two engagements, test period counted
    assert "rare" not in set(sampled.labels["item_id"])
    assert len(sampled) == 10  # five users, two windows, the tail bucket only
    assert set(sampled.labels["slice"]) == {"cold"}
    assert (sampled.drawn == 50).all()
    for row in sampled.negatives:
        assert set(ids[row]) == {"c", "d", "e"}  # a and b are of no test window; d and e are later than window 0
    assert (sampled.copies > 0).all()


def test_legacy_passes_over_items_of_train_time_only(tmp_path: Path):
    rows = [*legacy_rows(), ("p", "c", "2020-01-03"), ("q", "e", "2020-01-07T02")]
    case_set, tables = load(tmp_path, rows)
    sampled = legacy_cases(case_set, tables, 60, 0, tail_max_count=10)
    ids, users = tables.catalog.item_ids, sampled.labels["user_id"].to_numpy()
    assert all(set(ids[row]) == {"d", "e"} for row in sampled.negatives[users == "p"])
    assert all(set(ids[row]) == {"c", "d", "e"} for row in sampled.negatives[users == "q"])


@pytest.mark.parametrize("users", list(UserHistory))
@pytest.mark.parametrize("items", list(ItemEmbeddings))
@pytest.mark.parametrize("legacy", [False, True])
def test_ranks_against_a_loop(tmp_path: Path, users: UserHistory, items: ItemEmbeddings, legacy: bool):
    case_set, tables = load(tmp_path, toy_rows(), tail_max_count=20)
    protocol = Protocol(user_history=users, item_embeddings=items)
    sampled = legacy_cases(case_set, tables, 7, 0, 20) if legacy else sampled_cases(case_set, tables, 7, 0)
    model, fallback = Linear(len(tables.catalog)), CountingRecommender(CountDecayed(), 0.02, tables.cutoff)
    run = Run(sampled, protocol, use_fallback=not legacy)
    (ranks,) = rank_runs(model, fallback, [run], tables.stream, tables.cutoff)
    stream, cases, used = tables.stream, sampled.cases, 0
    for case in range(len(cases)):
        until = tables.cutoff if users is UserHistory.FROZEN else cases.timestamps[case]
        instant = tables.cutoff if items is ItemEmbeddings.FROZEN else cases.refresh_at[case]
        history = stream.items[(stream.users == cases.users[case]) & (stream.timestamps < until)]
        assert ranks.has_history[case] == (len(history) > 0)
        by_fallback = not legacy and not len(history)
        used += by_fallback
        vectors = (fallback if by_fallback else model).item_vectors(stream.before(instant), instant)
        user = torch.ones(1) if by_fallback else vectors[history[-4:]].sum(dim=0) + 1.0
        score = vectors @ user
        target, row = cases.items[case], sampled.negatives[case]
        rivals = [item for item in row if item not in (PADDING, target)]
        above = sum(float(score[item]) > float(score[target]) for item in rivals)
        tied = sum(float(score[item]) == float(score[target]) for item in rivals)
        assert (ranks.above[case], ranks.tied[case]) == (above, tied)
    assert (used > 0) == (not legacy)


def test_runs_share_item_vectors_of_a_refresh(tmp_path: Path):
    case_set, tables = load(tmp_path, toy_rows(), tail_max_count=20)
    sampled, asked = sampled_cases(case_set, tables, 5, 0), []

    class Counts(Linear):
        def item_vectors(self, known: EngagementStream, instant: np.datetime64) -> Tensor:
            asked.append(instant)
            return super().item_vectors(known, instant)

    runs = [Run(sampled, Protocol(user_history=history)) for history in UserHistory]
    fallback = CountingRecommender(CountDecayed(), 0.02, tables.cutoff)
    together = rank_runs(Counts(len(tables.catalog)), fallback, runs, tables.stream, tables.cutoff)
    assert len(asked) == len(set(asked)) == len(np.unique(sampled.cases.refresh_at))
    for run, ranks in zip(runs, together, strict=True):
        (alone,) = rank_runs(Linear(len(tables.catalog)), fallback, [run], tables.stream, tables.cutoff)
        np.testing.assert_array_equal(ranks.above, alone.above)


def test_progress_reaches_the_total_and_nothing_is_no_error(tmp_path: Path):
    case_set, tables = load(tmp_path, toy_rows(), tail_max_count=20)
    sampled, done = sampled_cases(case_set, tables, 5, 0), []
    none = replace(sampled, cases=sampled.cases.take(np.zeros(0, np.int64)), negatives=sampled.negatives[:0])
    fallback = CountingRecommender(CountDecayed(), 0.02, tables.cutoff)
    runs = [Run(sampled, Protocol()), Run(none, Protocol()), Run(sampled, LEGACY_PROTOCOLS[0])]
    ranks = rank_runs(Linear(len(tables.catalog)), fallback, runs, tables.stream, tables.cutoff, done.append)
    assert sum(done) == 2 * len(sampled)
    assert len(ranks[1].above) == 0


def test_the_stage(toy: Toy):
    storage, settings = toy
    everything = [*(keys.sampled(model) for model in ROSTER), keys.SAMPLED_METRICS, keys.SAMPLED_TABLES]
    result = dg.materialize(
        assets.ASSETS,
        selection=dg.AssetSelection.assets(*map(dg.AssetKey, everything)),
        resources={"storage": storage, "settings": settings},
    )
    assert result.success
    means = read_sampled_means(storage, settings)
    assert set(means["model"]) == set(ROSTER)
    held = means.groupby("protocol")[["user_history", "item_embeddings"]].apply(
        lambda frame: set(frame.itertuples(index=False, name=None))
    )
    assert held[SAMPLED] == {("rolling", "refreshed"), ("frozen", "refreshed"), ("frozen", "frozen")}
    assert held[LEGACY] == {("frozen", "refreshed"), ("frozen", "frozen")}
    assert CaseSlice.TAIL_AND_COLD.value in set(means["slice"])
    assert set(means.loc[means["metric"] == "hr", "k"]) == {10, 50}
    text = (storage.evaluation / "sampled.md").read_text(encoding="utf-8")
    assert "### toy: sampled_legacy, frozen user history, refreshed items, window 0" in text
    assert "For comparison with published tables only" in text


def test_legacy_has_no_fallback_and_no_slice_without_history(toy: Toy):
    storage, settings = toy
    ranks = sample_model(storage, settings, "two_tower").ranks
    legacy, clean = ranks[ranks["protocol"] == LEGACY], ranks[ranks["protocol"] == SAMPLED]
    assert legacy["has_history"].all()
    assert not clean["has_history"].all()


def test_ranks_rest_on_the_rules_of_the_draw(toy: Toy):
    storage, settings = toy
    sample_model(storage, settings, "popularity")
    first = sampled_path(storage, "popularity").read_bytes()
    read_sampled(storage, settings, "popularity")
    cut = settings.model_copy(update={"sampled": SampledConfig(ks=(10,))})
    read_sampled(storage, cut, "popularity")  # metrics are cut there, not ranks
    other = settings.model_copy(update={"sampled": SampledConfig(negatives=9)})
    with pytest.raises(StaleResultsError, match="sampled ranks of popularity were made with another sampled"):
        read_sampled(storage, other, "popularity")
    sample_model(storage, settings, "popularity")
    assert sampled_path(storage, "popularity").read_bytes() == first


def test_metrics_need_every_model_of_the_roster(toy: Toy):
    storage, settings = toy
    sample_model(storage, settings, "popularity")
    with pytest.raises(FileNotFoundError, match="materialize evaluation/decayed_popularity_sampled first"):
        gather_sampled(storage, settings)
    alone = settings.model_copy(update={"models": ("popularity",)})
    assert set(gather_sampled(storage, alone)["model"]) == {"popularity"}
    sample_model(storage, settings, "decayed_popularity")
    both = settings.model_copy(update={"models": ("popularity", "decayed_popularity")})
    with pytest.raises(StaleResultsError, match="not computed from the current decayed_popularity"):
        read_sampled_means(storage, both)


def test_the_leave_one_out_table_is_for_that_split(toy: Toy):
    with pytest.raises(ConfigError, match=r"needs split\.kind leave_one_out, not median_time"):
        build_leave_one_out(*toy)
