"""Frames of the retraining study on disk: one Parquet file each, with what it rests on.

A frame that rests on the same tables, split and configuration is kept and not made again, so that a study that was
stopped goes on where it was; made again it holds the same rows.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from assets.config import Settings
from assets.evaluation.files import StaleResultsError, read_account, write_with_account
from assets.evaluation.studies.frames import Frame, frame_cases, frames_named, read_frames
from assets.evaluation.studies.online import FLOORS, NAMES, FrameResult, Study, net_config, run_frame
from assets.storage import Storage, read_parquet
from assets.stream import load_tables
from assets.training.checkpoints import git_revision, tables_version
from assets.training.presets import preset

FORMAT: Final = 1
"""Of the code behind a frame: raise it when training or ranking changes, and every frame is made again."""

AGAIN: Final = "materialize studies/online_frames"


def run_frames(
    storage: Storage, settings: Settings, keys: Sequence[str], progress: Callable[[str], object] = lambda _: None
) -> dict[str, FrameResult]:
    """Make the frames of some partition keys, each one file, and return all of them by key.

    Raises:
        ConfigError: for a net that is none, or a split without frames.
        ValueError: for a key that is no frame of the split.
    """
    basis = basis_of(storage, settings)
    frames = frames_named(keys, read_frames(storage, settings))
    results = {frame.key: held for frame in frames if (held := _kept(storage, frame, basis))}
    missing = [frame for frame in frames if frame.key not in results]
    progress(f"{len(frames)} frames, {len(results)} of them known")
    if missing:
        study, test_cases = Study(load_tables(storage), settings), storage.read_table("test_cases")
    for frame in missing:
        result = run_frame(study, frame, frame_cases(test_cases, study.tables, frame))
        _write(storage, result, basis)
        progress(f"{frame.key}: {len(result.rows) // len(NAMES)} cases, {sum(result.seconds.values()):.1f} s")
        results[frame.key] = result
    return results


def basis_of(storage: Storage, settings: Settings) -> str:
    """What a frame's ranks rest on, as JSON.

    Raises:
        ConfigError: see :func:`net_config`.
        TablesError: when there is no whole export.
    """
    online, training = settings.studies.online, settings.training
    rests_on = {
        "format": FORMAT,
        "tables": tables_version(storage),
        "split": settings.split.model_dump(mode="json"),
        "seed": training.seed,
        "smoothing": settings.evaluation.smoothing,
        "model": online.model,
        "window_days": online.window_days,
        "nets": [net_config(settings, trend=trend).model_dump(mode="json") for trend in (True, False)],
        "floors": [preset(name, training, settings.dataset).model_dump(mode="json") for name in FLOORS],
    }
    return json.dumps(rests_on, sort_keys=True)


def frame_path(storage: Storage, frame: Frame) -> Path:
    """The ranks of one frame."""
    return storage.studies / "online" / f"{frame.key}.parquet"


def gather(storage: Storage, settings: Settings) -> list[FrameResult]:
    """Every frame of the split, in the order of time.

    Raises:
        FileNotFoundError: naming the partitions that are to be made first.
        StaleResultsError: when a frame rests on other tables, another split or configuration than the current.
    """
    basis, frames = basis_of(storage, settings), read_frames(storage, settings)
    if missing := [frame.key for frame in frames if not frame_path(storage, frame).exists()]:
        raise FileNotFoundError(
            f"{len(missing)} of {len(frames)} frames are not made, {missing[0]} to {missing[-1]}: materialize these"
            " partitions of studies/online_frames first"
        )
    held = [(frame, _kept(storage, frame, basis)) for frame in frames]
    if stale := [frame.key for frame, result in held if result is None]:
        raise StaleResultsError(
            f"{len(stale)} frames rest on other tables or settings than the current, {stale[0]} to {stale[-1]}:"
            " materialize these partitions of studies/online_frames again"
        )
    return [result for _, result in held if result is not None]


def _write(storage: Storage, result: FrameResult, basis: str) -> None:
    account = {"basis": basis, "seconds": result.seconds, "git_revision": git_revision()}
    write_with_account(frame_path(storage, result.frame), result.rows, account)


def _kept(storage: Storage, frame: Frame, basis: str) -> FrameResult | None:
    """A frame's file, if it is there and rests on ``basis``."""
    path = frame_path(storage, frame)
    if not path.exists():
        return None
    account = read_account(path, AGAIN)
    if account.get("basis") != basis:
        return None
    return FrameResult(frame, read_parquet(path), account["seconds"])
