"""What assets are given: two plain objects, so that the stages need not import this package."""

from typing import Any

from assets.config import Settings


def resources(settings: Settings) -> dict[str, Any]:
    """Dagster resources by key: ``settings`` and the ``storage`` of its dataset."""
    return {"settings": settings, "storage": settings.storage}
