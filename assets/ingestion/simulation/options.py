"""What can be set of the simulated world."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Self

from pydantic import Field, model_validator

from assets.ingestion.adapter import AdapterOptions
from assets.ingestion.errors import IngestionError
from assets.ingestion.simulation.world import Scale

DEFAULT_CATALOG_SHARE = 0.7


class SimulatedOptions(AdapterOptions):
    """Size and shape of the simulated world."""

    users: int = Field(3_000, ge=2, le=10_000_000)
    items: int = Field(2_500, ge=2, le=10_000_000)
    days: int = Field(120, ge=2, le=3_650)
    engagements: int = Field(
        60_000, ge=1, le=1_000_000_000, description="in all; fewer come where users run out of items or none has joined"
    )
    seed: int = Field(0, ge=0)
    start: date = Field(date(2024, 1, 1), description="first day (UTC)")
    topics: int = Field(12, ge=1, le=1_000)
    authors: int = Field(200, ge=1, le=1_000_000)
    zipf_exponent: float = Field(0.9, ge=0, le=5, description="of items' appeal by rank; 0 makes all equal")
    evergreen: float = Field(
        0.3, ge=0, le=10, description="popularity that items of the first day's catalog never lose; 1: their peak's"
    )
    catalog_share: float = Field(
        DEFAULT_CATALOG_SHARE, ge=0, le=1, description="share of items that exist before the first day"
    )
    births_per_day: float | None = Field(
        None, ge=0, description="items born a day, in place of catalog_share; the rest exists before the first day"
    )
    lifetime_days: float = Field(25.0, gt=0, description="scale of the age profile of an item's popularity")
    drift: float = Field(0.05, ge=0, description="a day's standard deviation of tastes and of topics' fashion")
    author_share: float = Field(
        0.2, ge=0, le=1, description="share of engagements chosen by favourite author, not by topic"
    )
    activity_spread: float = Field(
        1.0, ge=0, le=4, description="standard deviation of the logarithm of users' activity; 0 makes all equal"
    )
    session_length: float = Field(3.0, ge=1, description="mean engagements of a session")
    session_pause_seconds: float = Field(240.0, ge=0, description="mean pause within a session")
    repeat_memory_days: int = Field(
        120, ge=1, description="no user repeats an item within so many days, and perhaps a fourth longer"
    )
    joined_share: float = Field(0.5, ge=0, le=1, description="share of users who are there from the first day")
    shift_day: int | None = Field(None, ge=0, description="day on which tastes and the appeal of items change at once")
    shift_size: float = Field(0.5, ge=0, le=1, description="share of users and of items that the shift changes")

    @model_validator(mode="after")
    def _shift_happens(self) -> Self:
        if self.shift_day is not None and self.shift_day >= self.days:
            raise ValueError(f"shift_day {self.shift_day} is not among the {self.days} days, which count from 0")
        return self

    @model_validator(mode="after")
    def _births_fit(self) -> Self:
        if self.births_per_day is None:
            return self
        if self.catalog_share != DEFAULT_CATALOG_SHARE:
            raise ValueError("births_per_day and catalog_share both say how many items are born; set one of them")
        if self.births_per_day * self.days > self.items:
            raise ValueError(
                f"{self.births_per_day} births on each of {self.days} days are more than the {self.items} items"
            )
        return self

    @property
    def scale(self) -> Scale:
        """The world that these options describe."""
        return Scale(**self.model_dump(exclude={"start", *AdapterOptions.model_fields}))

    def first_midnight(self, now: datetime) -> datetime:
        """When the first day begins (UTC).

        Raises:
            IngestionError: when the last day would end after ``now`` (naive means UTC).
        """
        start = datetime.combine(self.start, time(), UTC)
        end = start + timedelta(days=self.days)
        if end > (now if now.tzinfo else now.replace(tzinfo=UTC)):
            raise IngestionError(f"simulated: the last day ends on {end:%Y-%m-%d}, in the future; set an earlier start")
        return start
