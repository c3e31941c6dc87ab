"""What the sweeps chose for one dataset against the presets, by its validation tail alone (docs/models.md)."""

from collections.abc import Mapping
from typing import Any, Final

STANDING: Final = {"trend.weight": 0.0, "max_epochs": 16}
"""The catalog barely moves in MovieLens' seven months, and its users come once: the last days' counts are noise."""

MOVING: Final = {"trend.weight": 1.0}
"""Half of MovieTweetings' test engagements are on items released lately."""

TUNED: Final[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {
    "ml-100k": {
        "ihm_sasrec": {**STANDING, "items.ids": True, "items.id_dropout": 0.05},
        "ihm_cdn": {**STANDING, "items.ids": True, "items.id_dropout": 0.05, "patience": 16},
        "ihm_dat": {**STANDING, "items.inner.ids": True, "items.inner.id_dropout": 0.05},
        "hrnn_meta": {**STANDING, "learning_rate": 0.003},
    },
    "movietweetings-100k": {
        "two_tower": MOVING,
        "sasrec": MOVING,
        "dat": MOVING,
        "cdn": MOVING,
        "gru": MOVING,
        "hrnn": MOVING,
        "hgru": MOVING,
    },
}
"""Dataset -> model -> overrides, applied before those of the configuration."""
