"""What a contest is held on: the window, the champion, the best of its challengers, and the cases."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from assets.champion.challenger import newest_window
from assets.champion.files import Challenger, read_challengers
from assets.champion.history import read_served, tables_at
from assets.champion.verdict import not_comparable
from assets.config import Protocol, Settings
from assets.instants import DAY
from assets.serving.live.generation import Generation, GenerationRecord, open_generation
from assets.storage import Storage
from assets.stream import DatasetTables
from assets.training.checkpoints import read_manifest_in
from assets.training.validation import NDCG as VALIDATION

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
FLOOR: Final = "floor"
CONTENDERS: Final = (CHAMPION, CHALLENGER, FLOOR)

PROTOCOL: Final = Protocol()
K: Final = 10
MOST_CASES: Final = 20_000
CASES_SEED: Final = 0
"""Of the draw of cases, where the window holds more."""


class ContestError(RuntimeError):
    """A contest cannot be held or acted on; the message says what to do."""


@dataclass(frozen=True)
class Grounds:
    """What a contest is held on.

    Attributes:
        tables: everything served so far, cut at the window's start.
        starts_at, ends_at: of the window.
        champion: the generation that serves.
        record: of it.
        trained_until: the end of what the champion was trained on.
        challenger: the best of those that there are, by validation.
        field: all of them.
    """

    tables: DatasetTables
    starts_at: np.datetime64
    ends_at: np.datetime64
    champion: Generation
    record: GenerationRecord
    trained_until: np.datetime64
    challenger: Challenger
    field: tuple[Challenger, ...]

    @property
    def name(self) -> str:
        """Equal contests have equal names."""
        days = [str(each.astype("datetime64[s]")).replace("-", "").replace(":", "") for each in self.bounds]
        return f"{days[0][:8]}-{days[1]}-{self.record.checkpoint[:8]}-{self.challenger.checkpoint[:8]}"

    @property
    def bounds(self) -> tuple[np.datetime64, np.datetime64]:
        return self.starts_at, self.ends_at


def why_not_comparable(storage: Storage, settings: Settings) -> str | None:
    """Why no challenger trained now could meet the champion: it learned from the newest window; ``None`` where it can.

    Raises:
        NoIndexError: when nothing serves.
    """
    with open_generation(storage) as opened:
        starts_at, _ = newest_window(read_served(opened), settings)
        trained_until = trained_end(opened.generation)
    if trained_until <= starts_at:
        return None
    return not_comparable(f"{trained_until}Z", f"{starts_at}Z").reason


def trained_end(generation: Generation) -> np.datetime64:
    """The end of what a generation's checkpoint was trained on."""
    return np.datetime64(read_manifest_in(generation.checkpoint)["bounds"]["cutoff"], "us")


def grounds_of(storage: Storage, settings: Settings) -> Grounds:
    """What a contest would be held on now.

    Raises:
        ContestError: when there is no challenger of this champion and window.
        NoIndexError: when nothing serves.
    """
    with open_generation(storage) as opened:
        served, champion, record = read_served(opened), opened.generation, opened.record
    newest, ends_at = newest_window(served, settings)
    # Days may have passed since the training, in a replay many: the window begins where the challengers' does.
    oldest = int(newest.astype(np.int64)) - round(settings.retraining.window_days * DAY)
    made = [
        one
        for one in read_challengers(storage)
        if one.champion == record.checkpoint and oldest <= one.trained_until <= int(ends_at.astype(np.int64))
    ]
    field = tuple(one for one in made if one.trained_until == max(each.trained_until for each in made))
    if not field:
        raise ContestError(
            f"there is no challenger of {champion.name} trained until {newest}: materialize champion/challenger first"
        )
    starts_at = np.datetime64(field[0].trained_until, "us")
    return Grounds(
        tables=tables_at(served, starts_at, settings.split),
        starts_at=starts_at,
        ends_at=ends_at,
        champion=champion,
        record=record,
        trained_until=trained_end(champion),
        challenger=max(field, key=lambda one: _finite(one.validation[VALIDATION])),
        field=field,
    )


def folders(storage: Storage, grounds: Grounds) -> dict[str, Path]:
    """Folders of the two checkpoints, by contender."""
    return {CHAMPION: grounds.champion.checkpoint, CHALLENGER: grounds.challenger.folder(storage)}


def _finite(value: float) -> float:
    return value if math.isfinite(value) else -math.inf
