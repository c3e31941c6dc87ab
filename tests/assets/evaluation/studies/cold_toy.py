"""Held-out items by hand: forty users who like one of two colours, forty items of which every fourth is held out.

As split.kind held_out_items leaves it: what is on held-out items lies at one midnight behind train.
"""

from pathlib import Path

import numpy as np

from assets.config import EvaluationConfig, Settings, SplitConfig, TrainingConfig
from assets.storage import Storage
from tests.support import Row, interactions_frame, write_tables

USERS, ITEMS, DAYS = 40, 40, 10
CUTOFF, VALIDATION_START = "2024-01-11T00:00:00", "2024-01-10"
NEWCOMER = "v-new"
"""Engaged with held-out items only."""

HELD = [f"i{item:02d}" for item in range(ITEMS) if item % 8 < 2]
"""Of both colours."""


def colour_rows(seed: int = 0) -> list[Row]:
    """Even users take even items, odd users odd ones, each item once, one or two a day."""
    generator, rows = np.random.default_rng(seed), []
    for user in range(USERS):
        taken = generator.permutation(np.arange(user % 2, ITEMS, 2))[: DAYS + 4]
        for place, item in enumerate(taken):
            name, day = f"i{item:02d}", 1 + place * DAYS // len(taken)
            at = CUTOFF if name in HELD else f"2024-01-{day:02d}T{user % 24:02d}:{10 + place}:00"
            rows.append((f"u{user:02d}", name, at))
    return [*rows, (NEWCOMER, HELD[0], CUTOFF)]


def cold_tables(root: Path, rows: list[Row] | None = None) -> Storage:
    rows = colour_rows() if rows is None else rows
    items = sorted({item for _, item, _ in rows})
    genre = {item: ["black" if int(item[1:]) % 2 else "white"] for item in items}
    return write_tables(
        root,
        interactions_frame(rows),
        CUTOFF,
        VALIDATION_START,
        windows=1,
        item_features={"genre": genre},
        user_features={"kind": {user: ["person"] for user, _, _ in rows}},
    )


QUICK = {"dim": 16, "negatives": 16, "learning_rate": 0.02, "batch_size": 32, "max_epochs": 4, "users.hidden": 16}


def cold_settings(home: Path, seeds: int = 1) -> Settings:
    return Settings(
        dataset="toy",
        home=home,
        split=SplitConfig(kind="held_out_items"),
        training=TrainingConfig(
            seeds=seeds,
            device="cpu",
            hyper_parameters={
                "hrnn_meta": QUICK,
                "two_tower": {"dim": 8, "max_epochs": 2},
                "gru": {**QUICK, "max_epochs": 1},
            },
        ),
        evaluation=EvaluationConfig(bootstrap_samples=40),
    )
