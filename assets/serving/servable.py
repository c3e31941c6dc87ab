"""Which models the index can serve. Light to import: definitions ask it."""

from typing import Final

from assets.training.registry import MODELS

COUNTING: Final = ("popularity", "decayed_popularity")
"""``recent_popularity`` is not among them: an engagement leaves its window of days without anything happening to its
item, so a count that follows engagements alone would be wrong from then on."""


def servable(model: str) -> bool:
    """Whether the index can be built from ``model`` and kept up to date: every net, and some counting models."""
    entry = MODELS.get(model)
    return entry is not None and (entry.kind == "net" or model in COUNTING)
