"""Drift, the champion's quality, retraining, and who is told."""

from typing import Literal

from pydantic import Field

from assets.config.base import StrictModel


class DriftConfig(StrictModel):
    """Drift reports, and when a landed partition is called drifted."""

    sample_rows: int = Field(20_000, ge=100, description="rows per side of a report; stated on the page")
    reference_days: float = Field(
        28, gt=0, description="engagements so long before the champion's cutoff are what landed partitions are held to"
    )
    minimum_rows: int = Field(50, ge=1, description="a partition with fewer engagements is not judged")
    keep_reports: int = Field(60, ge=1, description="newest landed partitions whose full reports are kept")
    keep_days: float = Field(
        400, gt=0, description="snapshots of the workspace older than this (event time, before the newest) are removed"
    )


class AlertConfig(StrictModel):
    """When the decay of the model that serves asks for a new one."""

    reference_days: float = Field(14, gt=0, description="of event time after its cutoff: what its quality is held to")
    recent_days: float = Field(7, gt=0, description="of event time, the latest: what is held to it")
    tolerance: float = Field(
        0.1, ge=0, lt=1, description="relative loss that is borne: alert when the 95 % interval lies wholly beyond it"
    )
    min_cases: int = Field(300, ge=1, description="on either side; with fewer nothing is said")


class RetrainingConfig(StrictModel):
    """Challengers, the contest with the champion, and promotion."""

    models: tuple[str, ...] = Field((), description="nets to train as challengers; empty: the champion's own model")
    window_days: float = Field(
        14, gt=0, description="newest window: held out from challengers, and what they and the champion are compared on"
    )
    min_cases: int = Field(300, ge=1, description="of the newest window; with fewer nobody is promoted")
    cooldown_days: float = Field(
        7,
        ge=0,
        description="of event time after a contest or a rollback in which no alert asks for another; doubled by each"
        " further contest in a row that was lost, up to four times as long",
    )
    keep: int = Field(5, ge=1, description="contests whose challengers' checkpoints are kept, the newest")
    alert: AlertConfig = AlertConfig()


class QualityConfig(StrictModel):
    """Quality of the champion per landed partition."""

    max_cases: int = Field(
        5_000, ge=1, description="engagements of a partition that are ranked; of more, so many drawn"
    )
    lists: int = Field(500, ge=1, description="of those, whose top 10 is looked at: scores, coverage, popularity")
    items: int = Field(1_000, ge=1, description="items whose embeddings are compared between two refreshes")


class NotifierConfig(StrictModel):
    """Who is told of failed runs and decay alerts; addresses come from the environment alone, they are secrets."""

    kind: Literal["log", "webhook", "slack"] = "log"
    address_variable: str = Field(
        "THAW_WEBHOOK", description="environment variable that holds the address, for webhook and slack"
    )
    timeout_seconds: float = Field(10.0, gt=0)


class DashboardConfig(StrictModel):
    """Evidently's server."""

    port: int = Field(8001, ge=1, le=65535, description="on the loopback address")
