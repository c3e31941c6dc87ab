"""What may be known before the cutoff, as tables of their own.

Training sees nothing but :func:`before_cutoff`'s result: no row, item or user of the future is in it, not even in the
number of rows of a matrix, so no mistake further on can look ahead.
"""

import numpy as np
import pandas as pd

from assets.schema import Columns
from assets.stream import Catalog, DatasetTables, EngagementStream


def before_cutoff(tables: DatasetTables) -> DatasetTables:
    """The tables without engagements from the cutoff on, items not available before it and users not seen before it.

    Universe rows are numbered anew.

    Raises:
        ValueError: when nobody engaged with anything before the cutoff.
    """
    interactions = tables.interactions
    interactions = interactions[(interactions[Columns.TIMESTAMP] < tables.cutoff).to_numpy()].reset_index(drop=True)
    if interactions.empty:
        raise ValueError(f"no engagement before the cutoff {tables.cutoff}: there is nothing to train on")
    items = tables.catalog.frame[tables.catalog.available_at < tables.cutoff]  # NaT is never before anything
    users = tables.users[tables.users[Columns.USER].isin(interactions[Columns.USER])]
    items, users = _renumber(items), _renumber(users)
    return DatasetTables(
        stream=EngagementStream.from_tables(interactions, users, items),
        catalog=Catalog.from_table(items),
        users=users,
        interactions=interactions,
        cutoff=np.datetime64(tables.cutoff),
        validation_start=np.datetime64(tables.validation_start),
    )


def _renumber(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.sort_values(frame.columns[0], ignore_index=True)
