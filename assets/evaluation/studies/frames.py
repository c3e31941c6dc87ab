"""Frames: the test windows of the split, before each of which a net may be retrained.

A frame is known by the partition key of its start, so that a rerun finds its file and a backfill its range.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from assets.config import ConfigError, Settings
from assets.evaluation.protocol import CaseSet, build_cases
from assets.schema import Columns, Split
from assets.storage import Storage
from assets.stream import DatasetTables

_FRACTION: Final = re.compile(r"\.0*Z$")


@dataclass(frozen=True)
class Frame:
    """One test window [``starts_at``, ``ends_at``).

    Attributes:
        number: of the window, from 0.
    """

    number: int
    starts_at: np.datetime64
    ends_at: np.datetime64

    @property
    def key(self) -> str:
        """Partition key: the start in UTC, ``2013-07-12T22-21-23Z``; colons are unfit for file names."""
        text = f"{np.datetime_as_string(self.starts_at.astype('datetime64[us]'), unit='us')}Z".replace(":", "-")
        return _FRACTION.sub("Z", text)


def read_frames(storage: Storage, settings: Settings) -> list[Frame]:
    """Every test window of the exported tables, in the order of time.

    Raises:
        ConfigError: under a split without a cutoff in time, whose test windows are no frames.
        FileNotFoundError: when there are no tables.
    """
    if not settings.split.cuts_in_time:
        raise ConfigError(
            f"split.kind: {settings.split.kind} has no cutoff in time, so there is no before and after to retrain at;"
            " use fraction with a frame"
        )
    bounds = storage.read_table("split_bounds")
    windows = bounds[(bounds[Columns.SPLIT] == Split.TEST).to_numpy()].sort_values(Columns.WINDOW)
    return [
        Frame(int(number), np.datetime64(starts_at, "us"), np.datetime64(ends_at, "us"))
        for number, starts_at, ends_at in zip(
            windows[Columns.WINDOW], windows[Columns.STARTS_AT], windows[Columns.ENDS_AT], strict=True
        )
    ]


def frame_keys(storage: Storage, settings: Settings) -> list[str]:
    """Partition keys of every frame, in the order of time."""
    return [frame.key for frame in read_frames(storage, settings)]


def frames_named(keys: Sequence[str], frames: Sequence[Frame]) -> list[Frame]:
    """The frames of partition keys, in the order of time.

    Raises:
        ValueError: for a key that the split does not have, as after a change of its settings.
    """
    held = {frame.key for frame in frames}
    if unknown := sorted(set(keys) - held):
        raise ValueError(
            f"{unknown[0]} is no frame of the current split, which has {len(frames)} from {frames[0].key} to"
            f" {frames[-1].key}: materialize studies/frames, which makes the partitions those of the split"
        )
    return [frame for frame in frames if frame.key in set(keys)]


def frame_cases(test_cases: pd.DataFrame, tables: DatasetTables, frame: Frame) -> CaseSet | None:
    """The cases of one frame, in the order of time; None where it has none.

    Items are refreshed at the frame's start, when the nets are retrained, and at every start of a UTC day within it.
    (In the exported table only at the start of the day, which on the first day of a frame is before the frame.)

    Args:
        test_cases: the exported table.
    """
    inside = test_cases[(test_cases[Columns.WINDOW] == frame.number).to_numpy(dtype=bool)]
    if inside[Columns.IS_REPEAT].to_numpy(dtype=bool).all():
        return None
    refreshed = np.maximum(inside[Columns.REFRESH_AT].to_numpy(dtype="datetime64[us]"), frame.starts_at)
    return build_cases(inside.assign(**{Columns.REFRESH_AT: refreshed}), tables)


def frame_table(frames: Sequence[Frame], test_cases: pd.DataFrame) -> pd.DataFrame:
    """A row per frame: key, bounds, and how many cases it has, repeats left out."""
    kept = test_cases[~test_cases[Columns.IS_REPEAT].to_numpy(dtype=bool)]
    count = kept[Columns.WINDOW].astype(np.int64).value_counts()
    return pd.DataFrame(
        {
            "frame": [frame.key for frame in frames],
            Columns.STARTS_AT: [frame.starts_at for frame in frames],
            Columns.ENDS_AT: [frame.ends_at for frame in frames],
            "cases": [int(count.get(frame.number, 0)) for frame in frames],
        }
    )
