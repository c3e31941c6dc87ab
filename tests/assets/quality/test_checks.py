"""Every check passes on right tables, and fails, naming the rows, on a table planted with what it is there to find."""

from collections.abc import Callable

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from assets import keys
from assets.config import SplitConfig
from assets.quality import checks, results
from assets.quality.assets import data_docs
from assets.quality.suites import SUITES
from assets.quality.vocabulary import Limits
from assets.storage import Storage
from dashboards.data_docs import TableResult
from tests.assets.quality.toy import change, set_cell, toy_settings

FUTURE = pd.Timestamp("2999-01-01")


def validate(storage: Storage, name: str, split: SplitConfig | None = None) -> TableResult:
    run = checks.validate_leakage if name == results.LEAKAGE else checks.validate_table
    settings = toy_settings(storage.root.parent)
    return run(name, storage, settings.model_copy(update={"split": split}) if split else settings)


def not_met(result: TableResult) -> list[str]:
    return [one["about"] for one in result["expectations"] if not one["success"]]


@pytest.mark.parametrize("name", results.NAMES)
def test_right_tables_pass(storage: Storage, name: str) -> None:
    result = validate(storage, name)
    assert (result["success"], not_met(result)) == (True, [])
    assert result["rows"] > 0


def cell(column: str, value: object, row: int = 0) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda table: set_cell(table, row, column, value)


def twice(table: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([table, table.iloc[[0]]], ignore_index=True)


def backward(table: pd.DataFrame) -> pd.DataFrame:
    return set_cell(table, 0, "timestamps", table["timestamps"].iloc[0][::-1])


def too_long(table: pd.DataFrame) -> pd.DataFrame:
    return set_cell(table, 2, "timestamps", [table["timestamps"].iloc[2][0]] * 60)


def with_wrong_type(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(timestamp=table["timestamp"].astype(str))


Plant = Callable[[pd.DataFrame], pd.DataFrame]

MISSING = "timestamp is never missing"
BAD_CELLS: dict[str, Plant] = {
    "user_id is never missing": cell("user_id", None, 0),
    "item_id is not empty": cell("item_id", "", 1),
    MISSING: cell("timestamp", pd.NaT, 2),
    "event_type is never missing": cell("event_type", None, 4),
    "value is finite or missing": cell("value", np.inf, 5),
    "source_row is a count": cell("source_row", -1, 6),
    "one row per source_row": twice,
}
FEW = "rows enough for a train half and 2 windows"
BETWEEN = "timestamp is between 1971-01-01 and now"
ON_TIMELINE = "timestamp is not behind the end of the timeline, nor before 1971"
# Faults of one table that leave each other alone are planted together: a validation costs a few tenths of a second.
PLANTED: list[tuple[str, dict[str, Plant]]] = [
    ("raw_interactions", BAD_CELLS),
    ("raw_interactions", {BETWEEN: cell("timestamp", FUTURE), FEW: lambda table: table.head(3)}),
    ("raw_interactions", {BETWEEN: cell("timestamp", pd.Timestamp("1970-01-12"))}),
    ("raw_interactions", {"timestamp is a timestamp": with_wrong_type}),
    (
        "raw_items",
        {
            "every feature is a list of values, empty where nothing is known": cell("genre", None, 1),
            "created_at is a timestamp": lambda table: table.assign(created_at=table["created_at"].astype(str)),
            "there is a title column": lambda table: table.drop(columns="title"),
            "one row per item_id": twice,
        },
    ),
    (
        "raw_users",
        {
            "every feature is a list of values, empty where nothing is known": lambda table: table.assign(age="18"),
            "user_id is text": lambda table: table.assign(user_id=range(len(table))),
            "one row per user_id": twice,
        },
    ),
    (
        "interactions",
        {
            **BAD_CELLS,
            "split is one of train, validation, test": cell("split", "future", 7),
            "no train engagement has a window": cell("window", 1, 8),
            "every test engagement has a window": cell("window", None, -3),
            "window is one of 0 to 1": cell("window", 2, -4),
            "every user_id is in the users table": cell("user_id", "stranger", 9),
            "every item_id is in the items table": cell("item_id", "stranger", 10),
            "rows are in order of timestamp and source_row": lambda table: table.iloc[::-1],
        },
    ),
    ("interactions", {"every split has engagements": lambda table: table[table["split"] != "validation"]}),
    ("interactions", {ON_TIMELINE: cell("timestamp", FUTURE), FEW: lambda table: table.head(3)}),
    (
        "interactions",
        {f"source_{BETWEEN}": cell("source_timestamp", FUTURE), f"source_{MISSING}": cell("source_timestamp", None, 1)},
    ),
    (
        "split_bounds",
        {
            "split is one of train, validation, test": cell("split", "future", 1),
            "every interval ends after it starts": lambda table: table.assign(ends_at=table["starts_at"]),
            "no split or window is empty (if a window is: fewer windows, or split.cut_by: count)": cell(
                "engagements", 0, 2
            ),
            "engagements are those labelled so": cell("engagements", 1, 3),
            "train, validation and 2 windows": twice,
        },
    ),
    (
        "items",
        {
            "train_count is a count": cell("train_count", -1, 0),
            "slice is one of head, tail, cold": cell("slice", "lukewarm", 1),
            "available_at of an engaged item is not behind the end of the timeline": cell("available_at", FUTURE, 2),
            "first_engaged_at is not behind the end of the timeline, nor before 1971": cell(
                "first_engaged_at", FUTURE, 3
            ),
            "one row per item_id": twice,
        },
    ),
    ("items", {"there are items": lambda table: table.head(0)}),
    ("users", {"train_count is never missing": cell("train_count", None), "one row per user_id": twice}),
    ("users", {"there are users": lambda table: table.head(0)}),
    (
        "test_cases",
        {
            "every case is a test engagement, with its user, item, time and window": cell("source_row", 0, 0),
            "window is one of 0 to 1": cell("window", 7, 1),
            "slice is one of head, tail, cold": cell("slice", "lukewarm", 2),
            "engagements_seen is a count": cell("engagements_seen", -1, 3),
            "on_catalog is never missing": cell("on_catalog", None, 4),
            "every item_id is in the items table": cell("item_id", "stranger", 5),
            "every test engagement has a case": lambda table: table.iloc[:-1],
            "one row per source_row": twice,
        },
    ),
    *(
        (
            name,
            {
                "entries are oldest first": backward,
                "one timestamp for every entry": cell(members, ["x"], 1),
                "at most the latest 50 engagements": too_long,
                f"every {owner} is in the {owner[:-3]}s table": cell(owner, "stranger", 2),
                f"one row per {owner}": lambda table: pd.concat([table, table.iloc[[1]]], ignore_index=True),
            },
        )
        for name, members, owner in (
            ("user_histories", "item_ids", "user_id"),
            ("item_histories", "user_ids", "item_id"),
        )
    ),
]


@pytest.mark.parametrize(("name", "faults"), PLANTED, ids=[f"{name}: {len(faults)} faults" for name, faults in PLANTED])
def test_planted_faults_fail(storage: Storage, name: str, faults: dict[str, Plant]) -> None:
    for plant in faults.values():
        change(results.table_path(storage, name), plant)
    result = validate(storage, name)
    assert not result["success"]
    assert set(faults) <= set(not_met(result))


@pytest.mark.parametrize("instant", [FUTURE, pd.Timestamp("9999-12-31")], ids=str)
def test_an_announced_item_that_nobody_engaged_with_is_right(storage: Storage, instant: pd.Timestamp) -> None:
    def announced(table: pd.DataFrame) -> pd.DataFrame:
        row = {"item_id": "announced", "title": "Announced", "created_at": instant, "genre": ["drama"]}
        later = {"available_at": instant, "first_engaged_at": pd.NaT, "train_count": 0, "slice": "cold"}
        row |= {name: value for name, value in later.items() if name in table}
        times = [name for name in ("created_at", "available_at", "first_engaged_at") if name in table]
        kept = {name: [*table[name], row.get(name)] for name in table}
        return pd.DataFrame(kept).astype(dict.fromkeys(times, "datetime64[us]"))

    for name in ("raw_items", "items"):
        change(results.table_path(storage, name), announced)
        assert (validate(storage, name)["success"], not_met(validate(storage, name))) == (True, [])
    assert not_met(validate(storage, results.LEAKAGE)) == []
    change(results.table_path(storage, "items"), cell("first_engaged_at", pd.Timestamp("2001-01-20"), -1))
    assert "available_at of an engaged item is not behind the end of the timeline" in not_met(
        validate(storage, "items")
    )


@pytest.mark.parametrize(("kind", "end"), [("leave_one_out", "2020-05-03"), ("held_out_items", "2020-05-02")])
@pytest.mark.parametrize("hour", [0, 23])
def test_what_is_held_out_reaches_past_the_last_day(kind: str, end: str, hour: int) -> None:
    now = pd.Timestamp("2020-05-01") + pd.Timedelta(hour, "h")
    limits = Limits.of(SplitConfig(kind=kind), now)
    assert (limits.now, limits.timeline_end, limits.windows) == (now, pd.Timestamp(end), 1)
    moved = Limits.of(SplitConfig(kind="held_out_users"), now).timeline_end
    assert moved == pd.Timestamp("2020-05-02") + (now - pd.Timestamp("1971-01-01"))
    assert Limits.of(SplitConfig(windows=4), now) == Limits(now, now, 4, 50)
    assert Limits.of(SplitConfig(kind="fraction"), now) == Limits(now, now, None, 50)


FRAMES = SplitConfig(kind="fraction")


@pytest.mark.parametrize("name", ["raw_interactions", "interactions", "split_bounds", "test_cases"])
def test_any_number_of_frames_is_right(storage: Storage, name: str) -> None:
    assert not_met(validate(storage, name, FRAMES)) == []


def test_a_frame_may_be_empty_and_train_time_may_not(storage: Storage) -> None:
    path = results.table_path(storage, "split_bounds")
    interactions = results.table_path(storage, "interactions")
    change(interactions, lambda table: table[table["window"].fillna(-1) != 0])
    change(path, cell("engagements", 0, 2))
    assert not_met(validate(storage, "split_bounds", FRAMES)) == []
    change(interactions, lambda table: table[table["split"] != "validation"])
    change(path, cell("engagements", 0, 1))
    assert not_met(validate(storage, "split_bounds", FRAMES)) == ["train and validation are not empty"]
    change(path, lambda table: table.head(2))
    assert "train, validation and a frame" in not_met(validate(storage, "split_bounds", FRAMES))


@pytest.mark.parametrize("name", ["interactions", "test_cases"])
def test_a_frame_before_the_first_is_found(storage: Storage, name: str) -> None:
    change(results.table_path(storage, name), cell("window", -1, -4))
    assert "window is 0 or more" in not_met(validate(storage, name, FRAMES))


def test_failing_rows_are_kept_and_at_most_twenty(storage: Storage) -> None:
    change(results.table_path(storage, "interactions"), lambda table: table.assign(event_type=None))
    (one,) = [one for one in validate(storage, "interactions")["expectations"] if one["column"] == "event_type"]
    assert (one["unexpected"], one["checked"]) == (56, 56)
    assert one["failing"] is not None
    assert len(one["failing"]["rows"]) == results.SAMPLE_ROWS
    assert one["failing"]["columns"][:3] == ["user_id", "item_id", "timestamp"]


def test_a_missing_column_is_reported_as_such(storage: Storage) -> None:
    change(results.table_path(storage, "interactions"), lambda table: table.drop(columns="event_type"))
    errors = {one["error"] for one in validate(storage, "interactions")["expectations"] if one["error"]}
    assert errors == {'The column "event_type" in BatchData does not exist.'}
    change(results.table_path(storage, "test_cases"), lambda table: table.drop(columns="is_repeat"))
    leakage = [one for one in validate(storage, "leakage")["expectations"] if not one["success"]]
    assert [one["error"] for one in leakage] == ["cannot be checked, KeyError: 'is_repeat'"]


def test_raw_items_without_a_description_warn_and_stop_nothing(storage: Storage) -> None:
    change(storage.raw_table("items"), lambda table: table.iloc[1:])
    result = validate(storage, "raw_interactions")
    assert result["success"]
    assert not_met(result) == ["every item_id is in the items table"]
    metadata = checks.check_metadata(storage, result)
    assert (metadata["warnings"].value, metadata["failed"].value) == (1, 0)


def test_a_table_that_was_not_written_is_named(storage: Storage) -> None:
    storage.table("users").unlink()
    with pytest.raises(FileNotFoundError, match=r"users\.parquet"):
        validate(storage, "interactions")


def test_every_result_has_a_check_and_every_table_a_suite() -> None:
    keyed = {(key.asset_key, key.name) for check in checks.CHECKS for key in check.check_keys}
    raw = {(dg.AssetKey(key), name) for name, key in results.RAW.items()}
    exported = {(dg.AssetKey(keys.TABLES), name) for name in (*results.EXPORTED, results.LEAKAGE)}
    assert keyed == raw | exported
    assert set(SUITES) == {*results.RAW, *results.EXPORTED}
    assert all(spec.blocking for check in checks.CHECKS for spec in check.check_specs)


@dg.asset(key=keys.TABLES)
def stand_in() -> None:
    """The exported tables are on disk already."""


def run_checks(storage: Storage) -> dg.ExecuteInProcessResult:
    chosen = [check for check in checks.CHECKS if next(iter(check.check_keys)).asset_key == dg.AssetKey(keys.TABLES)]
    resources = {"storage": storage, "settings": toy_settings(storage.root.parent)}
    return dg.materialize([stand_in, data_docs, *chosen], resources=resources, raise_on_error=False)


def test_checks_and_page_in_a_run(storage: Storage) -> None:
    run = run_checks(storage)
    assert run.success
    assert all(one.passed for one in run.get_asset_check_evaluations())
    assert {path.stem for path in (storage.quality / "results").iterdir()} == {*results.EXPORTED, results.LEAKAGE}
    found = results.read_results(storage)
    assert (found.missing, found.stale) == ([*results.RAW], [])
    (event,) = run.asset_materializations_for_node("quality__data_docs")
    assert event.metadata["validated"].value == 8
    assert "not every table is validated" in results.page_path(storage).read_text(encoding="utf-8")


def test_a_failing_check_stops_the_run_and_still_writes_its_result_and_the_page(storage: Storage) -> None:
    change(storage.table("items"), lambda table: table.assign(train_count=table["train_count"] + 1))
    run = run_checks(storage)
    assert not run.success
    assert not run.asset_materializations_for_node("quality__data_docs")
    (failed,) = [one for one in run.get_asset_check_evaluations() if not one.passed]
    assert (failed.check_name, failed.severity) == ("leakage", dg.AssetCheckSeverity.ERROR)
    assert "| i0 |" in failed.metadata["failing_rows/item_counts_of_train/items"].value
    page = results.page_path(storage).read_text(encoding="utf-8")
    assert "✗ 1 failed: leakage" in page


def test_a_table_written_again_makes_its_result_stale(storage: Storage) -> None:
    results.write_result(storage, validate(storage, "users"))
    assert results.read_results(storage).stale == []
    change(storage.table("users"), lambda table: table)
    assert results.read_results(storage).stale == ["users"]


def test_a_broken_result_is_named(storage: Storage) -> None:
    path = results.result_path(storage, "users")
    path.parent.mkdir(parents=True)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=r"users\.json is not a validation result"):
        results.read_results(storage)


def test_markdown_of_cells_keeps_the_table_whole() -> None:
    rows = pd.DataFrame({"a|b": ["x|y\nz", None], "list": [np.array(list("abcdefgh")), []]})
    assert results.markdown(results.sample(rows)).splitlines() == [
        "| a\\|b | list |",
        "| --- | --- |",
        "| x\\|y z | [a, b, c, d, e, f, ...] |",
        "|  | [] |",
    ]
