"""The line format that MovieLens set: user, item, rating, epoch seconds, with one separator or another."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from assets.ingestion import timestamps
from assets.ingestion.rows import SourceRows, read_delimited
from assets.ingestion.tables import interactions_table
from assets.ingestion.validate import Screen, Screened
from assets.schema import Columns


def read_ratings(path: Path, separator: str, now: datetime) -> Screened:
    """Interactions of event type ``rating`` from lines ``user, item, rating, epoch seconds``.

    Raises:
        IngestionError: as :func:`~assets.ingestion.rows.read_delimited`.
    """
    return rating_table(read_delimited(path, ("user", "item", "rating", "timestamp"), separator), now)


def rating_table(rows: SourceRows, now: datetime) -> Screened:
    """The same from rows with columns user, item, rating and timestamp."""
    screen = Screen(rows)
    seconds = timestamps.epoch(rows.column("timestamp"), timestamps.SECOND)
    columns = {
        Columns.USER: screen.ids("user"),
        Columns.ITEM: screen.ids("item"),
        Columns.TIMESTAMP: screen.timestamps(seconds, now),
        Columns.EVENT_TYPE: pa.array(np.full(len(rows), "rating")),
        Columns.VALUE: pa.array(screen.numbers("rating")),
        Columns.SOURCE_ROW: rows.numbers,
    }
    return screen.finish(interactions_table(columns))
