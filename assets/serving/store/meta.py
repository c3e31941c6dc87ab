"""What a store says of itself as a whole: META, names to JSON values."""

import json
from typing import Any, Final

from assets.serving.store.interface import Reader, Table, Writer

WATERMARK: Final = "watermark"
"""int microseconds: the largest engagement timestamp applied; absent before the first."""
EPOCH: Final = "epoch"
"""int microseconds: the instant that every trend value in the index is as of."""
SEQ: Final = "seq"
"""int: number of the latest delta; absent (0) before the first."""
CHANGES: Final = "changes"
"""int: items that the deltas after the snapshot name, with repetitions; absent (0) before the first delta."""
SNAPSHOT: Final = "snapshot"
"""object: seq, file, epoch, items, recall, created_at of the snapshot that the deltas after ``seq`` start from."""
ROWS_SINCE: Final = "rows_since"
"""int microseconds, event clock: ROWS of earlier hours were forgotten; absent while none was."""
GENERATION: Final = "generation"
"""object: what the generation was built from."""
ITEMS: Final = "items"
"""int: the number that the next new item gets."""
FEATURE_NAMES: Final = "feature_names"
"""object: items and users, each the names of their features in the order of the encoded rows."""


def get_meta(reader: Reader, name: str, default: Any = None) -> Any:
    """The value called ``name``, or ``default`` where there is none."""
    value = reader.get(Table.META, name.encode())
    return default if value is None else json.loads(value)


def put_meta(writer: Writer, name: str, value: Any) -> None:
    """Set the value called ``name``; anything that JSON can say."""
    writer.put(Table.META, name.encode(), json.dumps(value, sort_keys=True).encode())
