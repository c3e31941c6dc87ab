"""Cases from the warehouse's table, and runs of every protocol."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from assets.config import EvaluationConfig, Protocol
from assets.evaluation.protocol import CaseSet, build_cases, drawn, of_protocol, rank_under_protocols
from assets.ranking import Cases
from assets.schema import Columns, ItemEmbeddings, UserHistory
from assets.storage import Storage
from assets.stream import DatasetTables, load_tables
from assets.training.counting import CountAll, CountDecayed, CountingRecommender
from tests.assets.evaluation.toy import toy_rows
from tests.support import Row, interactions_frame, write_tables

CUTOFF, VALIDATION = "2020-01-07", "2020-01-06"
PROTOCOLS = tuple(Protocol(user_history=user, item_embeddings=item) for user in UserHistory for item in ItemEmbeddings)
IDENTITY: dict[str, str | int] = {"dataset": "toy", "model": "m", "seed": 0}


def write(root: Path, rows: list[Row]) -> Storage:
    written = [(user, item, str(pd.Timestamp(when))) for user, item, when in rows]
    return write_tables(root, interactions_frame(written), CUTOFF, VALIDATION)


def run(tables: DatasetTables, case_set: CaseSet, protocols: tuple[Protocol, ...] = PROTOCOLS) -> pd.DataFrame:
    model = CountingRecommender(CountAll(), 0.02, tables.cutoff)
    fallback = CountingRecommender(CountDecayed(), 0.02, tables.cutoff)
    return rank_under_protocols(model, fallback, case_set, tables, protocols, IDENTITY)


def test_repeats_are_dropped_and_counted_and_off_catalog_targets_kept(tmp_path: Path):
    storage = write(
        tmp_path,
        [
            ("a", "x", "2020-01-01"),
            ("b", "x", "2020-01-02"),
            ("a", "y", "2020-01-06T01"),
            ("a", "x", "2020-01-07T03"),  # a repeat
            ("b", "y", "2020-01-07T05"),
            ("b", "new", "2020-01-08T07"),  # nobody engaged with it before that day: off catalog
            ("c", "new", "2020-01-09T01"),  # a user without history
        ],
    )
    case_set = build_cases(storage.read_table("test_cases"), load_tables(storage))
    assert case_set.repeats_dropped == 1
    assert case_set.labels["item_id"].tolist() == ["y", "new", "new"]
    assert case_set.labels["on_catalog"].tolist() == [True, False, True]
    assert case_set.off_catalog == 1
    assert case_set.labels["engagements_seen"].tolist() == [1, 0, 1]


def test_ranks_by_hand(tmp_path: Path):
    """Training counts x 3, y 2, z 1; then w joins on the 8th."""
    storage = write(
        tmp_path,
        [
            *[(user, "x", f"2020-01-0{day}") for day, user in enumerate("abc", start=1)],
            *[(user, "y", f"2020-01-0{day}T01") for day, user in enumerate("ab", start=1)],
            ("c", "z", "2020-01-06"),
            ("c", "y", "2020-01-07T01"),  # x seen, z seen: nothing is above y
            ("a", "w", "2020-01-08T01"),  # off catalog: z is above, x and y are seen
            ("b", "w", "2020-01-09T01"),  # unseen in training: z is above, x and y are seen
            ("d", "y", "2020-01-09T02"),  # no history: ranked by decayed counts
        ],
    )
    tables = load_tables(storage)
    ranks = run(tables, build_cases(storage.read_table("test_cases"), tables), (Protocol(),))
    assert ranks["above"].tolist()[:3] == [0, 1, 1]
    assert ranks["tied"].tolist() == [0, 0, 0, 0]
    assert ranks["has_history"].tolist() == [True, True, True, False]
    # The likelihood is over what is ranked, by counts before the cutoff: y alone; then w among w (0) and z (1).
    assert np.exp(-ranks["nll"].iloc[0]) == pytest.approx(1)
    assert np.isnan(ranks["nll"].iloc[1])
    assert np.exp(-ranks["nll"].iloc[2]) == pytest.approx(0.02 / 1.04)  # w is on the catalog by now
    # At the start of the 9th: y 2**(-8/3 + 1/72) + 2**(-7/3 + 1/72) + 2**(-47/72) = 1.00, w 2**(-23/72) = .80,
    # x 2**(-8/3) + 2**(-7/3) + 2**(-6/3) = .61, z 2**(-3/3) = .50.
    assert ranks["above"].tolist()[3] == 0


def test_columns_and_rows_of_every_protocol(tmp_path: Path):
    storage = write(tmp_path, toy_rows())
    tables = load_tables(storage)
    case_set = build_cases(storage.read_table("test_cases"), tables)
    ranks = run(tables, case_set)
    assert list(ranks.columns) == [
        *("dataset", "model", "seed", "protocol", "user_history", "item_embeddings"),
        *("user_id", "item_id", "source_row", "window", "slice", "engagements_seen", "on_catalog"),
        *("has_history", "above", "tied", "nll", "catalog"),
    ]
    assert len(ranks) == 4 * len(case_set)
    assert set(ranks["protocol"]) == {"full"}
    assert (ranks["nll"].isna() == ~ranks["on_catalog"]).all()
    assert not ranks.drop(columns="nll").isna().any().any()
    for protocol in PROTOCOLS:
        one = of_protocol(ranks, protocol)
        assert one["source_row"].tolist() == case_set.labels["source_row"].tolist()
    rolling, frozen = (of_protocol(ranks, protocol)["has_history"].sum() for protocol in (PROTOCOLS[3], PROTOCOLS[0]))
    assert rolling > frozen


def test_lists_are_of_the_first_protocol(tmp_path: Path):
    storage = write(tmp_path, toy_rows())
    tables = load_tables(storage)
    case_set = build_cases(storage.read_table("test_cases"), tables)
    model = CountingRecommender(CountAll(), 0.02, tables.cutoff)
    protocols = (Protocol(), Protocol(user_history=UserHistory.FROZEN))
    ranks = rank_under_protocols(model, model, case_set, tables, protocols, IDENTITY, list_length=2)
    first, second = (of_protocol(ranks, protocol) for protocol in protocols)
    lists = first[["listed_0", "listed_1"]].to_numpy()
    assert (lists >= 0).all()
    # Counts at the cutoff: what is listed first is at least as frequent.
    counts = tables.catalog.train_count[lists]
    assert (counts[:, 0] >= counts[:, 1]).all()
    np.testing.assert_allclose(first["list_train_frequency"], counts.mean(axis=1))
    assert (second[["listed_0", "listed_1"]] == -1).all().all()
    assert second["list_train_frequency"].isna().all()


def test_deleting_the_future_changes_no_earlier_rank(tmp_path: Path):
    """From the interactions on: tables, catalog and cases are built again from what was known at an instant."""
    instant = "2020-01-10T06:00:00"
    rows = toy_rows()
    whole, past = write(tmp_path / "whole", rows), write(tmp_path / "past", [row for row in rows if row[2] < instant])
    ranked = []
    for storage in (whole, past):
        tables = load_tables(storage)
        case_set = build_cases(storage.read_table("test_cases"), tables)
        ranks = run(tables, case_set).merge(storage.read_table("interactions", ["source_row", "timestamp"]))
        ranks = ranks[ranks["timestamp"] < pd.Timestamp(instant)]
        # Source rows count the file's rows, which differ; the rest must not.
        ranked.append(ranks.drop(columns=["source_row", "window"]).reset_index(drop=True))
    assert len(ranked[0]) > 100
    pd.testing.assert_frame_equal(ranked[0], ranked[1])


def test_a_test_period_without_cases_is_refused(tmp_path: Path):
    storage = write(tmp_path, [("a", "x", "2020-01-01"), ("a", "y", "2020-01-06T01"), ("a", "x", "2020-01-07T03")])
    with pytest.raises(ValueError, match="none of 1 test engagements is a case"):
        build_cases(storage.read_table("test_cases"), load_tables(storage))


def test_a_case_of_an_unknown_item_is_refused_by_name(tmp_path: Path):
    storage = write(tmp_path, toy_rows())
    cases = storage.read_table("test_cases")
    cases.loc[~cases["is_repeat"], "item_id"] = "nowhere"
    with pytest.raises(KeyError, match="item_id: 'nowhere' is in test_cases but not in its own table"):
        build_cases(cases, load_tables(storage))


def test_default_headline_is_rolling_and_refreshed():
    headline = EvaluationConfig().headline
    assert (headline.user_history, headline.item_embeddings) == (UserHistory.ROLLING, ItemEmbeddings.REFRESHED)


def test_cases_are_in_time_order(tmp_path: Path):
    storage = write(tmp_path, toy_rows())
    shuffled = storage.read_table("test_cases").sample(frac=1, random_state=0)
    case_set = build_cases(shuffled, load_tables(storage))
    assert (np.diff(case_set.cases.timestamps) >= np.timedelta64(0)).all()


def test_more_cases_than_allowed_are_drawn_evenly_and_the_same_each_time() -> None:
    case_set = many_cases(2_000)
    chosen = drawn(case_set, 500)
    assert len(chosen) == 500
    assert (chosen.in_all, chosen.repeats_dropped) == (2_000, 3)
    assert (np.diff(chosen.cases.timestamps) > np.timedelta64(0)).all(), "in their order"
    assert chosen.labels[Columns.SOURCE_ROW].tolist() == chosen.cases.users.tolist(), "labels stay with their cases"
    assert abs(chosen.cases.users.mean() - 999.5) < 4 * 577 / np.sqrt(500) * np.sqrt(0.75), "no part is preferred"
    assert drawn(case_set, 500).cases.users.tolist() == chosen.cases.users.tolist()
    assert drawn(case_set, 2_000) is case_set


def many_cases(count: int) -> CaseSet:
    """Cases whose user, source row and minute are their number."""
    rows = np.arange(count)
    instants = np.datetime64("2024-01-01", "us") + rows * np.timedelta64(1, "m")
    return CaseSet(Cases(rows, rows, instants, instants), pd.DataFrame({Columns.SOURCE_ROW: rows}), 3, count)
