"""What evaluation's tests share: a small dataset, and ranks frames written by hand."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from assets.config import EvaluationConfig, Settings, TrainingConfig
from assets.schema import ItemSlice

ROSTER = ("popularity", "decayed_popularity", "two_tower")


def toy_rows(seed: int = 0) -> list[tuple[str, str, str]]:
    """25 users and 20 items over twelve days; items and users join over time; a few repeats."""
    generator, rows = np.random.default_rng(seed), []
    for _ in range(500):
        hour = int(generator.integers(0, 24 * 12))
        user, item = int(generator.integers(0, 10 + hour // 18)), int(generator.integers(0, 8 + hour // 23))
        rows.append((f"u{user}", f"i{item:02d}", str(pd.Timestamp("2020-01-01") + pd.Timedelta(hour, "h"))))
    return rows


def toy_settings(home: Path, models: tuple[str, ...] = ROSTER, seeds: int = 1) -> Settings:
    return Settings(
        dataset="toy",
        models=models,
        home=home,
        training=TrainingConfig(max_epochs=1, seeds=seeds),
        evaluation=EvaluationConfig(bootstrap_samples=40),
    )


Case = tuple[str, int, str, int, bool, int, int]
"""(user, window, item slice, engagements seen, has history, above, tied)."""


def ranks_frame(cases: Sequence[Case], model: str = "m", seed: int = 0) -> pd.DataFrame:
    """Ranks of one run, as the protocol writes them; the likelihood is 1 / (above + tied + 1)."""
    columns = ["user_id", "window", "slice", "engagements_seen", "has_history", "above", "tied"]
    frame = pd.DataFrame(cases, columns=columns)
    frame["source_row"] = range(len(frame))
    frame["item_id"] = [f"i{row}" for row in frame["source_row"]]
    return frame.assign(
        dataset="toy",
        model=model,
        seed=seed,
        protocol="full",
        user_history="rolling",
        item_embeddings="refreshed",
        on_catalog=True,
        nll=np.log(frame["above"] + frame["tied"] + 1.0),
    )


def over_seeds(*runs: pd.DataFrame) -> pd.DataFrame:
    """The runs as those of seeds 0, 1, ... of one model."""
    return pd.concat([run.assign(seed=seed) for seed, run in enumerate(runs)], ignore_index=True)


def random_ranks(model: str = "m", seed: int = 0, cases: int = 400, shift: int = 0) -> pd.DataFrame:
    """Cases that do not depend on ``model`` or ``shift``, with ranks that do."""
    generator = np.random.default_rng(seed)
    slices = [name.value for name in ItemSlice]
    return ranks_frame(
        [
            (
                f"u{generator.integers(40)}",
                int(generator.integers(3)),
                slices[generator.integers(3)],
                int(generator.integers(0, 20)),
                bool(generator.random() < 0.8),
                int(generator.integers(0, 40)) + shift,
                int(generator.integers(0, 3)),
            )
            for _ in range(cases)
        ],
        model,
    )
