"""The words of ``assets/schema.py`` and those of the SQL are the same words."""

import re

import pytest

from assets.config import PROJECT_ROOT
from assets.schema import (
    INTERACTION_COLUMNS,
    ITEM_BASE_COLUMNS,
    METRIC_COLUMNS,
    USER_BASE_COLUMNS,
    CaseSlice,
    Columns,
    ItemSlice,
    Split,
)

NOT_IN_THE_WAREHOUSE = {Columns.REASON}  # only in the quarantine table, which ingestion writes
COLUMNS = {value for name, value in vars(Columns).items() if name.isupper()}
COMMENT = re.compile(r"--.*")
LABELS = re.compile(r"\b(?:split|slice)\b\s*(?:=|<>)\s*'(\w+)'")


def sql() -> str:
    """All models and macros, without comments."""
    files = sorted((PROJECT_ROOT / "transforms").glob("m*/**/*.sql"))
    assert files
    return COMMENT.sub("", "\n".join(file.read_text(encoding="utf-8") for file in files))


@pytest.mark.parametrize("column", sorted(COLUMNS - NOT_IN_THE_WAREHOUSE))
def test_every_column_is_spelled_so_in_sql(column: str) -> None:
    assert re.search(rf"\b{column}\b", sql())


@pytest.mark.parametrize("label", [*Split, *ItemSlice])
def test_every_split_and_slice_is_spelled_so_in_sql(label: str) -> None:
    assert f"'{label}'" in sql()


def test_sql_compares_splits_and_slices_with_known_labels_only() -> None:
    labels = set(LABELS.findall(sql()))
    assert labels
    assert labels <= {*Split, *ItemSlice}


def test_names_are_given_once() -> None:
    for names in (INTERACTION_COLUMNS, ITEM_BASE_COLUMNS, USER_BASE_COLUMNS, METRIC_COLUMNS):
        assert len(set(names)) == len(names)
    assert {*INTERACTION_COLUMNS, *ITEM_BASE_COLUMNS, *USER_BASE_COLUMNS} <= COLUMNS


def test_item_slices_are_case_slices() -> None:
    assert {*ItemSlice} <= {str(name) for name in CaseSlice}
