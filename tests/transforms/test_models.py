"""The dbt project: its unit tests, its data tests on broken data, and its tables against slow pandas."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from assets.config import Settings, SplitConfig
from assets.schema import INTERACTION_COLUMNS
from assets.storage import Storage
from assets.transforms.export import export_tables
from assets.transforms.project import prepare_manifest
from assets.transforms.stamp import end_build
from assets.transforms.variables import dbt_vars
from tests.support import interactions_frame, write_tables
from tests.transforms.raw import dbt, random_rows, small_raw, write_raw

SPLIT = SplitConfig(windows=4, validation_fraction=0.25, tail_max_count=3, qualified_user_min=8, history_length=4)
SETTINGS = Settings(dataset="toy", split=SPLIT)


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(prepare_manifest().read_text())
    return content


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Storage, dict[str, str]]:
    storage = small_raw(Storage(tmp_path_factory.mktemp("built"), "toy"))
    results = dbt(storage, SETTINGS, "build")
    end_build(storage, {"data_version": "v1", "vars": dbt_vars(SETTINGS)})
    export_tables(storage)
    return storage, results


def _models(manifest: dict[str, Any]) -> set[str]:
    return {node["name"] for node in manifest["nodes"].values() if node["resource_type"] == "model"}


def test_every_model_has_a_unit_test_and_every_unit_test_passes(
    manifest: dict[str, Any], built: tuple[Storage, dict[str, str]]
) -> None:
    names = {test["name"]: test["model"] for test in manifest["unit_tests"].values()}
    assert set(names.values()) == _models(manifest)
    results = built[1]
    ran = {name.split(".")[-1]: status for name, status in results.items() if name.split(".")[-1] in names}
    assert ran == dict.fromkeys(names, "pass")
    assert set(results.values()) <= {"pass", "success", "warn"}


def test_every_model_says_its_grain_and_describes_its_columns(manifest: dict[str, Any]) -> None:
    models = [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]
    assert [node["name"] for node in models if "Grain:" not in node["description"]] == []
    assert [node["name"] for node in models if not node["columns"]] == []
    undescribed = [
        (node["name"], column)
        for node in models
        for column, props in node["columns"].items()
        if not props["description"]
    ]
    assert undescribed == []


def _broken(storage: Storage) -> Storage:
    frame = interactions_frame(random_rows(1, n=20))
    frame.loc[3, "item_id"] = None
    frame.loc[4, "user_id"] = None
    frame.loc[5, "timestamp"] = pd.NaT
    frame.loc[6, "source_row"] = 7
    write_raw(storage, frame, items={"i1": ("g",)}, users=["u1", "u1"])
    return storage


def test_broken_raw_tables_fail_data_tests_and_stop_what_follows(tmp_path: Path) -> None:
    results = dbt(_broken(Storage(tmp_path, "toy")), SETTINGS, "build", "--exclude-resource-type", "unit_test")
    failed = {name.split(".")[0] for name, status in results.items() if status == "fail"}
    assert failed == {
        "not_null_stg_interactions_item_id",
        "not_null_stg_interactions_user_id",
        "not_null_stg_interactions_timestamp",
        "unique_stg_interactions_source_row",
        "unique_stg_users_user_id",
    }
    assert results["split_bounds"] == results["items"] == results["users"] == "skipped"


def test_a_dataset_without_train_time_fails(tmp_path: Path) -> None:
    rows = [("u1", f"i{n}", "2020-01-01 00:00:00") for n in range(6)]
    storage = write_raw(Storage(tmp_path, "toy"), interactions_frame(rows))
    results = dbt(storage, SETTINGS, "build", "--exclude-resource-type", "unit_test")
    failed = {name.split(".")[0] for name, status in results.items() if status == "fail"}
    assert {"train_and_validation_have_engagements", "not_null_split_bounds_ends_at"} <= failed
    assert results["interactions_split"] == "skipped"


def _reference(root: Path) -> Storage:
    frame = interactions_frame(random_rows(0))
    times = frame["timestamp"].sort_values(ignore_index=True)
    cutoff = times[len(times) // 2 - 1]  # the discrete median of 160
    train = times[times < cutoff]
    validation_start = train.iloc[-(-len(train) * 3 // 4) - 1]  # the discrete 0.75 quantile
    return write_tables(root, frame, str(cutoff), str(validation_start), windows=4, tail_max_count=3)


@pytest.mark.parametrize("name", ["interactions", "split_bounds", "test_cases"])
def test_tables_equal_the_reference(name: str, built: tuple[Storage, dict[str, str]], tmp_path: Path) -> None:
    expected, actual = _reference(tmp_path).read_table(name), built[0].read_table(name)
    assert len(expected) > 3
    order = ["timestamp", "source_row"] if "source_row" in expected else ["starts_at"]
    pd.testing.assert_frame_equal(
        actual[list(expected)].sort_values(order, ignore_index=True),
        expected.sort_values(order, ignore_index=True),
        check_dtype=False,
    )


def test_items_equal_the_reference_and_hold_the_never_engaged(
    built: tuple[Storage, dict[str, str]], tmp_path: Path
) -> None:
    columns = ["item_id", "available_at", "first_engaged_at", "train_count", "slice"]
    expected, actual = _reference(tmp_path).read_table("items"), built[0].read_table("items")
    engaged = actual[actual["item_id"] != "i14"]
    pd.testing.assert_frame_equal(
        engaged[columns].reset_index(drop=True),
        expected[columns].sort_values("item_id", ignore_index=True),
        check_dtype=False,
    )
    never = actual.set_index("item_id").loc["i14"]
    assert (never["slice"], never["train_count"], list(never["genre"])) == ("cold", 0, ["g"])
    assert pd.isna(never["available_at"])


def test_users_equal_the_reference_and_hold_the_never_engaged(
    built: tuple[Storage, dict[str, str]], tmp_path: Path
) -> None:
    expected = _reference(tmp_path).read_table("users").set_index("user_id")["train_count"].to_dict()
    actual = built[0].read_table("users").set_index("user_id")["train_count"].to_dict()
    assert actual == {**expected, "u9": 0}


def _histories(frame: pd.DataFrame, by: str, of: str) -> dict[str, list[tuple[str, pd.Timestamp]]]:
    known = frame.sort_values(["timestamp", "source_row"])
    return {
        str(key): list(zip(rows[of], rows["timestamp"], strict=True))[-SPLIT.history_length :]
        for key, rows in known.groupby(by)
    }


def _exported_histories(frame: pd.DataFrame) -> dict[str, list[tuple[str, pd.Timestamp]]]:
    return {
        row[0]: list(zip(row[1], pd.to_datetime(row[2]), strict=True))
        for row in frame.itertuples(index=False, name=None)
    }


def test_histories_equal_the_reference(built: tuple[Storage, dict[str, str]], tmp_path: Path) -> None:
    storage, frame = built[0], _reference(tmp_path).read_table("interactions")
    known = frame[frame["split"] != "test"]
    counts = known["user_id"].value_counts()
    qualified = set(counts[counts >= SPLIT.qualified_user_min].index)
    assert 0 < len(qualified) < len(counts)
    assert _exported_histories(storage.read_table("user_histories")) == _histories(known, "user_id", "item_id")
    assert _exported_histories(storage.read_table("item_histories")) == _histories(
        known[known["user_id"].isin(qualified)], "item_id", "user_id"
    )


def test_profile_counts_what_the_tables_hold(built: tuple[Storage, dict[str, str]]) -> None:
    storage = built[0]
    profile = storage.read_table("dataset_profile").set_index("name")["value"]
    cases, items = storage.read_table("test_cases"), storage.read_table("items")
    trained = items.loc[items["train_count"] > 0, "train_count"]
    assert profile["interactions"] == 160
    assert (profile["items"], profile["users"]) == (15, 10)
    assert profile["imbalance_factor"] == pytest.approx(trained.max() / trained.min())
    assert profile["test_share_tail"] == pytest.approx((cases["slice"] == "tail").mean())
    assert profile["test_share_user_in_train"] == pytest.approx(cases["user_in_train"].mean())
    assert profile["test_share_off_catalog"] == pytest.approx(1 - cases["on_catalog"].mean())


def test_python_and_sql_spell_the_same_columns(manifest: dict[str, Any]) -> None:
    columns = {
        node["name"]: set(node["columns"]) for node in manifest["nodes"].values() if node["resource_type"] == "model"
    }
    assert columns["stg_interactions"] == set(INTERACTION_COLUMNS)
    assert columns["left_out"] == {"kind", "id", "engagements", "pass"}
    assert columns["timeline"] == {*INTERACTION_COLUMNS, "source_timestamp", "held_out"}
    assert columns["interactions_split"] == {*INTERACTION_COLUMNS, "source_timestamp", "split", "window"}
