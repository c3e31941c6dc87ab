"""Content on its way out of the warehouse: kept to the bit, and no column where nobody has any."""

import numpy as np
import pyarrow as pa
import pytest

from assets.schema import Columns
from assets.transforms.contracts import EXPORTS
from assets.transforms.export import conform

ITEMS = next(export for export in EXPORTS if export.name == "items")


def rows(content: pa.Array) -> pa.Table:
    columns = {name: pa.nulls(len(content), kind) for name, kind in ITEMS.columns.items()}
    return pa.table({**columns, "genre": pa.array([["a"]] * len(content)), Columns.CONTENT: content})


def test_content_follows_the_contracts_columns_as_floats() -> None:
    numbers = [[float(np.float32(0.1)), -0.0, 3e-39], None]
    table = conform(ITEMS, rows(pa.array(numbers, pa.list_(pa.float32()))))
    assert table.column_names == [*ITEMS.columns, Columns.CONTENT, "genre"]
    assert table.schema.field(Columns.CONTENT).type == pa.list_(pa.float32())
    flat = table[Columns.CONTENT].combine_chunks().flatten().to_numpy()
    assert flat.tobytes() == np.array(numbers[0], np.float32).tobytes()
    assert table[Columns.CONTENT].null_count == 1


def test_a_dataset_without_content_has_no_such_column() -> None:
    table = conform(ITEMS, rows(pa.nulls(2, pa.list_(pa.float32()))))
    assert table.column_names == [*ITEMS.columns, "genre"]


def test_content_that_is_no_list_of_numbers_is_refused() -> None:
    with pytest.raises(TypeError, match=r"items\.content: "):
        conform(ITEMS, rows(pa.array(["a", "b"])))
