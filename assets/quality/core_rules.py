"""The leakage rule of the k-core filter, recomputed from the exported engagements alone."""

import pandas as pd

from assets.quality.split_tables import SplitTables
from assets.schema import Columns


def rows_outside_the_core(tables: SplitTables) -> pd.DataFrame:
    """Engagements that count, of a user or on an item with fewer of them than k_core asks for.

    Those before the cutoff count, or all where the filter looks ahead. None breaks the rule without a k_core, nor where
    k_core_passes ends the filter before all that is kept has enough.
    """
    rule = tables.engagement
    rows = tables.interactions if rule.looks_ahead else tables.past
    if not rule.k_core or rule.k_core_passes is not None:
        return rows.head(0)
    of_user, of_item = (rows.groupby(column)[column].transform("size") for column in (Columns.USER, Columns.ITEM))
    counted = rows.assign(of_user=of_user, of_item=of_item)
    return counted[(of_user < rule.k_core) | (of_item < rule.k_core)]
