"""Items' dense content in the store: behind the features of an encoded row, as if it were one feature more.

The values of that feature are the numbers' bits as int32. An item without content, or with content of another length
than the model's, has none of them.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assets.schema import Columns
from assets.stream import Int
from assets.training.encoding import content_matrix

Run = tuple[Int, Int]
"""All values one after another, and [N] how many each row has."""


def packed(items: pd.DataFrame, width: int) -> list[Run]:
    """What goes behind the features of ``items`` [N] for a model that reads ``width`` numbers; nothing for 0."""
    if not width:
        return []
    if Columns.CONTENT not in items:
        return [(np.zeros(0, np.int64), np.zeros(len(items), np.int64))]
    content = content_matrix(items[Columns.CONTENT], width)
    known = ~np.isnan(content).any(axis=1)
    bits: Int = content[known].view(np.int32).ravel().astype(np.int64)
    return [(bits, np.where(known, width, 0).astype(np.int64))]


def unpacked(run: Run, values: Sequence[bytes | None], width: int) -> NDArray[np.float32]:
    """[N, width] content, a row of NaN for an item without.

    Args:
        run: the feature behind the others, of the encoded rows ``values`` [N]; an absent row stands for a value of OOV.
    """
    bits, lengths = run
    content = np.full((len(lengths), width), np.nan, np.float32)
    known = (lengths == width) & np.fromiter((value is not None for value in values), np.bool_, len(values))
    content[known] = bits[np.repeat(known, lengths)].astype(np.int32).view(np.float32).reshape(-1, width)
    return content
