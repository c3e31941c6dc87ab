"""Whether the store is what batch code makes of the same rows: the check that the incremental path is held to."""

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assets.schema import Columns
from assets.serving.live.batch import BatchState, batch_state
from assets.serving.live.generation import OpenGeneration
from assets.serving.live.maintain import load_index
from assets.serving.live.stored import StoredItems, item_histories, seen_items, stored_items, user_histories
from assets.serving.store.interface import Reader, Table
from assets.serving.store.meta import WATERMARK, get_meta
from assets.serving.vector_index import VectorIndex

__all__ = ["BatchState", "Differences", "batch_state", "differences"]

DECAYED: Final = 1e-9
"""Difference of decayed counts that is rounding, relative to the count."""
VECTOR: Final = 1e-5
"""Difference of coordinates that is rounding, relative to the vector's largest or 1."""
EXAMPLES: Final = 5
"""Differences told in words, per kind."""

EXACT: Final = ("title", "available", "first_engaged_at", "last_engaged_at", "total", "train_count")

Mask = NDArray[np.bool_]


@dataclass
class Differences:
    """What was compared and what differs; true where anything does.

    Attributes:
        compared: kind -> how many.
        counts: kind -> how many of them differ; kinds without a difference are not in it.
        examples: the first few of each kind, in words.
        excused: available items whose vector waits for the trigger policy.
    """

    compared: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)
    excused: int = 0

    def __bool__(self) -> bool:
        return bool(self.counts)

    def note(self, kind: str, compared: int, keys: Any, expected: Any = None, actual: Any = None) -> None:
        """Record that of so many, those named ``keys`` differ."""
        self.compared[kind] = compared
        if not len(keys):
            return
        self.counts[kind] = len(keys)
        for row, key in enumerate(keys[:EXAMPLES]):
            values = "" if expected is None else f": expected {expected[row]}, found {actual[row]}"
            self.examples.append(f"{kind} of {key}{values}")


def differences(opened: OpenGeneration, batch: BatchState) -> Differences:
    """Compare the store of ``opened`` with ``batch``: features exactly, numbers with fractions but for rounding.

    Items that wait for their embedding are excused from having the vector of now, not from anything else.
    """
    found = Differences()
    with opened.store.read() as reader:
        live = stored_items(reader, opened)
        _compare_watermark(found, reader, batch)
        _compare_ids(found, live, batch)
        _compare_items(found, live, batch)
        _compare_rows(found, "item history", item_histories(reader, live), batch.item_histories)
        users = sorted(set(batch.seen[Columns.USER]))
        _compare_rows(found, "user history", user_histories(reader, live, users), batch.user_histories)
        _compare_rows(found, "seen items", seen_items(reader, live, users), batch.seen)
        for table in (Table.USER_HISTORIES, Table.SEEN):
            beyond = reader.size(table) - len(users)
            found.note(f"users in {table}", len(users), [f"{beyond} that nothing is known of"] if beyond else [])
        _compare_vectors(found, live, batch)
        _compare_index(found, load_index(reader, opened.generation), opened, live, batch)
    return found


def _compare_watermark(found: Differences, reader: Reader, batch: BatchState) -> None:
    """It never moves back, so after a removal it may be later than the latest engagement."""
    watermark = np.datetime64(get_meta(reader, WATERMARK), "us")
    late = batch.latest > watermark
    found.note("watermark", 1, ["the store"] if late else [], [batch.latest], [watermark])


def _compare_ids(found: Differences, live: StoredItems, batch: BatchState) -> None:
    unlike = live.frame.index.symmetric_difference(batch.items.index)
    repeated = live.frame.index[live.frame.index.duplicated()]
    found.note("number", len(batch.items), [*unlike, *repeated])


def _compare_items(found: Differences, live: StoredItems, batch: BatchState) -> None:
    both = batch.items.index.intersection(live.frame.index)
    expected, actual = batch.items.loc[both], live.frame.loc[both]
    for name in EXACT:
        unlike = ((expected[name] != actual[name]) & ~(expected[name].isna() & actual[name].isna())).to_numpy()
        found.note(name, len(both), both[unlike], expected[name][unlike].tolist(), actual[name][unlike].tolist())
    wanted, has = expected["decayed"].to_numpy(), actual["decayed"].to_numpy()
    unlike = ~np.isclose(has, wanted, rtol=DECAYED, atol=0)  # both infinite, as of an epoch long ago, is the same
    found.note("decayed count", len(both), both[unlike], wanted[unlike], has[unlike])


def _compare_rows(found: Differences, kind: str, actual: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Rows that only one side has, by their first column."""
    key = str(expected.columns[0])
    merged = expected.merge(actual, how="outer", on=list(expected.columns), indicator=True)
    unlike = merged[merged["_merge"] != "both"]
    repeated = actual[actual.duplicated()]
    found.note(kind, expected[key].nunique(), sorted({*unlike[key], *repeated[key]}, key=str))


def _compare_vectors(found: Differences, live: StoredItems, batch: BatchState) -> None:
    frame = live.frame
    found.excused = int((frame["pending"] & frame["available"]).sum())
    at = frame.index.get_indexer(pd.Index(batch.sampled))
    wanted, at = batch.vectors[at >= 0], at[at >= 0]
    unlike = _differ(wanted, live.vectors[at]) & ~frame["pending"].to_numpy()[at]
    found.note("vector", len(at), frame.index[at][unlike])
    left = (frame["has_vector"] & ~frame["available"] & ~frame["pending"]).to_numpy()
    found.note("vector of an item that is not available", len(frame), frame.index[left])


def _compare_index(
    found: Differences, index: VectorIndex, opened: OpenGeneration, live: StoredItems, batch: BatchState
) -> None:
    """The index holds what the store's vectors and the trends of now make, the latter but where they are stale."""
    frame = live.frame
    settled = (frame["available"] | frame["pending"]).to_numpy()
    embedded = frame.index[frame["has_vector"].to_numpy() & settled]
    ids = pd.Index(index.ids, dtype=object)
    found.note("place in the index", len(embedded), ids.symmetric_difference(embedded))
    both = ids.intersection(embedded).intersection(batch.items.index)
    actual = index.vectors(both.tolist())
    at, dimension = frame.index.get_indexer(both), opened.model.dimension
    unlike = _differ(live.vectors[at], actual[:, :dimension])
    found.note("vector in the index", len(both), both[unlike])
    if opened.model.uses_trend:
        wanted, has = batch.items.loc[both, "trend"].to_numpy(), actual[:, dimension]
        unlike = _differ(wanted[:, None], has[:, None]) & ~frame["trend_stale"].to_numpy()[at]
        found.note("trend in the index", len(both), both[unlike], wanted[unlike], has[unlike])


def _differ(expected: NDArray[Any], actual: NDArray[Any]) -> Mask:
    """[M] rows of [M, D] that differ by more than rounding; NaN differs from everything."""
    scale = np.maximum(1, np.abs(expected).max(axis=1, initial=0))
    return ~(np.abs(expected - actual) <= VECTOR * scale[:, None]).all(axis=1)
