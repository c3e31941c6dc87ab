"""Ratings of which everything is known: every user has a level of their own, every item a small quality."""

from pathlib import Path

import numpy as np
import pandas as pd

from assets.config import EvaluationConfig, Settings, TrainingConfig
from assets.storage import Storage
from assets.stream import EngagementStream
from tests.support import interactions_frame, write_tables

DAYS, PER_DAY = 16, 12
"""On each day come so many users, each for an hour, who never come back: as MovieLens' do."""


def ratings_frame(seed: int = 0) -> pd.DataFrame:
    """1,536 ratings in whole numbers from 1 to 5, by users who like nearly everything or nearly nothing."""
    generator = np.random.default_rng(seed)
    quality = generator.normal(0, 0.3, 20)
    rows, values = [], []
    for user in range(DAYS * PER_DAY):
        level = (2.0, 4.0)[generator.integers(2)]
        for place, item in enumerate(generator.choice(20, 8, replace=False)):
            at = pd.Timestamp("2020-01-01") + pd.Timedelta(user // PER_DAY, "D")
            at += pd.Timedelta(user % PER_DAY, "h") + pd.Timedelta(5 * place, "min")
            rows.append((f"u{user:03d}", f"i{item:02d}", str(at)))
            values.append(float(np.clip(np.round(level + quality[item] + generator.normal(0, 0.3)), 1, 5)))
    return interactions_frame(rows).assign(value=values)


def rating_tables(root: Path, frame: pd.DataFrame | None = None) -> Storage:
    """Cut so that no test user was ever seen in training."""
    return write_tables(root, ratings_frame() if frame is None else frame, "2020-01-13", "2020-01-11")


def rating_settings(home: Path, epochs: int = 1, seeds: int = 1) -> Settings:
    return Settings(
        dataset="toy",
        home=home,
        training=TrainingConfig(max_epochs=epochs, seeds=seeds),
        evaluation=EvaluationConfig(bootstrap_samples=40),
    )


Rating = tuple[str, str, str, float]
"""(user, item, ISO timestamp, value)."""


def stream_of(rows: list[Rating]) -> tuple[EngagementStream, dict[str, int], dict[str, int]]:
    """A stream, and the universe rows of its users and items."""
    frame = interactions_frame([row[:3] for row in rows]).assign(value=[row[3] for row in rows])
    users = pd.DataFrame({"user_id": sorted(set(frame["user_id"]))})
    items = pd.DataFrame({"item_id": sorted(set(frame["item_id"]))})
    stream = EngagementStream.from_tables(frame, users, items)
    return stream, *({name: row for row, name in enumerate(each.iloc[:, 0])} for each in (users, items))
