"""What assets are given: two plain objects, so that the stages need not import this package."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from assets.config import Settings

if TYPE_CHECKING:
    from orchestration.unchanged import Unit


def resources(settings: Settings, units: Callable[[], "Sequence[Unit]"]) -> dict[str, Any]:
    """Dagster resources by key: ``settings`` and the ``storage`` of its dataset.

    Args:
        units: the steps of the definitions; asked for in a run, where objects hold the dataset's files.
    """
    if settings.objects.url is None:
        return {"settings": settings, "storage": settings.storage}
    from orchestration.pod_storage import storage_resource  # noqa: PLC0415 - few need it, and it imports the rest

    return {"settings": settings, "storage": storage_resource(settings, units)}
