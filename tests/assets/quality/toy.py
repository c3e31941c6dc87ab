"""A small dataset with every raw and exported table, right in every respect, for checks to be planted into."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from assets.config import Settings
from assets.schema import Split
from assets.storage import Storage, write_parquet
from tests.support import interactions_frame, write_tables

WINDOWS = 2
CUTOFF, VALIDATION_START = "2001-01-15", "2001-01-11"


def write_dataset(root: Path) -> Storage:
    """Users u0..u3 engage with items i0..i5, one engagement every 12 hours from 2001-01-01; u3 and i5 are new after
    the cutoff (day 15), and u0 repeats i0 in the test period."""
    days = [pd.Timestamp("2001-01-01") + pd.Timedelta(12 * index, "h") for index in range(56)]
    rows = [(f"u{index % 3}", f"i{(index * 7) % 5}", day.isoformat()) for index, day in enumerate(days)]
    rows[40] = ("u3", "i5", days[40].isoformat())
    rows[50] = ("u1", "i5", days[50].isoformat())
    frame = interactions_frame(rows)
    genres = {f"i{index}": ["drama", "war"] if index % 2 else ["comedy"] for index in range(5)}
    storage = write_tables(
        root, frame, CUTOFF, VALIDATION_START, windows=WINDOWS, item_features={"genre": genres}, tail_max_count=5
    )
    write_histories(storage)
    write_parquet(storage.raw_table("interactions"), frame)
    items = storage.read_table("items")[["item_id", "title", "created_at", "genre"]]
    write_parquet(storage.raw_table("items"), items)
    write_parquet(storage.raw_table("users"), storage.read_table("users")[["user_id"]])
    return storage


def toy_settings(root: Path) -> Settings:
    return Settings(
        dataset="toy", home=root, split={"windows": WINDOWS, "tail_max_count": 5}, drift={"sample_rows": 100}
    )


def write_histories(storage: Storage) -> None:
    frame = storage.read_table("interactions")
    past = frame[frame["split"] != Split.TEST]
    for name, owner, member in (("user_histories", "user_id", "item_id"), ("item_histories", "item_id", "user_id")):
        groups = list(past.groupby(owner))
        table = pd.DataFrame(
            {
                owner: [key for key, _ in groups],
                f"{member}s": [group[member].tolist() for _, group in groups],
                "timestamps": [group["timestamp"].tolist() for _, group in groups],
            }
        )
        write_parquet(storage.table(name), table)


def change(path: Path, edit: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Rewrite a Parquet file through ``edit``."""
    write_parquet(path, edit(pd.read_parquet(path)))


def set_cell(table: pd.DataFrame, row: int, column: str, value: object) -> pd.DataFrame:
    """The table with one cell replaced, ``row`` by position."""
    column_values = table[column].astype(object).tolist()
    column_values[row] = value
    return table.assign(**{column: pd.Series(column_values, index=table.index)})
