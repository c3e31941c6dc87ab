"""What waits for an embedding: how many items, how many are due and for how long, how many batches."""

from dataclasses import dataclass

import numpy as np

from assets.instants import SECOND
from assets.serving.store.interface import Reader, Table
from assets.serving.store.records import PENDING


@dataclass(frozen=True)
class Waiting:
    """What waits at an instant.

    Attributes:
        items: touched and not embedded since.
        due: of them, those that the trigger policy wants embedded by now.
        overdue_seconds: since the first of those was due; 0 without any.
        batches: whose features are written and whose items are not in the index.
    """

    items: int
    due: int
    overdue_seconds: float
    batches: int


def waiting(reader: Reader, now: int) -> Waiting:
    """What waits at ``now`` (wall clock, microseconds)."""
    raw = b"".join(value for _, value in reader.scan(Table.PENDING))
    due_at = np.frombuffer(raw, PENDING)["due_at"]
    due = due_at[due_at <= now]
    overdue = float(now - due.min()) / SECOND if len(due) else 0.0
    return Waiting(len(due_at), len(due), overdue, reader.size(Table.AWAITING))
