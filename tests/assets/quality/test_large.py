"""A large table's result, of suspects and first rows alone, is that of the whole table; the whole is the reference."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from assets.quality import large, large_frames, results, suspects
from assets.quality.suites import SUITES
from assets.quality.validation import validate_frame
from assets.quality.vocabulary import Limits
from assets.storage import Storage
from dashboards.data_docs import TableResult
from tests.assets.quality.toy import change, set_cell, toy_settings

Plant = Callable[[pd.DataFrame], pd.DataFrame]
FUTURE = pd.Timestamp("2999-01-01")
NOW = pd.Timestamp("2020-01-01")
LARGE = [name for name, suite in SUITES.items() if suite.large]


def cell(column: str, value: object, row: int = 0) -> Plant:
    return lambda table: set_cell(table, row, column, value)


def twice(table: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([table, table.iloc[[7]], table.iloc[[7]]], ignore_index=True)


ENGAGEMENTS: list[Plant] = [
    cell("user_id", None, 50),
    cell("item_id", "", 51),
    cell("item_id", "stranger", 44),
    cell("timestamp", pd.NaT, 52),
    cell("timestamp", FUTURE, 55),
    cell("timestamp", pd.Timestamp("1970-01-12"), 45),
    cell("event_type", None, 53),
    cell("value", np.inf, 54),
    cell("value", np.nan, 47),
    cell("source_row", -1, 46),
    twice,
    lambda table: table.assign(event_type=None),
    lambda table: table.iloc[::-1],
    lambda table: table.assign(source_row=7),
    lambda table: table.drop(columns="event_type"),
    lambda table: table.assign(timestamp=table["timestamp"].astype(str)),
]
SPLITS: list[Plant] = [
    cell("split", "future", 49),
    cell("split", None, 49),
    cell("window", 1, 8),
    cell("window", None, -3),
    cell("window", 2, -4),
    lambda table: table[table["split"] != "validation"],
]
CASES: list[Plant] = [
    cell("source_row", 0),
    cell("source_row", None),
    cell("window", 7, 1),
    cell("window", None, 1),
    cell("slice", "lukewarm", 2),
    cell("engagements_seen", -1, 3),
    cell("on_catalog", None, 4),
    cell("user_id", "u0'; --", 5),
    cell("timestamp", FUTURE, 5),
    lambda table: table.iloc[:-3],
    lambda table: table.head(0),
    twice,
]
PLANTED: list[tuple[str, list[Plant]]] = [
    *((name, []) for name in LARGE),
    ("raw_interactions", ENGAGEMENTS[:11]),
    *(("raw_interactions", [plant]) for plant in (ENGAGEMENTS[11], *ENGAGEMENTS[13:])),
    ("interactions", SPLITS[:5] + ENGAGEMENTS[:4] + SPLITS[5:]),
    ("interactions", ENGAGEMENTS[10:13]),
    ("test_cases", CASES[:9]),
    *(("test_cases", [plant]) for plant in CASES[9:]),
]


def told(result: TableResult) -> tuple[object, ...]:
    return result["success"], result["rows"], result["expectations"]


def both(storage: Storage, name: str) -> tuple[TableResult | None, TableResult]:
    suite, limits = SUITES[name], Limits.of(toy_settings(storage.root.parent).split, NOW)
    assert suite.large
    found = large.validate_large(name, suite.large, storage, suite.expectations(limits))
    return found, validate_frame(name, suite.frame(storage), suite.expectations(limits))


@pytest.mark.parametrize(("name", "plants"), PLANTED, ids=[f"{name} {len(plants)}" for name, plants in PLANTED])
def test_suspects_tell_what_the_whole_table_tells(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, name: str, plants: list[Plant]
) -> None:
    monkeypatch.setattr(large, "HEAD", 3)
    for plant in plants:
        change(results.table_path(storage, name), plant)
    found, whole = both(storage, name)
    if plants in ([ENGAGEMENTS[14]], [ENGAGEMENTS[15]]):  # without a column, or with one of another type
        assert found is None
    else:
        assert found is not None
        assert told(found) == told(whole)
    assert whole["success"] == (not plants)


def test_more_missing_cases_than_are_looked_at_are_counted_all(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (large, large_frames, suspects):
        monkeypatch.setattr(module, "MOST", 2)
    change(results.table_path(storage, "test_cases"), lambda table: table.iloc[:-5])
    found, whole = both(storage, "test_cases")
    assert found is not None
    counts = [
        [(one["about"], one["checked"], one["unexpected"], one["observed"]) for one in result["expectations"]]
        for result in (found, whole)
    ]
    assert counts[0] == counts[1]
