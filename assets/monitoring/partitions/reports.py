"""Full reports of landed partitions: Evidently's page of the newest, older ones removed."""

from collections.abc import Sequence
from pathlib import Path

from assets.config import Settings
from assets.ingestion.landing.partitions import is_partition
from assets.monitoring.partitions.measure import Measured
from assets.storage import Storage, write_text
from dashboards.partition_page import PartitionSubject, partition_page

_PREFIX = "partition-"


def report_path(storage: Storage, partition: str) -> Path:
    """One partition's report."""
    return storage.dashboards / "drift" / f"{_PREFIX}{partition}.html"


def reported(storage: Storage) -> list[str]:
    """Keys of the partitions that have a report, in order of time."""
    paths = (storage.dashboards / "drift").glob(f"{_PREFIX}*.html")
    return sorted(name for path in paths if is_partition(name := path.stem.removeprefix(_PREFIX)))


def newest(storage: Storage, partitions: Sequence[str], keep: int) -> set[str]:
    """Which of ``partitions`` are among the ``keep`` newest, those that have reports already counted too."""
    return set(sorted({*partitions, *reported(storage)})[-keep:]) & set(partitions)


def write_report(storage: Storage, settings: Settings, measured: Measured) -> Path | None:
    """The page of a partition that was compared; ``None`` of one that was not, whose old page is removed."""
    verdict, reference = measured.verdict, measured.reference
    path = report_path(storage, verdict.name)
    if measured.current is None:
        path.unlink(missing_ok=True)
        return None
    subject = PartitionSubject(
        dataset=storage.dataset,
        name=verdict.name,
        reason=verdict.reason,
        reference_starts_at=str(reference.begins_at),
        cutoff=str(reference.cutoff),
        reference_rows=verdict.reference_rows,
        reference_total=reference.total,
        current_rows=verdict.rows,
        current_total=int(verdict.volumes["engagements"]),
        seed=settings.training.seed,
        category=reference.category,
    )
    return write_text(path, partition_page(reference.features, measured.current, verdict.scores, subject))


def remove_older(storage: Storage, keep: int) -> list[str]:
    """Remove all reports but the ``keep`` newest, and return their partitions."""
    gone = reported(storage)[:-keep]
    for name in gone:
        report_path(storage, name).unlink(missing_ok=True)
    return gone
