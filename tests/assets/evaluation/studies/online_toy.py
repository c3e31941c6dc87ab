"""A small study of retraining: twelve days of engagements, the last four and a half in four frames, tiny nets."""

from pathlib import Path

import numpy as np
import pandas as pd

from assets.config import EvaluationConfig, OnlineConfig, Settings, SplitConfig, StudiesConfig, TrainingConfig
from assets.evaluation.studies.frames import Frame
from assets.evaluation.studies.online import CONTENDER, FRAME, NAMES, FrameResult
from assets.storage import Storage
from tests.support import Row, interactions_frame, write_tables

CUTOFF, FRAMES = "2020-01-08T05:00:00", 4


def online_rows() -> list[Row]:
    """45 users and 80 items over twelve days, both joining over time; few enough of them seen by any user."""
    generator, rows = np.random.default_rng(0), []
    for _ in range(500):
        hour = int(generator.integers(0, 24 * 12))
        user, item = int(generator.integers(0, 30 + hour // 18)), int(generator.integers(hour // 12, 56 + hour // 12))
        rows.append((f"u{user}", f"i{item:02d}", str(pd.Timestamp("2020-01-01") + pd.Timedelta(hour, "h"))))
    return rows


ROWS = online_rows()
TINY = {"dim": 4, "negatives": 32, "users.layers": 1, "users.heads": 1, "users.history_length": 5}


def other_from(instant: np.datetime64, rows: list[Row]) -> list[Row]:
    """The rows with other users and items from ``instant`` on, at the same times."""
    late = np.array([row[2] for row in rows], dtype="datetime64[us]") >= instant
    changed = [
        (f"new-{row[0]}", f"a-{row[1]}", row[2]) if is_late else row for row, is_late in zip(rows, late, strict=True)
    ]
    assert 0 < late.sum() < len(rows)
    return changed


def online_tables(root: Path, rows: list[Row] | None = None) -> Storage:
    """The exported tables; frames begin at :data:`CUTOFF`, which is no start of a day."""
    frame = interactions_frame(ROWS if rows is None else rows)
    return write_tables(root, frame, CUTOFF, "2020-01-07", windows=FRAMES)


def online_settings(home: Path, epochs: int = 1, seed: int = 0) -> Settings:
    return Settings(
        dataset="toy",
        home=home,
        split=SplitConfig(kind="fraction"),
        training=TrainingConfig(seed=seed, hyper_parameters={"sasrec": TINY}),
        evaluation=EvaluationConfig(bootstrap_samples=40),
        studies=StudiesConfig(online=OnlineConfig(model="sasrec", window_days=4, epochs=epochs)),
    )


def frame_of(number: int) -> Frame:
    """A made-up frame of a day."""
    start = np.datetime64("2020-01-08T05", "us") + np.timedelta64(number, "D")
    return Frame(number, start, start + np.timedelta64(1, "D"))


def result_of(number: int, ranks: dict[str, list[int]], users: list[str], nll: float = 1.0) -> FrameResult:
    """A frame by hand: per contender the candidates above each target; contenders that are not named are at 99."""
    runs = []
    for name in NAMES:
        above = ranks.get(name, [99] * len(users))
        runs.append(
            pd.DataFrame(
                {
                    "user_id": users,
                    "item_id": [f"i{at}" for at in range(len(users))],
                    "source_row": range(len(users)),
                    FRAME: number,
                    CONTENDER: name,
                    "has_history": True,
                    "above": above,
                    "tied": 0,
                    "nll": nll,
                }
            )
        )
    return FrameResult(frame_of(number), pd.concat(runs, ignore_index=True), {"training": 2.0, "ranking": 1.0})
