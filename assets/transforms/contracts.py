"""The exported tables: from which model, in which order, with which columns and types."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa

from assets import keys
from assets.schema import Columns

_TIME: Final = pa.timestamp("us")
_TEXT: Final = pa.string()
_COUNT: Final = pa.int64()


@dataclass(frozen=True)
class Export:
    """One exported table.

    Attributes:
        name: of the table, ``storage.table(name)``.
        key: asset key of the dbt model it comes from; the last part is the model's name.
        order_by: SQL, a total order.
        columns: name -> Arrow type.
        optional: name -> Arrow type of columns that are left out where no row has a value.
        has_features: whether the dataset's categorical list columns follow.
    """

    name: str
    key: keys.Key
    order_by: str
    columns: Mapping[str, pa.DataType]
    has_features: bool = False
    optional: Mapping[str, pa.DataType] = field(default_factory=dict)

    @property
    def model(self) -> str:
        return self.key[-1]


EXPORTS: Final = (
    Export(
        "interactions",
        [keys.SPLITS, "interactions_split"],
        '"timestamp", source_row',
        {
            Columns.USER: _TEXT,
            Columns.ITEM: _TEXT,
            Columns.TIMESTAMP: _TIME,
            Columns.EVENT_TYPE: _TEXT,
            Columns.VALUE: pa.float64(),
            Columns.SOURCE_ROW: _COUNT,
            Columns.SOURCE_TIMESTAMP: _TIME,
            Columns.SPLIT: _TEXT,
            Columns.WINDOW: pa.int32(),
        },
    ),
    Export(
        "split_bounds",
        [keys.SPLITS, "split_bounds"],
        '"window" nulls first, split',
        {
            Columns.SPLIT: _TEXT,
            Columns.WINDOW: pa.int32(),
            Columns.STARTS_AT: _TIME,
            Columns.ENDS_AT: _TIME,
            "engagements": _COUNT,
        },
    ),
    Export(
        "items",
        [keys.SLICES, "items"],
        "item_id",
        {
            Columns.ITEM: _TEXT,
            Columns.TITLE: _TEXT,
            Columns.CREATED_AT: _TIME,
            Columns.AVAILABLE_AT: _TIME,
            Columns.FIRST_ENGAGED_AT: _TIME,
            Columns.TRAIN_COUNT: _COUNT,
            Columns.SLICE: _TEXT,
        },
        has_features=True,
        optional={Columns.CONTENT: pa.list_(pa.float32())},
    ),
    Export("users", [keys.SLICES, "users"], "user_id", {Columns.USER: _TEXT, Columns.TRAIN_COUNT: _COUNT}, True),
    Export(
        "test_cases",
        [keys.SLICES, "test_cases"],
        '"timestamp", source_row',
        {
            Columns.USER: _TEXT,
            Columns.ITEM: _TEXT,
            Columns.TIMESTAMP: _TIME,
            Columns.SOURCE_ROW: _COUNT,
            Columns.WINDOW: pa.int32(),
            Columns.SLICE: _TEXT,
            Columns.REFRESH_AT: _TIME,
            Columns.ON_CATALOG: pa.bool_(),
            Columns.ENGAGEMENTS_SEEN: _COUNT,
            Columns.IS_REPEAT: pa.bool_(),
            Columns.USER_IN_TRAIN: pa.bool_(),
        },
    ),
    Export(
        "user_histories",
        [keys.HISTORIES, "user_histories"],
        "user_id",
        {Columns.USER: _TEXT, "item_ids": pa.list_(_TEXT), "timestamps": pa.list_(_TIME)},
    ),
    Export(
        "item_histories",
        [keys.HISTORIES, "item_histories"],
        "item_id",
        {Columns.ITEM: _TEXT, "user_ids": pa.list_(_TEXT), "timestamps": pa.list_(_TIME)},
    ),
    Export("dataset_profile", [keys.SLICES, "dataset_profile"], '"name"', {"name": _TEXT, Columns.VALUE: pa.float64()}),
)
