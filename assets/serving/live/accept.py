"""Which rows of landed batches are applied: neither repetitions nor rows older than what repetitions are known of."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assets.serving.live.rows import BatchRows, Rows, rows_since, unapplied
from assets.serving.store.interface import Reader, Writer
from assets.serving.store.meta import WATERMARK, get_meta
from assets.serving.store.records import NEVER
from assets.stream import Int


@dataclass(frozen=True)
class Accepted:
    """The rows to apply of a sequence of batches.

    Attributes:
        rows: [E] of all batches, one batch after another.
        ends: [n] where each batch's rows end.
        oldest: [n] event instants: rows older than this were set aside; ``NEVER`` where none was.
        duplicates: [n] rows that were applied before, or stand in the batch twice.
        beyond_retention: [n] rows older than ``oldest``.
        watermark: after these batches; ``NEVER`` where there is none yet.
    """

    rows: Rows
    ends: Int
    oldest: Int
    duplicates: Int
    beyond_retention: Int
    watermark: int

    def part(self, batch: int) -> slice:
        """Where the rows of a batch are."""
        return slice(int(self.ends[batch - 1]) if batch else 0, int(self.ends[batch]))


def accept(writer: Writer, batches: Sequence[BatchRows], retention_us: int | None) -> Accepted:
    """Choose, and remember what was chosen as applied.

    Every batch is judged by the watermark that those before it leave, however they are grouped into calls. The base is
    accepted whole: it says what there is.

    Args:
        retention_us: rows this much older than the watermark are set aside; ``None`` accepts all whose repetitions
            would be recognised.
    """
    count = len(batches)
    rows = Rows.concat([batch.rows for batch in batches])
    batch_of = np.repeat(np.arange(count), [len(batch.rows) for batch in batches])
    marks = np.maximum.accumulate([_watermark(writer), *(_latest(batch.rows) for batch in batches)])
    exempt = np.array([batch.info.kind == "base" for batch in batches], bool)
    oldest = np.where(exempt, NEVER, oldest_accepted(marks[:-1], retention_us, rows_since(writer)))
    young = rows.timestamps >= oldest[batch_of]
    rows, young_of = rows.take(young), batch_of[young]
    first = unapplied(writer, rows)
    return Accepted(
        rows=rows.take(first),
        ends=np.cumsum(np.bincount(young_of[first], minlength=count)),
        oldest=oldest,
        duplicates=np.bincount(young_of[~first], minlength=count),
        beyond_retention=np.bincount(batch_of[~young], minlength=count),
        watermark=int(marks[-1]),
    )


def oldest_accepted(watermarks: Int, retention_us: int | None, known_since: int = NEVER) -> Int:
    """[n] event instants: rows older than this are set aside at these watermarks; ``NEVER`` where none is.

    Args:
        known_since: repetitions of older rows would not be recognised, so nothing older is accepted.
    """
    oldest = np.full(len(watermarks), NEVER)
    if retention_us is not None:
        oldest[watermarks != NEVER] = watermarks[watermarks != NEVER] - retention_us
    return np.maximum(oldest, known_since)


def _watermark(reader: Reader) -> int:
    return int(get_meta(reader, WATERMARK, NEVER))


def _latest(rows: Rows) -> int:
    return int(rows.timestamps.max()) if len(rows) else NEVER
