"""What the sweep chose for one dataset against the presets, by its validation tail alone (`training/sweep`)."""

from collections.abc import Mapping
from typing import Any, Final

IDS: Final = {"items.ids": True, "items.id_dropout": 0.05, "max_epochs": 16}
"""The catalog barely moves in MovieLens' seven months: an id stays worth learning."""

TUNED: Final[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {
    "ml-100k": {
        "ihm_sasrec": IDS,
    },
}
"""Dataset -> model -> overrides, applied before those of the configuration."""
