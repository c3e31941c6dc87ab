"""Every kind of split through the graph, from raw tables to the checks, against a slow reference in plain Python."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import md5
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from assets import dbt, keys
from assets.config import Settings, SplitConfig
from assets.quality import checks, results
from assets.quality.assets import data_docs
from assets.storage import Storage, write_parquet
from assets.stream import load_tables
from assets.training.past import before_cutoff
from assets.training.validation import validator
from tests.support import Row, interactions_frame
from tests.transforms.raw import random_rows, write_raw

SPLITS = {
    "quantile": SplitConfig(kind="quantile", quantile=0.8, windows=2, head_rule="pareto", head_share=0.3),
    "by_time": SplitConfig(kind="leave_one_out", tail_max_count=9),
    "at_random": SplitConfig(kind="leave_one_out", held_out_by="random", head_rule="pareto", head_share=0.1),
    "frames": SplitConfig(kind="fraction", fraction=0.8, frame="day", tail_max_count=9),
    "by_user": SplitConfig(kind="held_out_users", held_out_share=0.2, held_out_seed=10, tail_max_count=9),
    "by_item": SplitConfig(kind="held_out_items", held_out_share=0.3, held_out_seed=8, tail_max_count=9),
}
HELD_OUT = {"i0", "i3", "i6", "i13", "made_later"}
"""The 0.3 of the 15 items, 4.5 rounded half up, whose MD5 digests with seed 8 are the smallest."""
USERS_OUT = {"three", "u3"}
"""The 0.2 of the 12 users, 2.4 rounded, whose MD5 digests with seed 10 are the smallest."""
ROWS: list[Row] = [
    *random_rows(3),
    ("pair", "i1", "2020-03-02 05:00:00"),  # two engagements: both train
    ("pair", "i2", "2020-03-09 12:00:00"),  # the last train engagement, on March 9 in every kind by time
    ("three", "i1", "2020-03-01 07:00:00"),
    ("three", "i2", "2020-03-01 08:00:00"),
    ("three", "made_later", "2020-03-20 08:00:00"),  # created long after train time: known from a test row only
    ("newcomer", "i6", "2020-03-02 05:30:00"),  # has engagements on held-out items only
    ("newcomer", "i3", "2020-03-05 05:30:00"),
]
MADE_AT = {"made_later": "2020-03-19 00:00:00", "i3": "2019-01-01 00:00:00"}


@dataclass(frozen=True)
class Built:
    """What a graph run left."""

    storage: Storage
    split: SplitConfig
    result: dg.ExecuteInProcessResult

    @property
    def interactions(self) -> pd.DataFrame:
        return self.storage.read_table("interactions").set_index("source_row")


def raw_tables(root: Path) -> Storage:
    storage = write_raw(Storage(root / "data", "toy"), interactions_frame(ROWS))
    items = storage.read_raw("items")
    for item, instant in MADE_AT.items():
        items.loc[items["item_id"] == item, "created_at"] = pd.Timestamp(instant)
    write_parquet(storage.raw_table("items"), items)
    return storage


@pytest.fixture(scope="module", params=SPLITS)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    root, split = tmp_path_factory.mktemp("graph"), SPLITS[request.param]
    storage = raw_tables(root)
    of_tables = [check for check in checks.CHECKS if next(iter(check.check_keys)).asset_key == dg.AssetKey(keys.TABLES)]
    resources = {"storage": storage, "settings": Settings(dataset="toy", home=root, split=split)}
    result = dg.materialize([*dbt.ASSETS, data_docs, *of_tables], resources=resources, raise_on_error=False)
    return Built(storage, split, result)


def is_tested(split: SplitConfig, row: Row, is_late: bool) -> bool:
    by_id = {"held_out_items": row[1] in HELD_OUT, "held_out_users": row[0] in USERS_OUT}
    return by_id.get(split.kind, is_late)


def expected_splits(split: SplitConfig) -> dict[int, str]:
    """Source row -> split, one user (or the whole of time) at a time."""
    times = [datetime.fromisoformat(row[2]) for row in ROWS]
    if split.kind != "leave_one_out":
        cutoff = sorted(times)[-(-len(times) * 8 // 10) - 1]  # the discrete 0.8 quantile
        tested = [is_tested(split, row, time >= cutoff) for row, time in zip(ROWS, times, strict=True)]
        train = sorted(time for time, is_test in zip(times, tested, strict=True) if not is_test)
        validation_start = train[-(-len(train) * 9 // 10) - 1]
        return {
            row: "test" if is_test else "validation" if times[row] >= validation_start else "train"
            for row, is_test in enumerate(tested)
        }
    of_user: dict[str, list[int]] = defaultdict(list)
    for row, (user, _, _) in enumerate(ROWS):
        of_user[user].append(row)
    labels = dict.fromkeys(range(len(ROWS)), "train")
    for rows in of_user.values():
        if len(rows) >= 3:
            by_time = sorted(rows, key=lambda row: (times[row], row), reverse=True)
            at_random = sorted(rows, key=lambda row: md5(str(row).encode()).hexdigest())
            chosen = by_time if split.held_out_by == "time" else at_random
            labels[chosen[0]], labels[chosen[1]] = "test", "validation"
    return labels


def expected_times(split: SplitConfig, labels: dict[int, str]) -> dict[int, pd.Timestamp]:
    times = {row: datetime.fromisoformat(text) for row, (_, _, text) in enumerate(ROWS)}
    if split.kind == "leave_one_out":
        last = max(times[row] for row in times if labels[row] == "train").date()
        midnight = datetime(last.year, last.month, last.day) + timedelta(days=1)
        moved = {"validation": midnight, "test": midnight + timedelta(days=1)}
        times = {row: moved.get(labels[row], time) for row, time in times.items()}
    if split.kind == "held_out_items":
        midnight = datetime(2020, 3, 10)  # the last engagement on another item is of March 9
        times = {row: midnight if labels[row] == "test" else time for row, time in times.items()}
    if split.kind == "held_out_users":
        last, first = (
            max(time.date() for row, time in times.items() if labels[row] != "test"),
            min(time.date() for row, time in times.items() if labels[row] == "test"),
        )
        moved_by = last + timedelta(days=1) - first
        times = {row: time + moved_by if labels[row] == "test" else time for row, time in times.items()}
    return {row: pd.Timestamp(time) for row, time in times.items()}


def test_every_check_passes(built: Built) -> None:
    failed = {
        one["about"]
        for table in results.read_results(built.storage).tables
        for one in table["expectations"]
        if not one["success"]
    }
    assert (built.result.success, failed) == (True, set())
    evaluated = {check.check_name for check in built.result.get_asset_check_evaluations()}
    assert {*results.EXPORTED, results.LEAKAGE} <= evaluated


def test_splits_and_times_equal_the_reference(built: Built) -> None:
    labels = expected_splits(built.split)
    assert set(labels.values()) == {"train", "validation", "test"}
    rows = built.interactions
    assert rows["split"].to_dict() == labels
    assert rows["timestamp"].to_dict() == expected_times(built.split, labels)
    assert rows["source_timestamp"].to_dict() == {row: pd.Timestamp(text) for row, (_, _, text) in enumerate(ROWS)}


def test_windows_are_what_the_settings_say(built: Built) -> None:
    bounds = built.storage.read_table("split_bounds")
    frames = 18  # days from the cutoff, on March 3, to the last engagement, on March 20, a little of the last one
    assert bounds["window"].dropna().tolist() == list(range(built.split.test_windows or frames))
    assert (bounds["starts_at"].iloc[1:].to_numpy() == bounds["ends_at"].iloc[:-1].to_numpy()).all()


def test_slices_equal_the_reference(built: Built) -> None:
    items, rows = built.storage.read_table("items"), built.interactions
    known = rows[rows["split"] != "test"]
    counts = {item: int((known["item_id"] == item).sum()) for item in items["item_id"]}
    cutoff = rows.loc[rows["split"] == "test", "timestamp"].min()
    head = {item for item, count in counts.items() if count > built.split.tail_max_count}
    if built.split.head_rule == "pareto":
        size = max(1, int(built.split.head_share * (items["available_at"] < cutoff).sum() + 0.5))
        head = set(sorted(counts, key=lambda item: (-counts[item], item))[:size])
    expected = {item: "cold" if not n else "head" if item in head else "tail" for item, n in counts.items()}
    assert items.set_index("item_id")["slice"].to_dict() == expected
    assert len(set(expected.values())) == (2 if built.split.held_out_by == "random" else 3)


def test_what_is_before_the_cutoff_is_train_and_validation(built: Built) -> None:
    tables, rows = load_tables(built.storage), built.interactions
    past = before_cutoff(tables)
    assert (
        past.interactions["source_row"].tolist()
        == tables.interactions.loc[tables.interactions["split"] != "test", "source_row"].tolist()
    )
    check = validator(past, seed=0)
    validation = rows[rows["split"] == "validation"]
    assert len(check.cases) <= len(validation)
    assert set(check.cases.timestamps) <= set(validation["timestamp"].to_numpy("datetime64[us]"))
    assert (check.cases.refresh_at <= check.cases.timestamps).all()


@pytest.mark.parametrize("built", ["by_time", "at_random"], indirect=True)
def test_leave_one_out_asks_once_per_user_at_one_refresh(built: Built) -> None:
    cases, rows = built.storage.read_table("test_cases"), built.interactions
    counts = pd.Series([row[0] for row in ROWS]).value_counts()
    assert sorted(cases["user_id"]) == sorted(counts[counts >= 3].index)
    assert set(cases["timestamp"]) == {rows["timestamp"].max()}
    assert (cases["refresh_at"] == cases["timestamp"]).all()
    assert (cases["window"] == 0).all()
    assert cases["on_catalog"].all()
    assert cases["user_in_train"].all()
    known = rows[rows["split"] != "test"]
    assert cases["engagements_seen"].tolist() == [int((known["item_id"] == item).sum()) for item in cases["item_id"]]
    histories = built.storage.read_table("user_histories").set_index("user_id")["item_ids"]
    for user, history in histories.items():
        mine = known[known["user_id"] == user].sort_values(["timestamp", "source_row"])
        assert list(history) == mine["item_id"].tolist()[-built.split.history_length :]


@pytest.mark.parametrize("built", ["by_time"], indirect=True)
def test_an_item_of_test_rows_alone_is_a_candidate_that_training_never_saw(built: Built) -> None:
    items = built.storage.read_table("items").set_index("item_id")
    cutoff = pd.Timestamp("2020-03-11")  # the last day of train is March 9
    row = items.loc["made_later"]
    assert (row["first_engaged_at"], row["available_at"], row["created_at"]) == (
        cutoff,
        cutoff,
        pd.Timestamp(MADE_AT["made_later"]),
    )
    assert (row["train_count"], row["slice"]) == (0, "cold")
    tables = load_tables(built.storage)
    assert tables.cutoff == np.datetime64(cutoff, "us")
    assert "made_later" not in set(before_cutoff(tables).catalog.item_ids)
    assert "made_later" in set(tables.catalog.item_ids[tables.catalog.rows_at(tables.cutoff)])


@pytest.mark.parametrize("built", ["frames"], indirect=True)
def test_frames_follow_each_other_whether_or_not_anything_happens(built: Built) -> None:
    bounds, rows = built.storage.read_table("split_bounds"), built.interactions
    tested = rows[rows["split"] == "test"]
    frames = bounds[bounds["split"] == "test"].sort_values("window")
    cutoff = tested["timestamp"].min()
    day = pd.Timedelta(1, "D")
    assert (frames["starts_at"] == [cutoff + place * day for place in range(len(frames))]).all()
    assert frames["ends_at"].iloc[-1] == rows["timestamp"].max() + pd.Timedelta(1, "us")
    assert (tested["window"] == (tested["timestamp"] - cutoff) // day).all()
    counts = tested["window"].value_counts()
    assert frames["engagements"].tolist() == [counts.get(window, 0) for window in frames["window"]]
    assert 0 in frames["engagements"].tolist()


@pytest.mark.parametrize("built", ["by_item"], indirect=True)
def test_held_out_items_are_asked_for_once_all_else_has_trained(built: Built) -> None:
    rows, cases = built.interactions, built.storage.read_table("test_cases")
    assert set(rows.loc[rows["split"] == "test", "item_id"]) == HELD_OUT
    assert not HELD_OUT & set(rows.loc[rows["split"] != "test", "item_id"])
    assert set(cases["timestamp"]) == set(cases["refresh_at"]) == {pd.Timestamp("2020-03-10")}
    assert (cases["window"] == 0).all()
    assert (cases["slice"] == "cold").all()
    assert (cases["engagements_seen"] == 0).all()
    assert cases["on_catalog"].all()
    assert not cases["is_repeat"].any()
    assert cases.groupby("user_id")["user_in_train"].first().to_dict() == {
        user: user != "newcomer" for user in cases["user_id"]
    }
    histories = built.storage.read_table("user_histories").set_index("user_id")["item_ids"]
    assert "newcomer" not in histories
    assert not HELD_OUT & {item for history in histories for item in history}


@pytest.mark.parametrize("built", ["by_item"], indirect=True)
def test_held_out_items_join_the_catalog_at_the_test_instant_whenever_they_were_created(built: Built) -> None:
    items = built.storage.read_table("items").set_index("item_id")
    held_out = items.loc[sorted(HELD_OUT)]
    assert set(held_out["available_at"]) == set(held_out["first_engaged_at"]) == {pd.Timestamp("2020-03-10")}
    assert set(held_out["train_count"]) == {0}
    assert held_out.loc["i3", "created_at"] == pd.Timestamp(MADE_AT["i3"])
    tables = load_tables(built.storage)
    past = before_cutoff(tables)
    assert set(past.catalog.item_ids) == set(items.index) - HELD_OUT
    assert set(tables.catalog.item_ids[tables.catalog.rows_at(tables.cutoff)]) == set(items.index)
    assert "newcomer" not in set(past.users["user_id"])


@pytest.mark.parametrize("built", ["by_user"], indirect=True)
def test_held_out_users_are_asked_one_after_another_by_a_model_that_knows_none(built: Built) -> None:
    rows, cases = built.interactions, built.storage.read_table("test_cases")
    assert set(rows.loc[rows["split"] == "test", "user_id"]) == USERS_OUT
    assert not USERS_OUT & set(rows.loc[rows["split"] != "test", "user_id"])
    assert len(cases) == (rows["split"] == "test").sum() > 1
    assert not cases["user_in_train"].any()
    assert (cases["window"] == 0).all()
    tested = rows[rows["split"] == "test"]
    moved = tested["timestamp"] - tested["source_timestamp"]
    assert (moved == moved.iloc[0]).all()
    assert moved.iloc[0] % pd.Timedelta(1, "D") == pd.Timedelta(0)
    assert tested["timestamp"].min() >= rows.loc[rows["split"] != "test", "timestamp"].max().ceil("D")
    assert not USERS_OUT & set(built.storage.read_table("user_histories")["user_id"])
    held = {user for users in built.storage.read_table("item_histories")["user_ids"] for user in users}
    assert not USERS_OUT & held
    past = before_cutoff(load_tables(built.storage))
    assert not USERS_OUT & set(past.users["user_id"])


@pytest.mark.parametrize("built", ["by_user"], indirect=True)
def test_a_held_out_user_s_own_engagements_are_history_by_the_next_request(built: Built) -> None:
    tables = load_tables(built.storage)
    stream, rows = tables.stream, built.interactions
    user = sorted(USERS_OUT)[0]
    mine = rows[rows["user_id"] == user].sort_values("timestamp")
    instant = mine["timestamp"].iloc[-1]
    known = stream.before(np.datetime64(instant, "us"))
    row = list(tables.users["user_id"]).index(user)
    assert (known.users == row).sum() == (mine["timestamp"] < instant).sum() > 0
    assert (stream.before(tables.cutoff).users == row).sum() == 0
