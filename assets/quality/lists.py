"""Columns of lists as Arrow holds them: lengths and entries of a million lists without a look at each."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def lists_of(column: pd.Series) -> pa.ListArray:
    """[N] lists.

    Raises:
        TypeError: when the column holds something else, or an entry is missing.
    """
    try:
        held = pa.array(column)
    except pa.ArrowException as error:
        raise TypeError(f"{column.name} does not hold lists: {error}") from error
    held = held.combine_chunks() if isinstance(held, pa.ChunkedArray) else held
    if not pa.types.is_list(held.type) or held.null_count:
        raise TypeError(f"{column.name} does not hold a list in every row")
    return held


def list_lengths(lists: pa.ListArray) -> NDArray[np.int64]:
    """[N]."""
    return pc.list_value_length(lists).to_numpy(zero_copy_only=False).astype(np.int64)
