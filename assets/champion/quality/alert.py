"""The decay alert of what serves: read its ranks, judge, and say so in ``champion/alert.json``.

Cheap enough for a sensor: neither checkpoint nor tables are read, and a judgement that rests on the same files and
settings is not made again.
"""

import hashlib
import json
from dataclasses import replace
from typing import Final

import numpy as np
import pandas as pd

from assets.champion.quality import files
from assets.champion.quality.judgement import COLUMNS, Alert, Side, judge
from assets.champion.quality.spans import Windows, span_of, windows_of
from assets.config import Settings
from assets.instants import as_micros, wall_clock
from assets.schema import Columns
from assets.serving.live.generation import current
from assets.storage import Storage, locked, write_json

Interval = tuple[np.datetime64, np.datetime64]

LATEST: Final = 25
"""Partitions among which the latest case is: a day and its hours, should both have been measured."""


def look_for_decay(storage: Storage, settings: Settings, now: int | None = None) -> Alert | None:
    """Judge the champion by what was measured of it, and write the judgement.

    Args:
        now: wall clock, microseconds; the machine's where it is not told.

    Returns:
        ``None`` when nothing serves, or when what serves was never measured.
    """
    generation = current(storage)
    if generation is None:
        return None
    checkpoint = generation.record().checkpoint
    partitions = files.ranked_partitions(storage, checkpoint)
    accounts = [files.read_ranks_account(storage, checkpoint, name) for name in partitions[-LATEST:]]
    account = max((one for one in accounts if one is not None), key=lambda one: one.last_case, default=None)
    if account is None:
        return None
    ends_at = np.datetime64(account.last_case + 1, "us")
    windows = windows_of(np.datetime64(account.cutoff, "us"), ends_at, settings.retraining.alert)
    basis = _basis(storage, settings, checkpoint, _within(partitions, windows))
    with locked(storage.champion / "alert.lock"):
        if (held := read_alert(storage)) is not None and held.basis == basis:
            return held
        alert = judge(
            _ranks(storage, checkpoint, partitions, windows.reference),
            _ranks(storage, checkpoint, partitions, windows.recent),
            settings.retraining.alert,
            settings.evaluation.bootstrap_samples,
            settings.training.seed,
        )
        alert = replace(
            alert,
            at=wall_clock() if now is None else now,
            checkpoint=checkpoint[: files.SHORT],
            model=account.model,
            basis=basis,
            reference=_of_window(alert.reference, windows.reference),
            recent=_of_window(alert.recent, windows.recent),
        )
        write_json(files.alert_path(storage), alert.to_json())
    return alert


def read_alert(storage: Storage) -> Alert | None:
    """The latest judgement; ``None`` where there is none that this version reads."""
    try:
        return Alert.from_json(json.loads(files.alert_path(storage).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _within(partitions: list[str], windows: Windows) -> list[str]:
    spans = [span_of(name) for name in partitions]
    return [span.partition for span in spans if span.overlaps(*windows.reference) or span.overlaps(*windows.recent)]


def _basis(storage: Storage, settings: Settings, checkpoint: str, partitions: list[str]) -> str:
    """Names the files and settings that a judgement rests on."""
    stats = [(name, files.ranks_path(storage, checkpoint, name).stat()) for name in partitions]
    named = {
        "checkpoint": checkpoint,
        "alert": settings.retraining.alert.model_dump(),
        "draws": [settings.evaluation.bootstrap_samples, settings.training.seed],
        "ranks": [(name, stat.st_mtime_ns, stat.st_size) for name, stat in stats],
    }
    return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()


def _ranks(storage: Storage, checkpoint: str, partitions: list[str], interval: Interval) -> pd.DataFrame:
    """Ranks of the cases inside ``interval``; a frame without rows where there is none."""
    chosen = [name for name in partitions if span_of(name).overlaps(*interval)]
    if not chosen:
        return pd.DataFrame({name: pd.Series(dtype=object) for name in COLUMNS})
    frames = [files.read_ranks(storage, checkpoint, name, COLUMNS) for name in chosen]
    ranks = pd.concat(frames, ignore_index=True)
    instants = ranks[Columns.TIMESTAMP].to_numpy(dtype="datetime64[us]")
    return ranks[(instants >= interval[0]) & (instants < interval[1])]


def _of_window(side: Side, interval: Interval) -> Side:
    starts_at, ends_at = map(as_micros, interval)
    return replace(side, starts_at=starts_at, ends_at=ends_at)
