"""Which engagements count, and how they are split in time."""

from typing import Final, Literal, Self

from pydantic import Field, model_validator

from assets.config.base import StrictModel

MEDIAN: Final = 0.5


HELD_OUT_SHARES: Final = {"held_out_items": 0.5, "held_out_users": 0.2}
"""What of all ids the kinds that hold ids out hold out, unless told: HRNN-meta paper, Table 7 and section 4.1."""


DEFAULT_HEAD_SHARE: Final = 0.2
"""The Pareto principle's share (CDN paper, section 4.1)."""


CUT_IN_TIME: Final = ("median_time", "quantile", "fraction")
"""Kinds of split whose cutoff is an instant of the source's time."""


KINDS_WITH: Final = {
    "fraction": ("fraction",),
    "frame": ("fraction",),
    "held_out_by": ("leave_one_out",),
    "held_out_share": tuple(HELD_OUT_SHARES),
    "held_out_seed": tuple(HELD_OUT_SHARES),
    "windows": ("median_time", "quantile"),
    "cut_by": ("median_time", "quantile"),
    "validation_fraction": (*CUT_IN_TIME, *HELD_OUT_SHARES),
}
"""Settings of the split that some kinds only have -> those kinds."""


class EngagementRule(StrictModel):
    """Which interactions count as engagements (default: every row), and which users and items the tables keep."""

    minimum_value: float | None = Field(None, description="keep interactions whose value is at least this")
    event_types: tuple[str, ...] = Field((), description="keep these event types; empty keeps all")
    k_core: int = Field(
        0, ge=0, description="keep users and items with at least this many kept engagements each; 0 keeps all"
    )
    k_core_counts: Literal["before_cutoff", "all_looking_ahead"] = Field(
        "before_cutoff",
        description="engagements that k_core counts. before_cutoff: what is known at the cutoff; users and items that"
        " come later stay. all_looking_ahead: those of test time too, as published experiments do",
    )
    k_core_passes: int | None = Field(
        None,
        ge=1,
        description="how often k_core counts and leaves out; none: until all that is kept has enough. 1: as the"
        " preprocessing of SASRec, whose kept users and items may have fewer",
    )

    @model_validator(mode="after")
    def _core_is_asked_for(self) -> Self:
        if self.k_core == 1:
            raise ValueError("k_core 1 leaves nothing out: use 0 for none, or 2 and more")
        if not self.k_core and (self.k_core_counts != "before_cutoff" or self.k_core_passes is not None):
            raise ValueError("k_core_counts and k_core_passes are for a k_core of 2 and more")
        return self

    @property
    def looks_ahead(self) -> bool:
        """Whether what is kept depends on engagements of test time."""
        return self.k_core_counts == "all_looking_ahead"


class SplitConfig(StrictModel):
    """The split, and what counts as head and tail. A setting without effect is refused."""

    kind: Literal["median_time", "quantile", "fraction", "leave_one_out", "held_out_items", "held_out_users"] = (
        "median_time"
    )
    quantile: float | None = Field(
        None, gt=0, lt=1, description="of all timestamps, where the cutoff lies; for kind quantile"
    )
    fraction: float = Field(
        0.7, gt=0, lt=1, description="of all engagements, the earliest, that are train time; for kind fraction"
    )
    frame: Literal["hour", "day", "week"] = Field(
        "day", description="length of the test windows of fraction, which follow each other from the cutoff on"
    )
    held_out_by: Literal["time", "random"] = Field(
        "time", description="which two engagements of a user leave_one_out holds out: the latest, or any"
    )
    held_out_share: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="of the items or users, what is held out; none: 0.5 of the items, 0.2 of the users",
    )
    held_out_seed: int = Field(0, description="which items held_out_items holds out, or users held_out_users")
    windows: int = Field(5, ge=1, le=50, description="of kinds median_time and quantile")
    cut_by: Literal["duration", "count"] = Field("duration", description="how the test period is cut into windows")
    validation_fraction: float = Field(
        0.1, gt=0, lt=1, description="share of train engagements, the latest, that form the validation tail"
    )
    head_rule: Literal["count", "pareto"] = Field("count", description="what makes an item head: its count or its rank")
    head_share: float = Field(
        DEFAULT_HEAD_SHARE,
        gt=0,
        lt=1,
        description="share of the catalog, the most frequent items, that pareto calls head",
    )
    tail_max_count: int = Field(
        10, ge=1, description="head_rule count: items with 1..this many train engagements are tail"
    )
    qualified_user_min: int = Field(10, ge=1, description="train engagements that qualify a user for item histories")
    history_length: int = Field(50, ge=1, description="latest rows kept per user or item history")

    @model_validator(mode="after")
    def _nothing_without_effect(self) -> Self:
        if (self.kind == "quantile") != (self.quantile is not None):
            raise ValueError("kind quantile needs a quantile, and no other kind has one")
        for name, kinds in KINDS_WITH.items():
            if self.kind not in kinds and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} is for kind {' or '.join(kinds)}")
        if self.head_rule != "pareto" and self.head_share != DEFAULT_HEAD_SHARE:
            raise ValueError("head_share is for head_rule pareto")
        return self

    @property
    def cuts_in_time(self) -> bool:
        """Whether the cutoff is an instant of the source's time, so that test is what happened after train."""
        return self.kind in CUT_IN_TIME

    @property
    def cutoff_quantile(self) -> float:
        """Where kinds that cut in time do; the others do not ask."""
        if self.kind == "fraction":
            return self.fraction
        return MEDIAN if self.quantile is None else self.quantile

    @property
    def share_held_out(self) -> float:
        """Of the items or users, what kinds that hold ids out do; the others do not ask."""
        if self.held_out_share is not None:
            return self.held_out_share
        return HELD_OUT_SHARES.get(self.kind, HELD_OUT_SHARES["held_out_items"])

    @property
    def test_windows(self) -> int | None:
        """How many test windows there are; None where the data decide: as many frames as reach its end."""
        if self.kind == "fraction":
            return None
        return self.windows if self.cuts_in_time else 1

    @property
    def test_cut(self) -> Literal["duration", "count", "frame"]:
        """How the test period is cut into windows."""
        return "frame" if self.kind == "fraction" else self.cut_by
