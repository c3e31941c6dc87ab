"""What served when, and why: ``champion/record.jsonl``, a line per change of the champion or contest about it.

Only ever added to. Generations are removed; the record stays.
"""

import json
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field

from assets.config import StrictModel
from assets.serving.live.generation import OpenGeneration, previous
from assets.serving.store.meta import WATERMARK, get_meta
from assets.storage import Storage, locked, write_text

Kind = Literal["first", "run", "won", "lost", "rollback"]

SWITCHED: Final = ("first", "run", "won", "rollback")
"""Kinds after which another generation serves than before."""


class RecordError(ValueError):
    """A line of the record cannot be read; the message names it."""


class RecordEntry(StrictModel):
    """One line.

    Attributes:
        at: wall clock, microseconds.
        event_at: the latest engagement that was applied by then, event clock, microseconds.
        kind: ``first``: the first generation; ``run``: ``thaw run`` or a replay put another one in its place; ``won``
            and ``lost``: what a challenger did; ``rollback``: the former generation serves again.
        generation: that serves from then on.
        previous: that served before; of ``lost`` the same one, which serves on.
        model: of ``generation``.
        contest: its name, of ``won`` and ``lost``.
        evidence: JSON values.
    """

    at: int
    event_at: int
    kind: Kind
    generation: str
    previous: str | None
    model: str
    contest: str | None = None
    evidence: dict[str, Any] = Field(default_factory=dict)


def record_path(storage: Storage) -> Path:
    """The record."""
    return storage.champion / "record.jsonl"


def read_record(storage: Storage) -> list[RecordEntry]:
    """Every entry, the oldest first.

    Raises:
        RecordError: naming a line that cannot be read.
    """
    path = record_path(storage)
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [_entry(path, number, line) for number, line in enumerate(lines, 1)]


def append(storage: Storage, entry: RecordEntry) -> RecordEntry:
    """Add an entry, and return it."""
    path = record_path(storage)
    with locked(storage.champion / "record.lock"):
        held = path.read_text(encoding="utf-8") if path.exists() else ""
        write_text(path, held + json.dumps(entry.model_dump(mode="json"), sort_keys=True, ensure_ascii=False) + "\n")
    return entry


def note_serving(opened: OpenGeneration, now: int) -> RecordEntry | None:
    """Record the generation that serves where it is not on record yet, because ``thaw run`` or a replay made it.

    One that won a contest is recorded by its promotion, with the evidence.

    Args:
        opened: the current generation.
        now: wall clock, microseconds.

    Returns:
        The new entry, if there was one to make.
    """
    held = [entry.generation for entry in read_record(opened.storage) if entry.kind in SWITCHED]
    name = opened.generation.name
    if held[-1:] == [name] or opened.record.origin == "contest":
        return None
    former = previous(opened.storage)
    return append(
        opened.storage,
        RecordEntry(
            at=now,
            event_at=event_clock(opened),
            kind="run" if held else "first",
            generation=name,
            previous=held[-1] if held else (former.name if former else None),
            model=opened.record.model,
            evidence={"checkpoint": opened.record.checkpoint, "replay": opened.record.until is not None},
        ),
    )


def event_clock(opened: OpenGeneration) -> int:
    """The latest engagement applied, microseconds."""
    with opened.store.read() as reader:
        return int(get_meta(reader, WATERMARK))


def _entry(path: Path, number: int, line: str) -> RecordEntry:
    try:
        return RecordEntry(**json.loads(line))
    except ValueError as error:
        raise RecordError(f"{path}, line {number} is no entry of the record ({error}): take the line out") from error
